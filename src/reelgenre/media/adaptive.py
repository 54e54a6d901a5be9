"""A shot detector for edited film: hard cuts, dissolves and fades, but not flashes or motion."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

import numpy as np
from numpy.typing import NDArray

Thumbnail = NDArray[np.float32]
"""Luma of a frame, [18, 32] or in one row, 0 to 255."""

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
_LENGTHS = (4, 6, 8, 10, 13, 16, 18)
_BESIDE = 3
# From the middle of a dissolve to where the next may begin: what is left of a slow one is none.
_APART = 0.6
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
# After black hardly anything but another picture comes; after white, which may be a flash, it may.
_OTHER_AFTER_BLACK = 0.7
# Frames of a dissolve lie on the line between its ends: off it, and in one step, at most.
_OFF_LINE = 0.2
_LARGEST_STEP = 0.5
# The picture changes at least this many times as fast in a dissolve as beside it.
_FASTER = 0.8
# The ends of a dissolve differ by this at least: squared levels, summed over the picture.
_LEAST_CHANGE = 6.0**2 * 576
# Luma up to which a cell of a thumbnail counts as dark, and beyond which it shows something; with
# fewer such cells a picture is blank. Even white is blank too.
_DARK, _VISIBLE, _LEAST_CELLS = 8.0, 24.0, 4
_WHITE, _EVEN = 235.0, 8.0
# What shows something on less of the picture than this is text, or as good as: likeness of texts
# that are the same.
_MOST_TEXT, _OTHER_TEXT = 0.2, 0.85


class Picture:
    """A thumbnail, with what is known of it.

    Args:
        thumbnail: luma [18, 32], 0 to 255.
    """

    __slots__ = ("blank", "contrast", "luma")

    def __init__(self, thumbnail: Thumbnail) -> None:
        self.luma = thumbnail.ravel()
        self.blank = is_blank(self.luma)
        lit = self.luma[self.luma > _DARK]
        # Sum of squares about the mean of what is not dark.
        self.contrast = float(lit @ lit - lit.sum() ** 2 / max(1, lit.size))


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
    """Nothing to be seen but black or even white, as in the middle of a fade.

    A line of small text on black is something to be seen.
    """
    if np.count_nonzero(thumbnail > _VISIBLE) < _LEAST_CELLS:
        return True
    if np.count_nonzero(thumbnail > _WHITE) < thumbnail.size // 2:
        return False
    lit = thumbnail[thumbnail > _DARK]
    return float(lit.mean()) > _WHITE and float(lit.std()) < _EVEN


def _lit(a: Thumbnail, b: Thumbnail) -> tuple[Thumbnail, Thumbnail] | None:
    lit = np.maximum(a, b) > _DARK
    cells = np.count_nonzero(lit)
    if cells < _LEAST_CELLS:
        return None
    x, y = a[lit], b[lit]
    return x - x.sum() / cells, y - y.sum() / cells


@dataclass(slots=True)
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
    after; a long one is a shot of its own. Text on black is a picture like any other.

    Args:
        time_base: seconds per tick.
    """

    def __init__(self, time_base: Fraction) -> None:
        self._tick_s = float(time_base)
        self._spacing = 0.9 * self._ticks(_SPACING)
        self._lag, self._memory = self._ticks(_LAG), self._ticks(_MEMORY)
        self.settled = 0
        """No cut will be reported any more at a tick before this one."""
        self._now = 0
        self._first: int | None = None
        self._last_cut: int | None = None
        self._previous: Callable[[], Picture] | None = None
        self._scores: deque[tuple[int, float]] = deque()
        self._pending: deque[_Candidate] = deque()
        self._samples: deque[tuple[int, Picture]] = deque()
        self._blank: tuple[int, Picture | None] | None = None
        self._blank_over: int | None = None
        self._dissolved: int | None = None

    def push(self, tick: int, score: float, thumbnail: Callable[[], Thumbnail]) -> list[int]:
        """Take one frame; return the ticks of the frames found to start new shots, in order."""
        cuts: list[int] = []
        self._now = tick
        if self._first is None:
            self._first = self.settled = tick
        self._scores.append((tick, score))
        picture = cache(lambda: Picture(thumbnail()))
        if score >= _LEAST_SCORE and self._previous is not None:
            self._consider(tick, score, self._previous(), picture())
        if self._pending:
            cuts += self._decide(tick)
        if not self._samples or tick - self._samples[-1][0] >= self._spacing:
            cuts += self._sample(tick, picture())
        self._previous = picture
        oldest = tick - self._lag
        while self._scores[0][0] < oldest:
            self._scores.popleft()
        while self._samples[0][0] < tick - self._memory:
            self._samples.popleft()
        self.settled = max(self.settled, oldest)
        return self._accept(cuts) if cuts else []

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

    def _consider(self, tick: int, score: float, before: Picture, after: Picture) -> None:
        if before.blank or likeness(before.luma, after.luma) >= _CUT_LIKENESS:
            return
        # What was there before an earlier candidate is back: both were edges of a flash.
        returned = [c for c in self._pending if likeness(c.before, after.luma) >= _SAME_LIKENESS]
        if returned:
            while self._pending and self._pending[-1].tick >= returned[0].tick:
                self._pending.pop()
        elif not after.blank:
            self._pending.append(_Candidate(tick, score, before.luma))

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
                tick > candidate.tick and likeness(candidate.before, sample.luma) >= _SAME_LIKENESS
                for tick, sample in self._samples
            )
            if candidate.score >= _STANDS_OUT * usual + _LEAST_SCORE and not returns:
                cuts.append(candidate.tick)
        return cuts

    # Dissolves and fades.

    def _sample(self, tick: int, picture: Picture) -> list[int]:
        self._samples.append((tick, picture))
        cuts = self._fade(tick, picture)
        if not cuts and self._blank is None:
            cuts = self._dissolve()
        return cuts

    def _fade(self, tick: int, picture: Picture) -> list[int]:
        if picture.blank:
            self._blank_over = None
            if self._blank is None:
                clear = tick - self._ticks(_CLEAR)
                before = [p for at, p in self._samples if at <= clear]
                self._blank = (tick, before[-1] if before else None)
            start = self._blank[0]
            if tick - start < self._ticks(_LONGEST_BLANK):
                return []
            # A shot of its own, already begun or beginning now.
            self._blank = (start, None)
            return [start] if start > self.settled else []
        if self._blank is None:
            return []
        if self._blank_over is None:
            self._blank_over = tick
        if tick - self._blank_over < self._ticks(_CLEAR):
            return []
        (start, before_blank), end = self._blank, self._blank_over
        self._blank = self._blank_over = None
        white = any(p.blank and p.luma.max() > _WHITE for _, p in self._samples)
        if end - start >= self._ticks(_LONGEST_BLANK):
            return [end]
        if before_blank is None or not _other(
            before_blank, picture, _OTHER_PICTURE if white else _OTHER_AFTER_BLACK
        ):
            return []
        return [self._frame_at(max((start + end) // 2, tick - self._lag + 1))]

    def _dissolve(self) -> list[int]:
        samples = self._samples
        last = len(samples) - 1 - _BESIDE
        if last < _BESIDE + _LENGTHS[0] or samples[last][1].blank:
            return []
        lengths = [
            length
            for length in _LENGTHS
            if length <= last - _BESIDE and _changed(samples[last - length][1], samples[last][1])
        ]
        if not lengths:
            return []
        pictures = np.array([picture.luma for _, picture in samples])
        for length in _mixtures(pictures, last, np.array(lengths)):
            first = last - length
            start, middle = samples[first - _BESIDE][0], samples[first + length // 2][0]
            if (
                middle > self.settled
                and (self._last_cut is None or start >= self._last_cut)
                and (self._dissolved is None or start >= self._dissolved)
                and not any(c.tick >= start for c in self._pending)
                and not samples[first][1].blank
                and _other(samples[first][1], samples[last][1], _OTHER_PICTURE)
            ):
                self._dissolved = middle + self._ticks(_APART)
                return [middle]
        return []

    def _frame_at(self, tick: int) -> int:
        """The first frame from this tick on."""
        return next(at for at, _ in self._scores if at >= tick)


def _other(a: Picture, b: Picture, most: float) -> bool:
    """Whether two pictures show different things: their correlation is less than ``most``."""
    # All text is alike in that it is lines in the middle of black.
    text = all(np.count_nonzero(p.luma > _VISIBLE) < _MOST_TEXT * p.luma.size for p in (a, b))
    return correlation(a.luma, b.luma) < (_OTHER_TEXT if text else most)


def _changed(a: Picture, b: Picture) -> bool:
    """Whether two pictures may be found to be others: a bound that is quick to compute.

    Pictures with this correlation at most differ by at least so much of their contrast.
    """
    difference = a.luma - b.luma
    least = (1 - _OTHER_PICTURE**2) * max(a.contrast, b.contrast)
    return float(difference @ difference) >= max(least, _LEAST_CHANGE)


def _mixtures(pictures: NDArray[np.float32], last: int, lengths: NDArray[np.int64]) -> list[int]:
    """Lengths of the stretches that end here in which one picture turns evenly into another.

    Args:
        pictures: luma of consecutive samples, [samples, cells].
        last: where the stretches end.
        lengths: those to test.

    Returns:
        The lengths for which every picture of the stretch is a mixture of its ends,
        ever more the last.
    """
    firsts = last - lengths
    away = pictures - pictures[last]
    products = away @ away.T
    squares = products.diagonal()
    whole = squares[firsts]
    # Each picture as a share of the first plus something that is in neither.
    shares = products[:, firsts] / whole
    off = squares[:, None] / whole - shares**2
    steps = shares[:-1] - shares[1:]
    rows = np.arange(len(pictures))[:, None]
    inside = (rows >= firsts) & (rows <= last)
    within = inside[:-1] & inside[1:]
    earlier = products[firsts - _BESIDE, firsts]
    before = whole + squares[firsts - _BESIDE] - 2 * earlier
    beside = np.maximum(before, squares[last + _BESIDE])
    good = (
        (whole / lengths**2 >= _FASTER**2 * beside / _BESIDE**2)
        & ~(inside & (off > _OFF_LINE**2)).any(axis=0)
        & ~(within & ((steps > _LARGEST_STEP) | (steps < -0.1))).any(axis=0)
    )
    return [int(length) for length in lengths[good]]
