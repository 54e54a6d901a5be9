"""A shot detector for edited film: hard cuts, dissolves and fades, but not flashes or motion."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

Thumbnail = NDArray[np.float32]
"""Luma of a frame, [18, 32], 0 to 255."""

# All times in seconds. Thumbnails are compared at this spacing; scores are read on every frame.
_SPACING = 1 / 12
# A hard cut is decided this long after it: a flash would be over.
_PATIENCE = 0.3
# Scores this close before and after are what a cut must stand out from.
_NEIGHBOURHOOD = 0.3
# Shots shorter than this are not told apart.
_SHORTEST = 0.12
# Lengths of the stretches that are tested for a dissolve, and of what is looked at beside them,
# in samples.
_DISSOLVES = (4, 6, 8, 10, 13, 16, 18)
_BESIDE = 3
# A blank picture (the black or white of a fade) that lasts longer is a shot of its own.
_LONGEST_BLANK = 1.0
# How far from a blank stretch pictures are bright enough again to be compared.
_CLEAR = 0.25
# No cut is reported later than this: half the longest dissolve and what is beside it.
_LAG = 1.1
# How far back samples are kept.
_MEMORY = 2.2

# FFmpeg's scene score: candidates for a cut, and how far they stand out.
_LEAST_SCORE = 0.03
_STANDS_OUT = 3.0
# Likeness of thumbnails: across a cut at most, of a picture that came back at least.
_CUT_LIKENESS = 0.6
_SAME_LIKENESS = 0.8
_OTHER_PICTURE = 0.45
# Frames of a dissolve lie on the line between its ends: off it, and in one step, at most.
_OFF_LINE = 0.33
_LARGEST_STEP = 0.5
# The picture changes this many times faster in a dissolve than beside it.
_FASTER = 1.7
# Luma below which a pixel counts as dark, and beyond which an even picture counts as blank.
_DARK = 8.0
_BLACK, _WHITE, _EVEN = 16.0, 235.0, 8.0


def likeness(a: Thumbnail, b: Thumbnail) -> float:
    """How alike two thumbnails are in structure and contrast, -1 to 1; brightness is left out.

    The contrast and structure terms of SSIM over the whole picture, without what is dark in
    both: black bars must not make all pictures look alike.
    """
    both = _lit(a, b)
    if both is None:
        return 1.0
    x, y = both
    return float((2 * (x @ y) / x.size + 1.0) / ((x @ x + y @ y) / x.size + 1.0))


def correlation(a: Thumbnail, b: Thumbnail) -> float:
    """Like :func:`likeness`, but blind to contrast as well: a faded picture is like itself."""
    both = _lit(a, b)
    if both is None:
        return 1.0
    x, y = both
    return float((x @ y) / (np.sqrt((x @ x) * (y @ y)) + 1e-3))


def is_blank(thumbnail: Thumbnail) -> bool:
    """Nothing to be seen but even black or white, as in the middle of a fade."""
    lit = thumbnail[thumbnail > _DARK]
    if lit.size < 0.05 * thumbnail.size or float(np.percentile(thumbnail, 98)) < _BLACK:
        return True
    return float(lit.mean()) > _WHITE and float(lit.std()) < _EVEN


def _lit(a: Thumbnail, b: Thumbnail) -> tuple[Thumbnail, Thumbnail] | None:
    lit = np.maximum(a, b) > _DARK
    if np.count_nonzero(lit) < 0.05 * a.size:
        return None
    x, y = a[lit], b[lit]
    return x - x.mean(), y - y.mean()


@dataclass
class _Candidate:
    tick: int
    score: float
    before: Thumbnail


class AdaptiveDetector:
    """Finds hard cuts, dissolves and fades through black or white.

    A hard cut is a frame whose scene score stands out from those around it, whose picture is
    unlike the one before, and after which the old picture does not come back, as it does after a
    flash. A dissolve is a stretch whose ends are unlike and between which every frame is a
    mixture of the two; motion is not. A fade is a blank stretch with unlike pictures before and
    after.

    Args:
        time_base: seconds per tick.
    """

    def __init__(self, time_base: Fraction) -> None:
        self._tick_s = float(time_base)
        self.settled = 0
        """No cut will be reported any more at a tick before this one."""
        self._now = 0
        self._first: int | None = None
        self._last_cut: int | None = None
        self._previous: Callable[[], Thumbnail] | None = None
        self._scores: deque[tuple[int, float]] = deque()
        self._pending: deque[_Candidate] = deque()
        self._samples: deque[tuple[int, Thumbnail]] = deque()
        self._blank: tuple[int, Thumbnail | None] | None = None
        self._blank_over: int | None = None

    def push(self, tick: int, score: float, thumbnail: Callable[[], Thumbnail]) -> list[int]:
        """Take one frame; return the ticks of the frames found to start new shots, in order."""
        cuts: list[int] = []
        self._now = tick
        if self._first is None:
            self._first = self.settled = tick
        self._scores.append((tick, score))
        if score >= _LEAST_SCORE and self._previous is not None:
            self._consider(tick, score, self._previous(), thumbnail())
        cuts += self._decide(tick)
        if not self._samples or tick - self._samples[-1][0] >= 0.9 * self._ticks(_SPACING):
            cuts += self._sample(tick, thumbnail())
        self._previous = thumbnail
        oldest = tick - self._ticks(_LAG)
        while self._scores[0][0] < oldest:
            self._scores.popleft()
        while self._samples[0][0] < tick - self._ticks(_MEMORY):
            self._samples.popleft()
        self.settled = max(self.settled, oldest)
        return self._accept(cuts)

    def finish(self) -> list[int]:
        """The stream is over; return what was still undecided."""
        return self._accept(self._decide(self._now + self._ticks(_PATIENCE)))

    def _ticks(self, seconds: float) -> int:
        return max(1, round(seconds / self._tick_s))

    def _accept(self, cuts: list[int]) -> list[int]:
        accepted = []
        for cut in sorted(cuts):
            last = self._first if self._last_cut is None else self._last_cut
            if last is not None and cut - last >= self._ticks(_SHORTEST):
                accepted.append(cut)
                self._last_cut = cut
                self.settled = max(self.settled, cut)
        return accepted

    # Hard cuts.

    def _consider(self, tick: int, score: float, before: Thumbnail, after: Thumbnail) -> None:
        if is_blank(before) or likeness(before, after) >= _CUT_LIKENESS:
            return
        # What was there before an earlier candidate is back: both were edges of a flash.
        returned = [c for c in self._pending if likeness(c.before, after) >= _SAME_LIKENESS]
        if returned:
            while self._pending and self._pending[-1].tick >= returned[0].tick:
                self._pending.pop()
        elif not is_blank(after):
            self._pending.append(_Candidate(tick, score, before))

    def _decide(self, now: int) -> list[int]:
        cuts = []
        while self._pending and now - self._pending[0].tick >= self._ticks(_PATIENCE):
            candidate = self._pending.popleft()
            near = self._ticks(_NEIGHBOURHOOD)
            others = [
                score
                for tick, score in self._scores
                if tick != candidate.tick and abs(tick - candidate.tick) <= near
            ]
            usual = float(np.median(others)) if others else 0.0
            returns = any(
                tick > candidate.tick and likeness(candidate.before, sample) >= _SAME_LIKENESS
                for tick, sample in self._samples
            )
            if candidate.score >= _STANDS_OUT * usual + _LEAST_SCORE and not returns:
                cuts.append(candidate.tick)
        return cuts

    # Dissolves and fades.

    def _sample(self, tick: int, thumbnail: Thumbnail) -> list[int]:
        self._samples.append((tick, thumbnail))
        cuts = self._fade(tick, thumbnail)
        if not cuts and self._blank is None:
            cuts = self._dissolve()
        return cuts

    def _fade(self, tick: int, thumbnail: Thumbnail) -> list[int]:
        if is_blank(thumbnail):
            if self._blank is None:
                clear = tick - self._ticks(_CLEAR)
                before = [t for at, t in self._samples if at <= clear]
                self._blank = (tick, before[-1] if before else None)
            self._blank_over = None
            return []
        if self._blank is None:
            return []
        if self._blank_over is None:
            self._blank_over = tick
        if tick - self._blank_over < self._ticks(_CLEAR):
            return []
        (start, before_blank), end = self._blank, self._blank_over
        self._blank = self._blank_over = None
        if before_blank is None or correlation(before_blank, thumbnail) >= _OTHER_PICTURE:
            return []
        return [self._frame_at(max((start + end) // 2, tick - self._ticks(_LAG) + 1))]

    def _dissolve(self) -> list[int]:
        samples = list(self._samples)
        last = len(samples) - 1 - _BESIDE
        for length in _DISSOLVES:
            first = last - length
            if first < _BESIDE:
                break
            start, middle = samples[first - _BESIDE][0], samples[first + length // 2][0]
            if (self._last_cut is not None and start < self._last_cut) or any(
                c.tick >= start for c in self._pending
            ):
                break
            if middle > self.settled and _is_mixture([t for _, t in samples], first, last):
                return [middle]
        return []

    def _frame_at(self, tick: int) -> int:
        """The first frame from this tick on."""
        return next(at for at, _ in self._scores if at >= tick)


def _is_mixture(pictures: list[Thumbnail], first: int, last: int) -> bool:
    """Whether the pictures from ``first`` to ``last`` turn one picture into an unlike one."""
    a, b = pictures[first], pictures[last]
    if is_blank(a) or is_blank(b) or correlation(a, b) >= _OTHER_PICTURE:
        return False
    line = (b - a).ravel()
    whole = float(line @ line)
    beside = max(
        float(np.linalg.norm(a - pictures[first - _BESIDE])),
        float(np.linalg.norm(pictures[last + _BESIDE] - b)),
    )
    if np.sqrt(whole) / (last - first) < _FASTER * beside / _BESIDE:
        return False
    course = np.stack([t.ravel() for t in pictures[first : last + 1]]) - a.ravel()
    shares = course @ line / whole
    off = course - shares[:, None] * line
    steps = np.diff(shares)
    return bool(
        np.sqrt((off**2).sum(axis=1).max() / whole) <= _OFF_LINE
        and steps.max() <= _LARGEST_STEP
        and steps.min() >= -0.1
    )
