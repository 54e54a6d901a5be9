"""The frame in the middle of each shot, found while the shot is still running."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from reelgenre.media.pictures import PictureMaker, Still, held_bytes

Fetch = Callable[[int], tuple[int, VideoFrame] | None]
"""From twice the middle of a shot to the frame nearest to it, decoded again."""


def nearest(ticks: Sequence[int], twice_middle: int) -> int:
    """Index of the tick nearest to half of ``twice_middle``; the earlier of two equally near.

    Args:
        ticks: in ascending order, at least one.
        twice_middle: start of the shot plus its end.
    """
    return min(range(len(ticks)), key=lambda i: abs(2 * ticks[i] - twice_middle))


@dataclass
class _Held:
    tick: int
    picture: VideoFrame | Still
    size: int


class MidFrames:
    """Holds what may yet be the middle of the current shot, within a memory budget.

    The end of a shot is known only when it comes, but its middle can only move forward, so what
    lies before the middle of what has been seen is let go. When the rest outgrows the budget it
    is first kept at the size that frames are emitted at, and when that outgrows the budget too it
    is let go, and the frame is fetched by decoding again once the shot is over.

    Args:
        maker: makes pictures of frames.
        fetch: decodes the frame nearest to a time again.
        budget: most bytes to hold.
    """

    def __init__(self, maker: PictureMaker, fetch: Fetch, budget: int) -> None:
        self._maker = maker
        self._fetch = fetch
        self._budget = budget
        self._held: deque[_Held] = deque()
        self._full_size: deque[_Held] = deque()
        self._bytes = 0
        self._start: int | None = None
        self._outgrown = False
        self._let_go: int | None = None
        self.most_bytes = 0
        """The most that was ever held."""
        self.fetched = 0
        """Frames that had to be decoded again."""

    def add(self, tick: int, frame: VideoFrame) -> None:
        """Take the next frame; ticks ascend."""
        if self._start is None:
            self._start = tick
        if self._outgrown:
            self._let_go = tick
            return
        held = _Held(tick, frame, held_bytes(frame))
        self._held.append(held)
        self._full_size.append(held)
        self._bytes += held.size
        self._fit()
        self.most_bytes = max(self.most_bytes, self._bytes)

    def settle(self, tick: int) -> None:
        """The current shot will not end before this tick: let go what cannot be its middle."""
        if self._start is None:
            return
        twice_middle = self._start + tick
        while len(self._held) > 1 and abs(2 * self._held[1].tick - twice_middle) < abs(
            2 * self._held[0].tick - twice_middle
        ):
            self._drop_first()

    def end_shot(self, end: int) -> tuple[int, NDArray[np.uint8] | None]:
        """The shot is over; what is held from its end on belongs to the next.

        Args:
            end: tick of the first frame of the next shot, or the end of the stream.

        Returns:
            Tick and picture of its middle frame; no picture where decoding it again failed.
        """
        if self._start is None:
            raise ValueError("no shot has begun")
        start, self._start = self._start, end
        twice_middle = start + end
        found = self._find(twice_middle, end, start)
        while self._held and self._held[0].tick < end:
            self._drop_first()
        self._outgrown = False
        if found is None:
            self.fetched += 1
            found = self._fetch(twice_middle)
        if found is None:
            return twice_middle // 2, None
        tick, picture = found
        still = picture if isinstance(picture, Still) else self._maker.shrink(picture)
        return tick, self._maker.finish(still)

    def close(self) -> None:
        """Let go of everything."""
        self._held.clear()
        self._full_size.clear()
        self._bytes = 0

    def _find(
        self, twice_middle: int, end: int, start: int
    ) -> tuple[int, VideoFrame | Still] | None:
        held = [h for h in self._held if h.tick < end]
        if not held:
            return None
        found = held[nearest([h.tick for h in held], twice_middle)]
        # With earlier frames of this shot let go unasked, only a frame held on either side of
        # the middle proves that none of those was nearer.
        gone = self._let_go is not None and self._let_go >= start
        if gone and 2 * held[0].tick > twice_middle:
            return None
        return found.tick, found.picture

    def _fit(self) -> None:
        # The newest first: the oldest are let go soonest, and many will never have to be shrunk.
        while self._bytes > self._budget and self._full_size:
            newest = self._full_size.pop()
            assert isinstance(newest.picture, VideoFrame)
            still = self._maker.shrink(newest.picture)
            self._bytes += still.bytes_held - newest.size
            newest.picture, newest.size = still, still.bytes_held
        if self._bytes > self._budget:
            self._let_go = self._held[-1].tick
            self._outgrown = True
            self._held.clear()
            self._full_size.clear()
            self._bytes = 0

    def _drop_first(self) -> None:
        dropped = self._held.popleft()
        self._bytes -= dropped.size
        if self._full_size and self._full_size[0] is dropped:
            self._full_size.popleft()
