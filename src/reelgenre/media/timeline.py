"""Presentation times that never run backwards, whatever the timestamps of a stream do."""

from __future__ import annotations

from fractions import Fraction

# A step back by more than this is a splice or a clock that wrapped, not two packets that overlap.
_BACK_S = 1


class Timeline:
    """Places the frames of one stream in time, in ticks of its time base.

    Timestamps are taken as they are, with three exceptions: one that is missing or repeats the
    last continues where the last frame ended; one that jumps back by more than a second, or ahead
    by more than ``max_gap_s``, is a fault in the clock, and from there on all are shifted so that
    time continues.

    Args:
        time_base: seconds per tick.
        max_gap_s: the longest gap that is believed.
    """

    def __init__(self, time_base: Fraction, max_gap_s: float) -> None:
        self._back = max(1, round(_BACK_S / time_base))
        self._ahead = max(1, round(max_gap_s / time_base))
        self._shift = 0
        self._stamp: int | None = None
        self._last: int | None = None
        self._end = 0
        self.exact = True
        """Whether every time so far is the timestamp that the file gives."""
        self.jumps = 0
        """Faults in the clock that were evened out."""

    def place(self, pts: int | None, duration: int) -> int:
        """The tick at which a frame is shown.

        Args:
            pts: its timestamp, None where it has none.
            duration: how long it lasts, in ticks.
        """
        if pts is None or (self._last is not None and pts == self._stamp):
            tick = self._end
            self.exact = False
        else:
            tick = pts + self._shift
            if self._last is not None and not (
                self._last - self._back <= tick <= self._end + self._ahead
            ):
                self._shift = self._end - pts
                tick = self._end
                self.exact = False
                self.jumps += 1
        self._stamp = pts
        self._last = tick
        self._end = tick + duration
        return tick
