"""Where one shot ends and the next begins."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Protocol

import numpy as np
from av.filter import Graph
from av.filter.context import FilterContext
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

from reelgenre.media.adaptive import AdaptiveDetector, Thumbnail
from reelgenre.media.types import MediaOptions


class ShotDetector(Protocol):
    """Decides on cuts from one score per frame, as frames come."""

    @property
    def settled(self) -> int:
        """No cut will be reported any more at a tick before this one."""
        ...

    def push(self, tick: int, score: float, thumbnail: Callable[[], Thumbnail]) -> list[int]:
        """Take one frame; return the ticks of the frames found to start new shots, in order."""
        ...

    def finish(self) -> list[int]:
        """The stream is over; return what was still undecided."""
        ...


def make_detector(options: MediaOptions, time_base: Fraction) -> ShotDetector:
    """The detector that the options ask for."""
    if options.detector == "adaptive":
        return AdaptiveDetector(time_base)
    return ThresholdDetector(options.threshold)


class ThresholdDetector:
    """A frame starts a new shot when FFmpeg's scene score exceeds a threshold.

    The same cuts as FFmpeg's ``select='gt(scene,threshold)'``, which the paper uses.

    Args:
        threshold: scene score from 0 to 1.
    """

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self.settled = 0

    def push(self, tick: int, score: float, thumbnail: Callable[[], Thumbnail]) -> list[int]:
        """Take one frame's score."""
        self.settled = tick
        return [tick] if score > self._threshold else []

    def finish(self) -> list[int]:
        """Nothing is ever undecided."""
        return []


class Thumbnailer:
    """Makes the small luma pictures that the adaptive detector compares."""

    WIDTH, HEIGHT = 32, 18

    def __init__(self) -> None:
        self._scaler = VideoReformatter()

    def thumbnail(self, frame: VideoFrame) -> Thumbnail:
        """Luma float32 [18, 32], 0 to 255."""
        small = self._scaler.reformat(
            frame,
            width=self.WIDTH,
            height=self.HEIGHT,
            format="gray",
            dst_color_range=ColorRange.JPEG,
            interpolation=Interpolation.AREA,
            threads=1,
        )
        return small.to_ndarray().astype(np.float32)


class SceneScorer:
    """FFmpeg's own scene score, from its ``select`` filter.

    When size or pixel format change in the middle of a stream the filter starts afresh, as
    FFmpeg's command line does: the first frame of the new kind scores 0.

    Args:
        time_base: seconds per tick of the stream.
    """

    def __init__(self, time_base: Fraction) -> None:
        self._time_base = time_base
        self._kind: tuple[int, int, str] | None = None
        self._entry: FilterContext
        self._exit: FilterContext
        self._graph: Graph

    def score(self, frame: VideoFrame) -> float:
        """How much this frame differs from the last, from 0 to 1."""
        kind = (frame.width, frame.height, frame.format.name)
        if kind != self._kind:
            self._build(frame)
            self._kind = kind
        self._entry.push(frame)
        return float(self._exit.pull().metadata["lavfi.scene_score"])

    def _build(self, frame: VideoFrame) -> None:
        graph = Graph()
        graph.threads = 1
        entry = graph.add_buffer(
            width=frame.width,
            height=frame.height,
            format=frame.format,
            time_base=self._time_base,
        )
        # Passes every frame; the scene score is noted on each as metadata.
        select = graph.add("select", "gte(scene,0)")
        leave = graph.add("buffersink")
        graph.link_nodes(entry, select, leave).configure()
        self._graph, self._entry, self._exit = graph, entry, leave
