"""Cuts are where FFmpeg's scene score, computed here from its definition, says they are."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import av
import cv2
import numpy as np
import pytest

from reelgenre.media import MediaOptions, open_media
from reelgenre.media.adaptive import correlation, is_blank, likeness


def noise(rng: Any, level: int) -> Any:
    """A picture of blocks, unlike any other."""
    blocks = rng.integers(0, 255, (6, 10, 3))
    return np.clip(np.kron(blocks, np.ones((16, 16, 1))) * level / 255, 0, 255).astype(np.uint8)


def shots_of(path: Any, **options: Any) -> Any:
    with open_media(path, MediaOptions(**options)) as media:
        return media.run().shots


@pytest.mark.parametrize("threshold", [0.1, 0.27, 0.4])
def test_threshold_cuts_are_those_of_ffmpegs_formula(make: Any, threshold: float) -> None:
    rng = np.random.default_rng(1)
    frames = [noise(rng, int(level)) for level in rng.choice([40, 120, 255], 12) for _ in range(5)]
    path = make.write("cuts.mkv", make.pictures(frames, codec="ffv1"))
    with av.open(str(path)) as container:
        luma = [f.to_ndarray()[: f.height].astype(int) for f in container.decode(video=0)]
    # min(difference, its change) / 100, with difference the mean absolute one of luma.
    differences = [0.0, *(abs(b - a).mean() for a, b in pairwise(luma))]
    scores = [0.0] + [
        min(max(min(now, abs(now - before)) / 100, 0), 1) for before, now in pairwise(differences)
    ]
    expected = [i / 25 for i, score in enumerate(scores) if score > threshold]
    shots = shots_of(path, detector="threshold", threshold=threshold)
    assert [start for start, _ in shots] == pytest.approx([0.0, *expected], abs=0.0011)


def test_adaptive_finds_cuts_dissolves_and_fades_but_no_flash(make: Any) -> None:
    rng = np.random.default_rng(2)
    a, b, c, d = (noise(rng, 220).astype(float) for _ in range(4))
    frames = [a] * 40
    frames[20] = frames[21] = a * 0.1 + 230
    frames += [b] * 40  # cut at 1.6 s
    frames += [b + (c - b) * i / 15 for i in range(1, 15)]  # dissolve from 3.2 to 3.76 s
    frames += [c] * 40
    start = len(frames)
    frames += [c * i / 10 for i in range(9, -1, -1)] + [c * 0] * 5 + [d * i / 10 for i in range(10)]
    stop = len(frames)
    frames += [d] * 40
    images = [np.clip(f, 0, 255).astype(np.uint8) for f in frames]
    path = make.write("edit.mp4", make.pictures(images))
    starts = [s for s, _ in shots_of(path, detector="adaptive")]
    assert len(starts) == 4
    assert starts[0] == 0.0
    assert starts[1] == pytest.approx(1.6)
    assert 3.2 <= starts[2] <= 3.8
    assert start / 25 <= starts[3] <= stop / 25


def test_adaptive_does_not_cut_a_pan(make: Any) -> None:
    rng = np.random.default_rng(3)
    wide = np.kron(rng.integers(0, 255, (8, 60, 3)), np.ones((12, 12, 1))).astype(np.uint8)
    frames = [wide[:96, 6 * i : 6 * i + 160] for i in range(90)]
    assert len(shots_of(make.write("pan.mp4", make.pictures(frames)), detector="adaptive")) == 1


def card(*lines: str) -> Any:
    """Small white text on black."""
    image = np.zeros((180, 320, 3), np.uint8)
    for number, line in enumerate(lines):
        width = cv2.getTextSize(line, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)[0][0]
        at = (160 - width // 2, 90 + 16 * number)
        cv2.putText(image, line, at, cv2.FONT_HERSHEY_SIMPLEX, 0.45, (235,) * 3, 1, cv2.LINE_AA)
    return image.astype(float)


def fading(image: Any, still: int, black: int = 0) -> Any:
    """In over 8 frames, stay, out over 8 frames, black."""
    ramp = [*range(1, 9), *[9] * still, *range(8, 0, -1), *[0] * black]
    return [image * step / 9 for step in ramp]


def test_text_that_fades_in_and_out_over_black_is_a_shot_of_its_own(make: Any) -> None:
    rng = np.random.default_rng(5)
    a, b = (np.kron(noise(rng, 200), np.ones((2, 2, 1)))[:180].astype(float) for _ in "ab")
    first, second = card("IN A WORLD", "LIKE NO OTHER"), card("THIS SUMMER")
    parts = [fading(a, 30, 6), fading(first, 8, 6), fading(second, 8, 6), fading(b, 30)]
    starts = np.cumsum([0, *[len(part) for part in parts]])
    images = [np.clip(f, 0, 255).astype(np.uint8) for part in parts for f in part]
    decoded = make.decode(make.write("cards.mp4", make.pictures(images)), MediaOptions())
    assert len(decoded.frames) == 4
    for frame, part, start, stop in zip(decoded.frames, parts, starts, starts[1:], strict=False):
        # Each frame shows the picture at full strength, whatever of the black its shot has.
        assert start <= round(frame.time * 25) < stop
        assert abs(frame.image - part[15]).mean() < 8


def test_a_long_blank_is_a_shot_of_its_own(make: Any) -> None:
    rng = np.random.default_rng(6)
    a, b = noise(rng, 220), noise(rng, 220)
    images = [a] * 50 + [a * 0] * 50 + [b] * 50
    shots = shots_of(make.write("black.mp4", make.pictures(images)), detector="adaptive")
    assert [start for start, _ in shots] == pytest.approx([0.0, 2.0, 4.0], abs=0.09)


def test_a_slow_dissolve_between_moving_pictures_is_one_cut(make: Any) -> None:
    rng = np.random.default_rng(7)
    wide = [np.kron(rng.integers(0, 255, (6, 16, 3)), np.ones((16, 16, 1))) for _ in "ab"]
    moving = [[w[:, i // 6 : i // 6 + 160] for i in range(150)] for w in wide]
    shares = np.clip((np.arange(150) - 60) / 30, 0, 1)
    images = [
        ((1 - share) * a + share * b).astype(np.uint8)
        for share, a, b in zip(shares, *moving, strict=True)
    ]
    shots = shots_of(make.write("mix.mp4", make.pictures(images)), detector="adaptive")
    assert len(shots) == 2
    assert 2.4 <= shots[1][0] <= 3.6


def test_likeness_ignores_bars_and_correlation_ignores_fading() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.uniform(60, 200, (2, 18, 32)).astype(np.float32)
    assert likeness(a, a) == pytest.approx(1.0)
    assert correlation(a, a * 0.3) == pytest.approx(1.0, abs=0.01)
    a[:5], b[:5], a[-5:], b[-5:] = 0, 0, 0, 0
    assert likeness(a, b) < 0.35
    assert is_blank(np.zeros((18, 32), np.float32))
    assert is_blank(np.full((18, 32), 250, np.float32))
    assert not is_blank(a)
    thumbnail = cv2.resize(card("THIS SUMMER")[..., 0], (32, 18), interpolation=cv2.INTER_AREA)
    assert not is_blank(thumbnail.astype(np.float32))
