"""Every kind of extractor on odd media, and whatever the size of its batches.

The models of the paper are small and random (:mod:`tests.checkpoints`), the others real.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import pytest
from tests.clips import HEIGHT, RATE, WIDTH, plain, sound_of, title, write_clip
from tests.extractors.paper.picture_models import CELL
from tests.extractors.paper.sound_helpers import noise

from reelgenre.extractors import Extraction, Extractor, frames
from reelgenre.extractors.paper import face_emotion, image_encoder
from reelgenre.extractors.profiles import Profile, build_extractors, load_profile
from reelgenre.extractors.running import read_video
from reelgenre.extractors.settings import Settings
from reelgenre.media import Frames, MediaOptions, Sound, open_media

PICTURES = ("frame_encoder", "image_encoder", "face_emotion")
SCREEN = ("screen_text", "screen_tokens", "screen_sentiment")
SOUND = ("panns", "ast", "beats", "music_tagger", "musicnn")
SPEECH = ("speech", "speech_tokens", "speech_sentiment")
KINDS = (*PICTURES, *SCREEN, *SOUND, *SPEECH)

SEEN = {"silence", "no_sound", "half_second"}
HEARD = {"silence", "black", "no_picture", "half_second"}
# In which media each kind finds its modality. Noise is no speech, and black shows nothing but to
# the paper's image encoder, for which every frame counts.
PRESENT = {
    **dict.fromkeys((*PICTURES, *SCREEN), SEEN),
    "image_encoder": SEEN | {"black"},
    **dict.fromkeys(SOUND, HEARD),
    **dict.fromkeys(SPEECH, frozenset[str]()),
}
MEDIA = sorted(SEEN | HEARD)


def settings() -> tuple[Settings, ...]:
    """Of each kind, with a modality of its own, in the arithmetic that batches change least."""
    neural = {"spelling": "model", "language": "model"}
    of_kind: dict[str, dict[str, Any]] = {
        **{kind: {"modality": kind} for kind in (*SOUND, *SPEECH[1:], *SCREEN[1:])},
        "image_encoder": {},
        "face_emotion": {},
        "speech": {},
        "screen_text": {},
    }
    for kind in ("image_encoder", "face_emotion", "ast", "beats"):
        of_kind[kind]["precision"] = "fp32"
    for kind in (*SPEECH[1:], *SCREEN[1:]):
        key = "language" if kind in SPEECH else "spelling"
        of_kind[kind][key] = neural[key]
    of_kind["speech_sentiment"]["other_languages"] = "name"
    embedded = load_profile("embedded")
    shipped = embedded.extractors[0].model_dump()
    of_kind["frame_encoder"] = shipped | {"file": str(embedded.folder / shipped["file"])}
    content = [{"kind": kind, **given} for kind, given in of_kind.items()]
    return Profile.model_validate({"name": "all", "extractors": content}).extractors


@pytest.fixture(scope="module")
def extractors(small_weights: Path) -> Mapping[str, Extractor]:
    chosen = settings()
    profile = Profile(name="all", extractors=chosen)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REELGENRE_WEIGHTS", str(small_weights))
        built = build_extractors(profile, threads=1, device="cpu", offline=True)
    return {one.kind: cast(Extractor, e) for one, e in zip(chosen, built, strict=True)}


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    folder = tmp_path_factory.mktemp("media")
    card = title("THE LAST WITNESS")
    card[:CELL, CELL : 2 * CELL] = (255, 0, 0)  # a face to the detector
    hiss, silent = noise(2.0, RATE), np.zeros(2 * RATE, np.float32)
    return {
        "silence": write_clip(folder / "silence.mp4", [(card, 2.0)], silent),
        "black": write_clip(folder / "black.mp4", [(plain(), 2.0)], hiss),
        "no_sound": write_clip(folder / "no_sound.mp4", [(card, 2.0)]),
        "no_picture": write_clip(folder / "no_picture.m4a", sound=hiss),
        "half_second": write_clip(folder / "half.mp4", [(card, 0.5)], hiss[: RATE // 2]),
    }


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Many shots and titles, and sound of several windows of every network."""
    generator = np.random.default_rng(0)
    words = ("WAR", "LOVE", "FEAR", "HOPE", "KING")
    shots = []
    for number in range(6):
        ground = 230 if number % 2 else 0
        image = title(words[number % len(words)], ground)
        image[-40:] = generator.integers(0, 256, (1, WIDTH, 3))
        image[:CELL, CELL : (2 + number % 3) * CELL] = (255, 0, 4 * number)
        shots.append((image, 4.0))
    assert shots[0][0].shape == (HEIGHT, WIDTH, 3)
    return write_clip(tmp_path_factory.mktemp("long") / "long.mp4", shots, noise(24.0, RATE))


