"""Media made by the tests: every picture carries its own number, every sound a known signal."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from reelgenre.media import (
    Frame,
    Frames,
    MediaInfo,
    MediaOptions,
    MediaReport,
    Sound,
    SoundBlock,
    open_media,
)

BITS = 12
THRESHOLD = MediaOptions(detector="threshold")


@dataclass
class Decoded:
    """All that one decode gave."""

    info: MediaInfo
    report: MediaReport
    frames: list[Frame]
    blocks: list[SoundBlock]

    @property
    def sound(self) -> NDArray[np.float32]:
        """All samples in one piece; they follow each other without gaps, or this fails."""
        for block, after in zip(self.blocks, self.blocks[1:], strict=False):
            assert after.start == pytest.approx(block.start + len(block.samples) / block.rate)
        parts = [b.samples for b in self.blocks]
        return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def decode(path: Path, options: MediaOptions = THRESHOLD, rate: int = 16_000) -> Decoded:
    """Decode a file with one consumer of frames and one of sound, each in its thread."""
    frames: list[Frame] = []
    blocks: list[SoundBlock] = []
    with open_media(path, options) as media:
        pictures, sound = media.view(Frames()), media.view(Sound(rate))
        threads = [
            threading.Thread(target=_collect, args=(pictures.frames(), frames), daemon=True),
            threading.Thread(target=_collect, args=(sound.sound(), blocks), daemon=True),
        ]
        for thread in threads:
            thread.start()
        try:
            report = media.run()
        finally:
            for thread in threads:
                thread.join(60)
        return Decoded(media.info, report, frames, blocks)


def _collect(items: Iterable[Any], into: list[Any]) -> None:
    # The decode raises the same error where the test sees it.
    with contextlib.suppress(Exception):
        into.extend(items)


def numbered(number: int, width: int = 160, height: int = 96, base: int = 0) -> NDArray[np.uint8]:
    """A picture whose top half shows its number as bars and whose lower half is ``base``.

    In Gray code: from one number to the next a single bar changes, which is no cut.
    """
    gray = number ^ number >> 1
    image = np.full((height, width, 3), base, np.uint8)
    for bit in range(BITS):
        left, right = bit * width // BITS, (bit + 1) * width // BITS
        image[: height // 2, left:right] = 235 if gray >> bit & 1 else 20
    return image


def read_number(image: NDArray[np.uint8]) -> int:
    """The number that a picture from :func:`numbered` shows, at any size."""
    height, width = image.shape[:2]
    row = image[height // 8 : height * 3 // 8].mean(axis=(0, 2))
    centers = [(2 * bit + 1) * width // (2 * BITS) for bit in range(BITS)]
    gray = sum(int(row[c] > 128) << bit for bit, c in enumerate(centers))
    number = 0
    while gray:
        number, gray = number ^ gray, gray >> 1
    return number


@dataclass
class Track:
    """One stream to write: pictures or sound, with their timestamps."""

    codec: str
    data: Sequence[NDArray[Any]]
    pts: Sequence[int] | None = None
    rate: int = 25
    time_base: Fraction | None = None
    pix_fmt: str = "yuv420p"
    layout: str = "mono"
    sample_fmt: str = "fltp"
    aspect: Fraction | None = None
    options: dict[str, str] = field(default_factory=dict)
    colour: tuple[int, int, int] | None = None
    display: tuple[float, bool] | None = None
    field_order: str | None = None
    disposition: str | None = None


class Maker:
    """Writes media files into a folder, and reads them back."""

    decode = staticmethod(decode)
    numbered = staticmethod(numbered)
    read_number = staticmethod(read_number)

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, *tracks: Track, container: str | None = None,
              options: dict[str, str] | None = None) -> Path:  # fmt: skip
        """Encode and mux tracks, in the order of time."""
        path = self.folder / name
        with av.open(str(path), "w", format=container, container_options=options or {}) as out:
            streams = [self._stream(out, track) for track in tracks]
            packets = []
            for track, stream in zip(tracks, streams, strict=True):
                for frame in self._frames(track):
                    packets.extend(stream.encode(frame))
                packets.extend(stream.encode(None))
            packets.sort(key=lambda p: float((p.dts or 0) * p.time_base))
            for packet in packets:
                out.mux(packet)
        return path

    def video(self, name: str = "video.mp4", frames: int = 50, **kwargs: Any) -> Path:
        """Numbered pictures in H.264, unless told otherwise."""
        return self.write(name, self.pictures(frames, **kwargs))

    def pictures(
        self, frames: int | Iterable[NDArray[np.uint8]] = 50, size: tuple[int, int] = (160, 96),
        codec: str = "libx264", **kwargs: Any,
    ) -> Track:  # fmt: skip
        """A track of numbered pictures, or of these."""
        if isinstance(frames, int):
            frames = [numbered(i, *size) for i in range(frames)]
        if codec == "libx264":
            kwargs.setdefault("options", {"preset": "ultrafast", "crf": "18"})
        return Track(codec, list(frames), **kwargs)

    def tone(
        self, seconds: float = 2.0, rate: int = 48_000, codec: str = "aac", layout: str = "mono",
        samples: NDArray[np.float32] | None = None, **kwargs: Any,
    ) -> Track:  # fmt: skip
        """A track of sound: a 440 Hz tone at half of full scale, or these samples [C, N]."""
        if samples is None:
            wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate)) / rate)
            samples = np.repeat(
                wave[None].astype(np.float32), av.AudioLayout(layout).nb_channels, 0
            )
        return Track(codec, [samples], rate=rate, layout=layout, **kwargs)

    @staticmethod
    def _stream(out: Any, track: Track) -> Any:
        if track.data[0].dtype == np.float32:
            stream = out.add_stream(track.codec, rate=track.rate, layout=track.layout)
            stream.codec_context.options = track.options
            if track.disposition is not None:
                stream.disposition = av.stream.Disposition[track.disposition]
            return stream
        stream = out.add_stream(track.codec, rate=track.rate, options=track.options)
        stream.height, stream.width = track.data[0].shape[:2]
        stream.pix_fmt = track.pix_fmt
        if track.time_base is not None:
            stream.codec_context.time_base = track.time_base
        if track.aspect is not None:
            stream.codec_context.sample_aspect_ratio = track.aspect
        if track.colour is not None:
            primaries, transfer, matrix = track.colour
            stream.codec_context.color_primaries = primaries
            stream.codec_context.color_trc = transfer
            stream.codec_context.colorspace = matrix
            stream.codec_context.color_range = 1
        if track.display is not None:
            stream.set_display_rotation(track.display[0], hflip=track.display[1])
        if track.disposition is not None:
            stream.disposition = av.stream.Disposition[track.disposition]
        return stream

    @staticmethod
    def _frames(track: Track) -> Iterable[Any]:
        if track.data[0].dtype == np.float32:
            samples = track.data[0]
            step = 1024
            for at in range(0, samples.shape[1], step):
                part = np.ascontiguousarray(samples[:, at : at + step])
                frame = av.AudioFrame.from_ndarray(part, format="fltp", layout=track.layout)
                frame.sample_rate = track.rate
                frame.pts = at + (track.pts[0] if track.pts else 0)
                frame.time_base = Fraction(1, track.rate)
                yield frame
            return
        base = track.time_base or Fraction(1, track.rate)
        for i, image in enumerate(track.data):
            kind = {1: "gray", 3: "rgb24", 4: "rgba"}[1 if image.ndim == 2 else image.shape[2]]
            if image.dtype == np.uint16:
                kind = "rgb48le"
            picture = av.VideoFrame.from_ndarray(image, format=kind)
            if track.pix_fmt != picture.format.name:
                matrix = {9: 9}.get(track.colour[2]) if track.colour else None
                picture = picture.reformat(format=track.pix_fmt, dst_colorspace=matrix)
            picture.pts = track.pts[i] if track.pts is not None else i
            picture.time_base = base
            yield picture


@pytest.fixture
def make(tmp_path: Path) -> Maker:
    """Writes media files into the test's own folder."""
    return Maker(tmp_path)
