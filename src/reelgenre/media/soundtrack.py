"""Mono sound at the rates that consumers ask for, each sample at its presentation time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from functools import partial

import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from numpy.typing import NDArray

from reelgenre.media.timeline import Timeline
from reelgenre.media.types import SoundBlock

# A timestamp further than this from where the last sound ended is a gap or an overlap; nearer, it
# is the rounding that containers do. The shortest packets in use last 20 ms.
_TOLERANCE = Fraction(15, 1000)


class BlockWriter:
    """Lays stretches of samples on one time line and hands them on in blocks of one second.

    Gaps become silence; where stretches overlap, the earlier one stays. What lies before time 0
    is cut off.

    Args:
        rate: samples per second.
        emit: takes the blocks.
    """

    def __init__(self, rate: int, emit: Callable[[SoundBlock], None]) -> None:
        self._rate = rate
        self._emit = emit
        self._parts: list[NDArray[np.float32]] = []
        self._waiting = 0
        self._next: int | None = None

    def begin(self, start: Fraction) -> None:
        """The samples written from here on start at this time, in seconds."""
        self._cursor = round(start * self._rate)

    def write(self, samples: NDArray[np.float32]) -> None:
        """Write the samples that follow the last ones of this stretch; float32 [N]."""
        first, self._cursor = self._cursor, self._cursor + len(samples)
        if self._next is None:
            if self._cursor <= 0:
                return
            self._next = max(0, first)
        samples = samples[max(0, self._next - first) :]
        if not len(samples):
            return
        while self._next < first:
            self._append(np.zeros(min(self._rate, first - self._next), np.float32))
        self._append(samples)

    def finish(self) -> None:
        """Hand on what is left."""
        self._flush(1)

    def _append(self, samples: NDArray[np.float32]) -> None:
        assert self._next is not None
        self._parts.append(samples)
        self._waiting += len(samples)
        self._next += len(samples)
        if self._waiting >= self._rate:
            self._flush(self._rate)

    def _flush(self, least: int) -> None:
        if self._waiting < least or self._next is None:
            return
        joined = np.concatenate(self._parts)
        start = self._next - self._waiting
        # Whole seconds, except for the last block of the stream.
        whole = len(joined) if least < self._rate else len(joined) // self._rate * self._rate
        for at in range(0, whole, self._rate):
            block = joined[at : min(at + self._rate, whole)]
            self._emit(SoundBlock(block, (start + at) / self._rate, self._rate))
        self._parts = [joined[whole:].copy()]
        self._waiting = len(joined) - whole


class Soundtrack:
    """Down-mixes and resamples one sound stream, once for each rate.

    Args:
        time_base: seconds per tick of the stream.
        timeline: places its frames.
        origin: time in seconds that counts as 0.
        outputs: rate and taker of the blocks.
    """

    def __init__(
        self,
        time_base: Fraction,
        timeline: Timeline,
        origin: Fraction,
        outputs: Iterable[tuple[int, Callable[[SoundBlock], None]]],
    ) -> None:
        self._time_base = time_base
        self._timeline = timeline
        self._origin = origin
        self._writers = [
            (rate, BlockWriter(rate, partial(_hand_on, emit))) for rate, emit in outputs
        ]
        self._resamplers: list[AudioResampler] = []
        self._kind: tuple[int, str, str] | None = None
        self._end = Fraction(0)
        self.first: Fraction | None = None
        """When the first sound starts, in seconds; None before it came."""

    @property
    def end(self) -> Fraction:
        """When the last sound ends, in seconds."""
        return self._end

    @property
    def jumps(self) -> int:
        """Faults in the stream's clock."""
        return self._timeline.jumps

    def push(self, frame: AudioFrame) -> None:
        """Take the next decoded frame."""
        if not frame.samples or not frame.sample_rate:
            return
        length = Fraction(frame.samples, frame.sample_rate)
        tick = self._timeline.place(frame.pts, round(length / self._time_base))
        start = tick * self._time_base - self._origin
        kind = (frame.sample_rate, frame.layout.name, frame.format.name)
        if kind != self._kind or abs(start - self._end) > _TOLERANCE:
            self._end_stretch()
            self._kind = kind
            self._resamplers = [_resampler(rate) for rate, _ in self._writers]
            for _, writer in self._writers:
                writer.begin(start)
            self._end = start
            if self.first is None:
                self.first = start
        self._end += length
        frame.pts = None
        if "channels" in frame.layout.name:
            frame = _mean(frame)
        for (_, writer), resampler in zip(self._writers, self._resamplers, strict=True):
            _write(writer, resampler.resample(frame))

    def finish(self) -> None:
        """The stream is over."""
        self._end_stretch()
        for _, writer in self._writers:
            writer.finish()

    def _end_stretch(self) -> None:
        for (_, writer), resampler in zip(self._writers, self._resamplers, strict=False):
            _write(writer, resampler.resample(None))


def _resampler(rate: int) -> AudioResampler:
    # Mixing down must not exceed full scale, which FFmpeg sees to only for integer samples.
    return AudioResampler("fltp", "mono", rate, options={"rematrix_maxval": "1"})


def _write(writer: BlockWriter, frames: Iterable[AudioFrame | None]) -> None:
    for frame in frames:
        if frame is not None and frame.samples:
            writer.write(frame.to_ndarray()[0])


def _hand_on(emit: Callable[[SoundBlock], None], block: SoundBlock) -> None:
    samples = np.nan_to_num(block.samples, nan=0.0, posinf=1.0, neginf=-1.0)
    emit(SoundBlock(np.clip(samples, -1.0, 1.0), block.start, block.rate))


def _mean(frame: AudioFrame) -> AudioFrame:
    """Channels that nobody named, mixed in equal parts."""
    planar = AudioResampler("fltp", frame.layout, frame.sample_rate).resample(frame)[0]
    mono = np.ascontiguousarray(planar.to_ndarray().mean(axis=0, keepdims=True, dtype=np.float32))
    mixed = AudioFrame.from_ndarray(mono, format="fltp", layout="mono")
    mixed.sample_rate = frame.sample_rate
    return mixed