def extract(extractor: Extractor, path: Path) -> Extraction | None:
    needs = extractor.spec.needs
    assert isinstance(needs, Frames | Sound)
    with (
        open_media(path, MediaOptions(detector="threshold")) as opened,
        ThreadPoolExecutor(1) as pool,
    ):
        view = opened.view(needs)
        future = pool.submit(extractor.extract, view)
        report = opened.run(lambda done, total: None)
        extraction = future.result(timeout=60)
    if extraction is not None:
        check(extractor, extraction, report.duration_s)
    return extraction


def check(extractor: Extractor, extraction: Extraction, duration: float) -> None:
    """What holds of every extraction from a video of so many seconds."""
    sequence = extraction.sequence
    assert sequence.made_by == extractor.spec.fingerprint
    assert sequence.values.dtype == np.float32
    assert sequence.dim == extractor.spec.dim
    assert np.isfinite(sequence.values).all()
    starts, ends = sequence.times.T
    assert (starts <= ends).all()
    assert (np.diff(starts) >= 0).all()
    assert starts[0] >= -0.1
    assert ends.max() <= duration + 0.1
    for item in extraction.evidence:
        assert item.step is None or 0 <= item.step < sequence.steps
        assert item.score is None or 0 <= item.score <= 1
        assert starts[0] - 0.1 <= item.start <= item.end <= duration + 0.1


def test_no_kind_is_forgotten() -> None:
    known = {
        get_args(s.model_fields["kind"].annotation)[0] for s in get_args(get_args(Settings)[0])
    }
    assert known == {*KINDS, "words"}  # which reads what the others found


@pytest.mark.parametrize("medium", MEDIA)
@pytest.mark.parametrize("kind", KINDS)
def test_odd_media(
    kind: str, medium: str, extractors: Mapping[str, Extractor], media: Mapping[str, Path]
) -> None:
    extraction = extract(extractors[kind], media[medium])
    assert (extraction is not None) == (medium in PRESENT[kind])
    if extraction is not None and kind in (*SOUND, "image_encoder"):
        assert extraction.sequence.steps == 1


TEN_MINUTES = 600.0
_SHOT_S = 50.0
# Their networks are the slowest, and the cutting of the sound is that of `panns`.
SLOW = dict.fromkeys(("ast", "beats", "music_tagger", "musicnn"), _SHOT_S)
# The others read speech with the same recogniser, which takes its time.
LONG = tuple(kind for kind in KINDS if kind not in SPEECH[1:])


