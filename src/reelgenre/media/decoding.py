"""Decoders that survive damaged packets, and pictures decoded a second time."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import chain

from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from reelgenre.errors import MediaError
from reelgenre.media.source import Source, open_source
from reelgenre.media.timeline import Timeline

_log = logging.getLogger("reelgenre.media")

MOST_FAILURES = 300
"""A stream none of whose first packets, this many, can be decoded is given up."""

# Gaps longer than this are not believed: in streams cut out of broadcasts, whose clocks jump, and
# in files, which may well show one slide for half an hour.
_BROADCAST_GAP_S, _FILE_GAP_S = 10.0, 3600.0
_BROADCAST = {"mpegts", "mpeg"}
# How far before its time a frame is looked for when seeking to it has overshot.
_SEEK_BACK_S = (0, 2, 10, 60)


class StreamDecoder:
    """Decodes one stream packet by packet; a packet that fails is skipped and counted.

    Args:
        stream: the stream.
    """

    def __init__(self, stream: VideoStream | AudioStream) -> None:
        self._stream = stream
        self._gave = False
        self.failures = 0

    @property
    def given_up(self) -> bool:
        """So many packets failed and none succeeded that no more are tried."""
        return not self._gave and self.failures >= MOST_FAILURES

    def decode(self, packet: Packet[Stream] | None) -> Sequence[VideoFrame | AudioFrame]:
        """Frames of one packet, or those still inside with None, at the end."""
        if self.given_up:
            return []
        try:
            frames = self._stream.decode(packet)
        except FFmpegError as error:
            if packet is not None:
                self.failures += 1
                _log.debug("skipped a packet: %s", error)
            return []
        self._gave = self._gave or bool(frames)
        return frames


class PictureClock:
    """Places the pictures of a stream in time, each later than the one before.

    Args:
        source: the file.
        stream: its stream of pictures.
    """

    def __init__(self, source: Source, stream: VideoStream) -> None:
        assert stream.time_base is not None
        self.time_base = stream.time_base
        self.timeline = Timeline(stream.time_base, longest_gap(source))
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        self._usual = max(1, round(1 / rate / stream.time_base))
        self._last: int | None = None
        self.end = 0
        """Tick at which the last picture ends."""

    def place(self, frame: VideoFrame) -> int:
        """The tick at which a picture is shown."""
        duration = frame.duration if frame.duration > 0 else self._usual
        tick = self.timeline.place(frame.pts, duration)
        if self._last is not None and tick <= self._last:
            tick = self._last + 1
        self._last = tick
        self.end = tick + duration
        return tick


class Refetcher:
    """Decodes single frames again, through a second handle on the file.

    Seeks where the file's timestamps can be trusted. Where they had to be made up or evened out
    it reads on from where it stands, which gives the same times as the first decode did.

    Args:
        source: the file as opened for the first decode.
        threads: decoder threads.
    """

    def __init__(self, source: Source, threads: int) -> None:
        self._path = source.path
        self._threads = threads
        self._again: Source | None = None
        self._reading: Iterator[tuple[int, VideoFrame]] | None = None
        self._behind: tuple[int, VideoFrame] | None = None

    def nearest(self, twice_middle: int, trusted: bool) -> tuple[int, VideoFrame] | None:
        """The frame nearest to half of ``twice_middle`` ticks, the earlier of two equally near.

        Args:
            twice_middle: twice the tick to look for.
            trusted: timestamps are those of the file.

        Returns:
            Its tick and the frame; None where it cannot be found any more.
        """
        try:
            if trusted:
                found = self._seek(twice_middle)
                if found is not None:
                    return found
            return self._read_on(twice_middle)
        except (FFmpegError, MediaError) as error:
            _log.warning("a frame could not be decoded again: %s", error)
            self.close()
            return None

    def close(self) -> None:
        """Close the second handle."""
        if self._again is not None:
            self._again.close()
        self._again, self._reading, self._behind = None, None, None

    def _seek(self, twice_middle: int) -> tuple[int, VideoFrame] | None:
        self._reading = None
        source, stream = self._open()
        for back in _SEEK_BACK_S:
            assert stream.time_base is not None
            target = twice_middle // 2 - round(back / stream.time_base)
            try:
                source.container.seek(target, stream=stream)
            except FFmpegError:
                return None
            frames = pictures(source, stream, PictureClock(source, stream))
            first = next(frames, None)
            if first is not None and 2 * first[0] <= twice_middle:
                return _closest(first, frames, twice_middle)[0]
        return None

    def _read_on(self, twice_middle: int) -> tuple[int, VideoFrame] | None:
        if self._reading is None or self._behind is None:
            self.close()
            source, stream = self._open()
            self._reading = pictures(source, stream, PictureClock(source, stream))
            self._behind = next(self._reading, None)
            if self._behind is None:
                return None
        found, self._behind = _closest(self._behind, self._reading, twice_middle)
        return found

    def _open(self) -> tuple[Source, VideoStream]:
        if self._again is None:
            self._again = open_source(self._path, self._threads)
        if self._again.video is None:
            raise MediaError(f"{self._path} has changed", "Do not write to it meanwhile")
        return self._again, self._again.video


def pictures(
    source: Source, stream: VideoStream, clock: PictureClock
) -> Iterator[tuple[int, VideoFrame]]:
    """Tick and frame of every picture from where the file stands."""
    decoder = StreamDecoder(stream)
    for packet in chain(source.packets(stream), (None,)):
        for frame in decoder.decode(packet):
            if isinstance(frame, VideoFrame):
                yield clock.place(frame), frame


def longest_gap(source: Source) -> float:
    """The longest gap between timestamps that is believed, in seconds."""
    return _BROADCAST_GAP_S if source.info.container in _BROADCAST else _FILE_GAP_S


def _closest(
    before: tuple[int, VideoFrame],
    frames: Iterator[tuple[int, VideoFrame]],
    twice_middle: int,
) -> tuple[tuple[int, VideoFrame], tuple[int, VideoFrame]]:
    """The closest of the frames from ``before`` on, and the last one that was looked at."""
    for after in frames:
        if 2 * after[0] >= twice_middle:
            late = 2 * after[0] - twice_middle < twice_middle - 2 * before[0]
            return (after if late else before), after
        before = after
    return before, before
