"""One video through several extractors: what fails costs only itself, and nothing hangs."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.clips import RATE, plain, write_clip

from reelgenre.errors import MediaError
from reelgenre.extractors import Evidence, Extraction, Extractor, ExtractorSpec, Text, TextExtractor
from reelgenre.extractors.running import read_video
from reelgenre.media import Frames, MediaOptions, MediaView, Sound
from reelgenre.sequences import FeatureSequence

# A queue that is much shorter than the video, so that a consumer that stops would be waited for.
OPTIONS = MediaOptions(detector="threshold", frame_queue=1, sound_queue=1)
SHOTS = (0, 80, 160, 240)


class Reader:
    """Mean brightness of each shot, or mean level of each block; fails after ``fails_after``."""

    def __init__(self, name: str, needs: Frames | Sound, fails_after: int | None = None) -> None:
        self.spec = ExtractorSpec(name, 1, needs, f"{name}:0")
        self._fails_after = fails_after

    def extract(self, media: MediaView) -> Extraction | None:
        if isinstance(self.spec.needs, Frames):
            items = ((float(f.image.mean()), f.time) for f in media.frames())
        else:
            items = ((float(np.abs(b.samples).mean()), b.start) for b in media.sound())
        taken: list[tuple[float, float]] = []
        for item in items:
            if len(taken) == self._fails_after:
                raise RuntimeError(f"{self.spec.name} is broken")
            taken.append(item)
        if not taken:
            return None
        values = np.array([[level] for level, _ in taken], np.float32)
        times = np.array([(time, time) for _, time in taken], np.float32)
        text = Evidence("title", 0.0, 0.0, self.spec.name)
        return Extraction(FeatureSequence(values, times, self.spec.fingerprint), (text,))


class Deriver:
    """How many others it was given."""

    def __init__(self, name: str, *of: str, fails: bool = False) -> None:
        self.spec = ExtractorSpec(name, 1, Text(of), f"{name}:0")
        self._fails = fails

    def derive(self, extractions: Mapping[str, Extraction]) -> Extraction | None:
        if self._fails:
            raise RuntimeError(f"{self.spec.name} is broken")
        values = np.array([[len(extractions)]], np.float32)
        return Extraction(FeatureSequence(values, np.zeros((1, 2), np.float32), "x"))


def clip(path: Path, grounds: tuple[int, ...] = SHOTS) -> Path:
    sound = np.full(RATE * len(grounds), 0.25, np.float32)
    return write_clip(path, [(plain(ground), 1.0) for ground in grounds], sound)


@pytest.fixture(scope="module", name="video")
def _video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clip(tmp_path_factory.mktemp("running") / "video.mp4")


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Any:
    before = threading.active_count()
    yield
    assert threading.active_count() <= before


def test_readers_and_derived_in_the_order_given(video: Path) -> None:
    heard: list[str] = []
    extractors: list[Extractor | TextExtractor] = [
        Deriver("both", "picture", "sound"),
        Reader("picture", Frames()),
        Reader("sound", Sound(RATE)),
    ]
    read = read_video(
        video, extractors, OPTIONS, lambda step, done, total, artifact=None: heard.append(step)
    )
    assert list(read.found) == list(read.extractions) == ["both", "picture", "sound"]
    assert not read.failed
    assert list(read.seconds) == list(read.found)
    assert read.extractions["both"].sequence.values.item() == 2
    levels = read.extractions["picture"].sequence.values[:, 0]
    np.testing.assert_allclose(levels, SHOTS, atol=4)
    assert heard[-3:] == ["picture", "sound", "both"]
    assert set(heard[:-3]) == {"decode"}
    read.raise_first_failure()


@pytest.mark.parametrize("fails_after", [0, 1, 3])
def test_one_that_fails_costs_only_itself_and_what_reads_it(video: Path, fails_after: int) -> None:
    heard: list[str] = []
    broken = Reader("picture", Frames(), fails_after)
    extractors: list[Extractor | TextExtractor] = [
        Deriver("of_both", "sound", "picture"),
        broken,
        Reader("sound", Sound(RATE)),
        Reader("other", Frames()),
        Deriver("of_sound", "sound"),
        Deriver("itself", "sound", fails=True),
    ]
    read = read_video(
        video, extractors, OPTIONS, lambda step, done, total, artifact=None: heard.append(step)
    )
    assert list(read.found) == ["sound", "other", "of_sound"]
    assert list(read.failed) == ["of_both", "picture", "itself"]
    assert str(read.failed["picture"]) == "picture is broken"
    assert read.failed["of_both"] is read.failed["picture"]
    assert str(read.failed["itself"]) == "itself is broken"
    # The others saw the whole video.
    assert read.extractions["other"].sequence.steps == len(SHOTS)
    assert read.extractions["sound"].sequence.steps >= len(SHOTS)
    assert set(heard) == {"decode", *read.found}
    assert list(read.seconds) == [extractor.spec.name for extractor in extractors]
    with pytest.raises(RuntimeError, match="picture is broken"):
        read.raise_first_failure()


def test_all_may_fail(video: Path) -> None:
    extractors = [Reader("a", Frames(), 0), Reader("b", Sound(RATE), 0)]
    read = read_video(video, extractors, OPTIONS)
    assert not read.found
    assert list(read.failed) == ["a", "b"]


def test_absent_is_not_failed(tmp_path: Path) -> None:
    silent = write_clip(tmp_path / "silent.mp4", [(plain(80), 1.0)])
    extractors: list[Extractor | TextExtractor] = [
        Reader("sound", Sound(RATE)),
        Deriver("text", "sound"),
    ]
    read = read_video(silent, extractors, OPTIONS)
    assert read.found["sound"] is None
    assert list(read.extractions) == ["text"]
    assert read.extractions["text"].sequence.values.item() == 0
    assert not read.failed


def test_a_file_that_gives_nothing_is_the_files_error(tmp_path: Path) -> None:
    path = tmp_path / "broken.mp4"
    path.write_bytes(b"not a film")
    with pytest.raises(MediaError):
        read_video(path, [Reader("picture", Frames())], OPTIONS)


def test_a_hook_that_raises_ends_the_run(video: Path) -> None:
    def hook(step: str, completed: float, total: float | None, artifact: Any = None) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read_video(video, [Reader("picture", Frames()), Reader("s", Sound(RATE))], OPTIONS, hook)


def test_nothing_that_looks_or_listens(video: Path) -> None:
    with pytest.raises(ValueError, match="looks or listens"):
        read_video(video, [Deriver("text", "sound")], OPTIONS)


def test_two_videos_at_once_do_not_mix(video: Path, tmp_path: Path) -> None:
    extractors: list[Extractor | TextExtractor] = [
        Reader("picture", Frames()),
        Reader("s", Sound(RATE)),
        Deriver("d", "picture"),
    ]
    grounds = (240, 20, 120)
    paths = [video, clip(tmp_path / "other.mp4", grounds)] * 3
    with ThreadPoolExecutor(len(paths)) as pool:
        reads = list(pool.map(lambda path: read_video(path, extractors, OPTIONS), paths))
    for read, expected in zip(reads, [SHOTS, grounds] * 3, strict=True):
        levels = read.extractions["picture"].sequence.values[:, 0]
        np.testing.assert_allclose(levels, expected, atol=4)