@pytest.fixture(scope="module")
def long_media(
    tmp_path_factory: pytest.TempPathFactory, sample_trailer: Path
) -> Mapping[float, Path]:
    """By their seconds: every other shot a title with a face; hiss that comes and goes; a line."""
    words = ("WAR", "LOVE", "FEAR", "HOPE", "KING", "NIGHT")
    line = sound_of(sample_trailer, 0.5, 5.5)
    folder = tmp_path_factory.mktemp("long_media")
    made = {}
    for seconds in {TEN_MINUTES, *SLOW.values()}:
        shots = []
        for number in range(round(seconds / _SHOT_S)):
            image = plain(200) if number % 2 else title(words[number // 2])
            if number % 2 == 0:
                image[:CELL, CELL : 2 * CELL] = (255, 0, 0)
            shots.append((image, _SHOT_S))
        sound = np.zeros(round(seconds * RATE), np.float32)
        for start in range(0, len(sound), 60 * RATE):
            sound[start : start + 2 * RATE] = 0.3 * noise(2.0, RATE)
        sound[-30 * RATE :][: len(line)] = line
        made[seconds] = write_clip(folder / f"{seconds:.0f}.mp4", shots, sound, fps=2)
    return made


@pytest.mark.parametrize("seconds", sorted({TEN_MINUTES, *SLOW.values()}))
def test_ten_minutes(
    seconds: float, extractors: Mapping[str, Extractor], long_media: Mapping[float, Path]
) -> None:
    """The kinds at once, as a pipeline runs them; each has steps to the end of the video."""
    chosen = {k: extractors[k] for k in LONG if SLOW.get(k, TEN_MINUTES) == seconds}
    options = MediaOptions(detector="threshold")
    read = read_video(long_media[seconds], list(chosen.values()), options)
    read.raise_first_failure()
    shots = round(seconds / _SHOT_S)
    steps = {"image_encoder": shots, "face_emotion": shots / 2, "frame_encoder": shots / 2}
    for kind, extractor in chosen.items():
        extraction = read.found[extractor.spec.name]
        assert extraction is not None, kind
        check(extractor, extraction, seconds)
        starts, ends = extraction.sequence.times.T
        if kind in SOUND:
            window, hop = extractor.spec.window_s, extractor.spec.hop_s
            assert window is not None
            assert hop is not None
            # The padding of the sound's last packet may or may not be worth a step.
            assert abs(len(starts) - (1 + np.ceil((seconds - window) / hop))) <= 1
            assert (starts[0], ends[-1]) == pytest.approx((0.0, seconds), abs=0.1)
            np.testing.assert_allclose(ends - starts, window, atol=1e-3)
            assert np.diff(starts).max() <= hop + 1e-3
        elif kind in SPEECH:
            assert seconds - 31 < starts[0] <= ends[-1] < seconds - 24
        else:
            assert len(starts) == steps.get(kind, len(starts))
            assert (starts[0], ends[-1]) == pytest.approx(
                (0.0, seconds if kind == "image_encoder" else seconds - _SHOT_S), abs=0.6
            )


# What a batch is, where there are any. Tokens and sentences have tests of their own.
BATCHES: dict[str, Callable[[pytest.MonkeyPatch, Any, int], None]] = {
    "frame_encoder": lambda patch, _, size: patch.setattr(frames, "_BATCH", size),
    "image_encoder": lambda patch, _, size: patch.setattr(image_encoder, "BATCH", size),
    "face_emotion": lambda patch, _, size: patch.setattr(face_emotion, "_BATCH", size),
    **dict.fromkeys(SOUND, lambda patch, made, size: patch.setattr(made, "_batch", size)),
}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in SPEECH])
def test_batches_change_nothing_and_twice_is_the_same(
    kind: str,
    extractors: Mapping[str, Extractor],
    long_clip: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    extractor = extractors[kind]
    first, again = extract(extractor, long_clip), extract(extractor, long_clip)
    assert first is not None
    assert again is not None
    # One sentence vector, or a vector for each of several steps.
    assert first.sequence.steps > (0 if kind == "screen_sentiment" else 1)
    np.testing.assert_array_equal(again.sequence.values, first.sequence.values)
    assert again.evidence == first.evidence
    for size in (1, 3) if kind in BATCHES else ():
        BATCHES[kind](monkeypatch, extractor, size)
        other = extract(extractor, long_clip)
        assert other is not None
        np.testing.assert_array_equal(other.sequence.times, first.sequence.times)
        scale = np.abs(first.sequence.values).max()
        np.testing.assert_allclose(
            other.sequence.values, first.sequence.values, atol=1e-5 * scale, rtol=0
        )
        assert [item.text for item in other.evidence] == [item.text for item in first.evidence]
