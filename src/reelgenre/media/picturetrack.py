"""From the pictures of a stream to its shots and their middle frames."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from reelgenre.media.decoding import PictureClock, Refetcher
from reelgenre.media.midframes import MidFrames
from reelgenre.media.pictures import PictureMaker
from reelgenre.media.shots import SceneScorer, Thumbnailer, make_detector
from reelgenre.media.source import Source
from reelgenre.media.types import Frame, MediaOptions


class PictureTrack:
    """Finds shots while pictures come in and emits the frame in the middle of each.

    Args:
        source: the file.
        stream: its stream of pictures.
        options: how to detect and hold.
        emit: takes the mid-shot frames, in the order of time; None where nobody wants them.
    """

    def __init__(
        self,
        source: Source,
        stream: VideoStream,
        options: MediaOptions,
        emit: Callable[[Frame], None] | None,
    ) -> None:
        self._clock = PictureClock(source, stream)
        self._origin = source.origin
        self._emit = emit
        self._scorer = SceneScorer(self._clock.time_base)
        self._detector = make_detector(options, self._clock.time_base)
        self._thumbnailer = Thumbnailer()
        self._refetcher = Refetcher(source, options.threads)
        self._middles = MidFrames(
            PictureMaker(options.short_side, stream.sample_aspect_ratio),
            lambda twice: self._refetcher.nearest(twice, self._clock.timeline.exact),
            options.held_bytes,
        )
        self._piece = (
            None if options.piece_s is None else round(options.piece_s / self._clock.time_base)
        )
        self._start: int | None = None
        self.shots: list[tuple[float, float]] = []
        self.missed = 0
        """Shots whose middle frame could not be had."""

    @property
    def jumps(self) -> int:
        """Faults in the stream's clock."""
        return self._clock.timeline.jumps

    @property
    def end(self) -> float:
        """Where the last picture ends, in seconds."""
        return self._seconds(self._clock.end)

    def push(self, frame: VideoFrame) -> None:
        """Take the next decoded picture."""
        tick = self._clock.place(frame)
        if self._start is None:
            self._start = tick
        cuts = self._detector.push(
            tick, self._scorer.score(frame), partial(self._thumbnailer.thumbnail, frame)
        )
        if self._emit is not None:
            self._middles.add(tick, frame)
        for cut in cuts:
            self._end_shot(cut)
        self._end_pieces(self._detector.settled)
        settled = self._detector.settled
        # The shot, or a piece of it, may end as early as this.
        self._middles.settle(
            settled if self._piece is None else min(settled, self._start + self._piece)
        )

    def finish(self) -> None:
        """The stream is over."""
        if self._start is not None:
            for cut in self._detector.finish():
                self._end_shot(cut)
            self._end_shot(self._clock.end)

    def close(self) -> None:
        """Close what was opened to fetch frames, and let go of what is held."""
        self._middles.close()
        self._refetcher.close()

    def _end_pieces(self, end: int) -> None:
        """End pieces of a long shot that goes on to ``end`` at least."""
        assert self._start is not None
        # Not before it is half as long again: what is left should not be a sliver.
        while self._piece is not None and 2 * (end - self._start) > 3 * self._piece:
            self._end_part(self._start + self._piece)

    def _end_shot(self, end: int) -> None:
        assert self._start is not None
        if end > self._start:
            self._end_pieces(end)
            self._end_part(end)

    def _end_part(self, end: int) -> None:
        assert self._start is not None
        shot = (self._seconds(self._start), self._seconds(end))
        self.shots.append(shot)
        self._start = end
        if self._emit is None:
            return
        tick, image = self._middles.end_shot(end)
        if image is None:
            self.missed += 1
        else:
            self._emit(Frame(image, self._seconds(tick), shot))

    def _seconds(self, tick: int) -> float:
        return float(tick * self._clock.time_base - self._origin)
