"""From a decoded frame to an upright RGB picture with square pixels in standard range."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

import numpy as np
from av.filter import Graph
from av.sidedata.sidedata import SideData, Type
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter
from numpy.typing import NDArray

from reelgenre.media.tone import TRANSFERS, standard_range

# Colour matrices by their H.273 code, as decoders note them, to the codes of the scaler.
_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
_BT601, _BT709 = 5, 1
# Without a tag, pictures at least this high are taken for BT.709, as players do.
_HD_LINES = 720
# Longer sides than this many times the shorter limit are shrunk further.
_LONGEST = 4
# Pixel shapes beyond this are faults in the header.
_MOST_STRETCH = 4
_FULL_RANGE = 2


@dataclass(frozen=True)
class Still:
    """A frame at its emitted size, in a compact pixel format.

    Attributes:
        frame: the picture, not yet upright.
        matrix: what the scaler must be told of its colours.
        full_range: luma from 0 to 255 instead of 16 to 235.
        transfer: H.273 code of its transfer characteristics.
        display: a, b, c, d of the display matrix; None where there is none.
    """

    frame: VideoFrame
    matrix: int | None
    full_range: bool
    transfer: int
    display: tuple[int, int, int, int] | None

    @property
    def bytes_held(self) -> int:
        """Memory of the pixels."""
        return held_bytes(self.frame)


class PictureMaker:
    """Turns decoded frames into pictures, in two steps.

    ``shrink`` brings a frame to the size it will have, which saves memory; ``finish`` makes RGB
    of that. Both are always taken, so a picture has the same bytes whenever it was shrunk.

    Args:
        short_side: most pixels on the shorter side.
        pixel_aspect: width of a pixel by its height; None where unknown.
    """

    def __init__(self, short_side: int, pixel_aspect: Fraction | None) -> None:
        self._short_side = short_side
        self._pixel_aspect = pixel_aspect
        self._scaler = VideoReformatter()
        self._painter = VideoReformatter()
        self._rotation: int | None = None
        self._display: tuple[int, int, int, int] | None = None

    def shrink(self, frame: VideoFrame) -> Still:
        """The frame at its emitted size (before rotation), progressive."""
        width, height = emitted_size(
            frame.width, frame.height, self._pixel_aspect, self._short_side
        )
        matrix, full_range = _matrix(frame), frame.color_range == _FULL_RANGE
        transfer, display = frame.color_trc, self._orientation(frame)
        if frame.interlaced_frame and frame.height > 1:
            frame = _deinterlaced(frame)
        levels = ColorRange.JPEG if full_range else ColorRange.MPEG
        small = self._scaler.reformat(
            frame,
            width=width,
            height=height,
            format=_compact_format(frame, transfer),
            src_colorspace=matrix,
            dst_colorspace=matrix,
            src_color_range=levels,
            dst_color_range=levels,
            interpolation=Interpolation.AREA,
            threads=1,
        )
        return Still(small, matrix, full_range, transfer, display)

    def _orientation(self, frame: VideoFrame) -> tuple[int, int, int, int] | None:
        # A frame whose side data was looked at stays in memory until Python collects cycles, so
        # that is done only when the rotation, which costs nothing, is another.
        if frame.rotation != self._rotation:
            self._rotation, self._display = frame.rotation, _display(frame)
        return self._display

    def finish(self, still: Still) -> NDArray[np.uint8]:
        """RGB uint8 [H, W, 3], upright, in standard range."""
        frame = still.frame
        bright = still.transfer in TRANSFERS
        if frame.format.name == "rgba":
            pixels = frame.to_ndarray().astype(np.uint16)
            # Over black, as players show it.
            image = (pixels[..., :3] * pixels[..., 3:] // 255).astype(np.uint8)
        else:
            painted: NDArray[Any] = self._painter.reformat(
                frame,
                format="rgb48le" if bright else "rgb24",
                src_colorspace=still.matrix,
                src_color_range=ColorRange.JPEG if still.full_range else ColorRange.MPEG,
                dst_color_range=ColorRange.JPEG,
                interpolation=Interpolation.BICUBIC,
                threads=1,
            ).to_ndarray()
            image = standard_range(painted, still.transfer) if bright else painted
        return np.ascontiguousarray(upright(image, still.display))


def emitted_size(
    width: int, height: int, pixel_aspect: Fraction | None, short_side: int
) -> tuple[int, int]:
    """Width and height with square pixels, within the limits, never enlarged.

    Pixels wider than high widen the picture, others heighten it, as players do.
    """
    aspect = pixel_aspect or Fraction(1)
    if not Fraction(1, _MOST_STRETCH) <= aspect <= _MOST_STRETCH:
        aspect = Fraction(1)
    wide = width * max(aspect, Fraction(1))
    high = height / min(aspect, Fraction(1))
    scale = min(Fraction(1), short_side / min(wide, high), _LONGEST * short_side / max(wide, high))
    return max(1, round(wide * scale)), max(1, round(high * scale))


def upright(
    image: NDArray[np.uint8], display: tuple[int, int, int, int] | None
) -> NDArray[np.uint8]:
    """Turn and mirror a picture as its display matrix says, by the nearest quarter turn.

    Args:
        image: [H, W, 3].
        display: a, b, c, d: a pixel at (x, y) is shown at (a x + c y, b x + d y).
    """
    if display is None:
        return image
    a, b, c, d = display
    if abs(b) > abs(a):
        image, a, d = image.swapaxes(0, 1), c, b
    if a < 0:
        image = image[:, ::-1]
    if d < 0:
        image = image[::-1]
    return image


def held_bytes(frame: VideoFrame) -> int:
    """Memory of a frame's pixels."""
    return sum(plane.buffer_size for plane in frame.planes)


def _matrix(frame: VideoFrame) -> int | None:
    if frame.format.is_rgb:
        return None
    return _MATRICES.get(frame.colorspace, _BT709 if frame.height >= _HD_LINES else _BT601)


def _display(frame: VideoFrame) -> tuple[int, int, int, int] | None:
    # PyAV's types call this a dictionary; it iterates over its values.
    for data in cast(Iterable[SideData], frame.side_data):
        if data.type is Type.DISPLAYMATRIX:
            m = np.frombuffer(bytes(data), np.int32)
            return int(m[0]), int(m[1]), int(m[3]), int(m[4])
    return None


def _compact_format(frame: VideoFrame, transfer: int) -> str:
    """The pixel format to keep a picture in: small, and with nothing lost that is shown."""
    kind = frame.format
    if transfer in TRANSFERS:
        return "rgb48le" if kind.is_rgb else "yuv420p10le"
    if kind.has_palette or any(c.is_alpha for c in kind.components):
        return "rgba"
    if kind.is_rgb:
        return "rgb24"
    return "gray" if len(kind.components) == 1 else "yuv420p"


def _deinterlaced(frame: VideoFrame) -> VideoFrame:
    """One picture of one moment: the lines of the other field are drawn from this one."""
    graph = Graph()
    graph.threads = 1
    entry = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 1000)
    )
    field = graph.add("field", "top")
    leave = graph.add("buffersink")
    graph.link_nodes(entry, field, leave).configure()
    entry.push(frame)
    return cast(VideoFrame, leave.pull())
