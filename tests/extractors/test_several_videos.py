"""Every kind of extractor with several videos in flight: as alone, and sharing batches.

The models of the paper are small and random (:mod:`tests.checkpoints`), the others real.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.clips import RATE, plain, sound_of, title, write_clip
from tests.extractors.paper.picture_models import CELL
from tests.extractors.paper.sound_helpers import noise
from tests.extractors.test_every_kind import KINDS, SCREEN, SOUND, SPEECH, settings

from reelgenre.extractors import Extraction, Extractor, TextExtractor
from reelgenre.extractors.profiles import Profile, build_extractors
from reelgenre.extractors.running import Read, read_video
from reelgenre.extractors.shared_batches import Outputs, SharedBatches
from reelgenre.media import MediaOptions

OPTIONS = MediaOptions(detector="threshold")
# The others read speech with the same recogniser, which takes its time.
CHOSEN = tuple(kind for kind in KINDS if kind not in SPEECH[1:])
# Which object of each kind's shares its batches.
SHARERS: dict[str, Callable[[Any], Any]] = {
    "image_encoder": lambda extractor: extractor._model,
    "face_emotion": lambda extractor: extractor._model,
    **dict.fromkeys(SOUND, lambda extractor: extractor),
    "screen_tokens": lambda extractor: extractor._encoder,
    "screen_sentiment": lambda extractor: extractor._sentiment._classifier,
}


@pytest.fixture(scope="module", name="extractors")
def _extractors(small_weights: Path) -> Mapping[str, Extractor | TextExtractor]:
    chosen = tuple(one for one in settings() if one.kind in CHOSEN)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REELGENRE_WEIGHTS", str(small_weights))
        profile = Profile(name="all", extractors=chosen)
        built = build_extractors(profile, threads=1, device="cpu", offline=True)
    return {one.kind: extractor for one, extractor in zip(chosen, built, strict=True)}


@pytest.fixture(scope="module", name="videos")
def _videos(tmp_path_factory: pytest.TempPathFactory, sample_trailer: Path) -> tuple[Path, Path]:
    """Of one length, so that their windows of sound fit together; all else differs."""
    folder = tmp_path_factory.mktemp("videos")

    def card(text: str, ground: int, faces: Sequence[int]) -> NDArray[np.uint8]:
        image = title(text, ground)
        for column in faces:
            image[:CELL, column * CELL : (column + 1) * CELL] = (255, 0, 8 * column)
        return image

    first = [
        (card("WAR", 0, [1]), 1.0),
        (card("THE LAST KING", 230, [2, 3]), 1.5),
        (plain(90), 1.0),
    ]
    other = [(card("LOVE", 200, []), 2.0), (card("HOPE", 0, [4]), 1.5)]
    spoken = sound_of(sample_trailer, 0.5, 4.0)
    return (
        write_clip(folder / "first.mp4", first, spoken[: round(3.5 * RATE)]),
        write_clip(folder / "other.mp4", other, noise(3.5, RATE, seed=7)),
    )


@pytest.fixture(scope="module", name="alone")
def _alone(
    extractors: Mapping[str, Extractor | TextExtractor], videos: tuple[Path, Path]
) -> tuple[Read, ...]:
    reads = tuple(read_video(path, list(extractors.values()), OPTIONS) for path in videos)
    for read in reads:
        read.raise_first_failure()
    assert set(reads[0].extractions) == {e.spec.name for e in extractors.values()}
    assert set(reads[0].extractions) - set(reads[1].extractions) == {"speech"}
    return reads


def same(found: Extraction | None, expected: Extraction | None) -> None:
    assert (found is None) == (expected is None)
    if found is None or expected is None:
        return
    np.testing.assert_array_equal(found.sequence.times, expected.sequence.times)
    scale = np.abs(expected.sequence.values).max()
    np.testing.assert_allclose(
        found.sequence.values, expected.sequence.values, atol=1e-5 * scale, rtol=0
    )
    assert [(e.text, e.start, e.step) for e in found.evidence] == [
        (e.text, e.start, e.step) for e in expected.evidence
    ]


def check_in_flight(
    extractors: Sequence[Extractor | TextExtractor],
    videos: tuple[Path, Path],
    alone: tuple[Read, ...],
) -> None:
    """Each of two videos twice, all four at once."""
    with ThreadPoolExecutor(4) as pool:
        reads = list(pool.map(lambda path: read_video(path, extractors, OPTIONS), videos * 2))
    for read, expected in zip(reads, alone * 2, strict=True):
        read.raise_first_failure()
        for extractor in extractors:
            name = extractor.spec.name
            same(read.found[name], expected.found[name])


def test_every_kind_gives_in_company_what_it_gives_alone(
    extractors: Mapping[str, Extractor | TextExtractor],
    videos: tuple[Path, Path],
    alone: tuple[Read, ...],
) -> None:
    check_in_flight(list(extractors.values()), videos, alone)


def test_batches_of_several_videos_change_nothing(
    extractors: Mapping[str, Extractor | TextExtractor],
    videos: tuple[Path, Path],
    alone: tuple[Read, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on a GPU; the first batch of each model waits until all four videos want something."""
    joined: dict[str, list[int]] = {}

    def gathering(compute: Callable[[NDArray[Any]], Outputs], kind: str) -> SharedBatches:
        sizes = joined.setdefault(kind, [])

        def gathered(rows: NDArray[Any]) -> Outputs:
            sizes.append(len(rows))
            deadline = time.monotonic() + 60
            while len(sizes) == 1 and len(batches._requests) < 4:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            return compute(rows)

        batches = SharedBatches(gathered, 64)
        return batches

    for kind, sharer in SHARERS.items():
        owner = sharer(extractors[kind])
        monkeypatch.setattr(owner, "_batches", gathering(owner._compute, kind))
    check_in_flight([extractors[kind] for kind in SHARERS], videos, alone)
    # What one video handed in first, then all of the others'; texts of unlike length stay apart.
    for kind, sizes in joined.items():
        assert len(sizes) == (3 if kind in SCREEN else 2), (kind, sizes)
