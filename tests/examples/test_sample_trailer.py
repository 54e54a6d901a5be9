"""The sample trailer is what it promises, and the script that made it still would make it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

import make_trailer
import trailer_picture as picture
import trailer_sound as sound

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
TRAILER = EXAMPLES / "sample_trailer.mp4"


def test_the_committed_file_is_what_it_promises() -> None:
    assert TRAILER.stat().st_size < 3_000_000
    with av.open(str(TRAILER)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert len(container.streams) == 2
        assert (video.codec_context.name, audio.codec_context.name) == ("h264", "aac")
        assert (video.width, video.height) == (640, 360)
        assert video.average_rate == 24
        assert container.duration is not None
        assert 40 <= container.duration / 1e6 <= 60
        assert container.duration / 1e6 == pytest.approx(make_trailer.duration(), abs=0.1)
        assert video.frames == round(make_trailer.duration() * 24)


def test_the_committed_file_shows_the_scenes_at_their_cuts() -> None:
    """The frame in the middle of chosen shots resembles what the script draws there."""
    cuts = make_trailer.cuts()
    chosen = (4, 6, 10, 16, 24)
    numbers = [round((cuts[at] + make_trailer.SHOTS[at][0] / 2) * 24) for at in chosen]
    with av.open(str(TRAILER)) as container:
        shown = [
            frame.to_ndarray(format="rgb24").astype(np.float32)
            for number, frame in enumerate(container.decode(video=0))
            if number in numbers
        ]
    for at, number in zip(chosen, numbers, strict=True):
        length, scene = make_trailer.SHOTS[at]
        drawn = picture.finish(scene(number / 24 - cuts[at], length), number)
        errors = [np.abs(frame - drawn).mean() for frame in shown]
        assert min(errors) == errors[numbers.index(number)] < 8, f"shot {at}: {errors} of 255"


def test_shots_are_whole_frames_and_film_like() -> None:
    lengths = [length for length, _ in make_trailer.SHOTS]
    assert all(length * 24 == round(length * 24) for length in lengths)
    assert all(1 <= length <= 4 for length in lengths)
    assert make_trailer.cuts()[0] == 0
    assert make_trailer.cuts()[-1] + lengths[-1] == make_trailer.duration()


@pytest.mark.parametrize("index", range(len(make_trailer.SHOTS)))
def test_every_scene_draws_a_lit_picture_and_the_same_again(index: int) -> None:
    length, scene = make_trailer.SHOTS[index]
    drawn = scene(0.5 * length, length)
    assert drawn.shape == (360, 640, 3)
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    assert drawn.std() > 0.01
    finished = picture.finish(drawn, 7)
    assert finished.dtype == np.uint8
    assert not finished[: picture.BAR].any()
    assert not finished[-picture.BAR :].any()
    assert np.array_equal(finished, picture.finish(scene(0.5 * length, length), 7))


def test_a_title_says_its_text() -> None:
    """Bright letters in the middle, and more of them for more text."""
    lit = [(picture.title(text)(1.0, 2.0) > 0.6).sum() for text in ("NO", "THE LAST SIGNAL")]
    assert 3 * lit[0] < lit[1]
    assert picture.title("NO")(1.0, 2.0)[165:195].max() > 0.9


@pytest.mark.parametrize(
    "made",
    [sound.drum(), sound.brass_hit(), sound.riser(1.0), sound.explosion(1.0), sound.siren(1.0)],
)
def test_effects_are_loud_and_finite(made: sound.Sound) -> None:
    assert made.dtype == np.float32
    assert np.isfinite(made).all()
    assert 0.2 < np.abs(made).max() <= 1


def test_the_score_steps_back_for_a_voice() -> None:
    seconds = np.arange(4 * sound.RATE) / sound.RATE
    tone = (0.2 * np.sin(2 * np.pi * 220 * seconds)).astype(np.float32)
    alone, spoken = sound.Mix(4.0), sound.Mix(4.0)
    click = np.zeros(sound.RATE, np.float32)
    click[:] = 0.02
    for mix in (alone, spoken):
        mix.score(tone, 0.0)
    assert spoken.voice(click, 1.0) == 2.0
    middle = slice(round(1.4 * sound.RATE), round(1.6 * sound.RATE))
    assert spoken.master()[middle].std() < 0.5 * alone.master()[middle].std()
    assert np.allclose(spoken.master()[: sound.RATE // 4], alone.master()[: sound.RATE // 4])


def test_without_espeak_ng_it_says_how_to_get_it(tmp_path: Path) -> None:
    output = tmp_path / "trailer.mp4"
    done = subprocess.run(
        [sys.executable, EXAMPLES / "make_trailer.py", output],
        env={"PATH": str(tmp_path), "PYTHONPATH": ":".join(path for path in sys.path if path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "espeak-ng is not installed. Install it: apt-get install espeak-ng"
    )
    assert not output.exists()


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
def test_lines_end_before_the_next_begins() -> None:
    ends = [
        at + len(sound.speak(text, voice)) / sound.RATE for at, voice, text in make_trailer.LINES
    ]
    starts = [at for at, _, _ in make_trailer.LINES[1:]]
    assert all(
        end < start for end, start in zip(ends, [*starts, make_trailer.duration()], strict=True)
    )
