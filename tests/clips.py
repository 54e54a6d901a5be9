"""Small video files of given pictures and sound."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

HEIGHT, WIDTH = 180, 320
RATE = 16_000
FPS = 12


def plain(colour: int = 0) -> Image:
    """A picture of one grey."""
    return np.full((HEIGHT, WIDTH, 3), colour, np.uint8)


def title(text: str, ground: int = 0) -> Image:
    """A title card, bright on a dark ground or dark on a bright one."""
    image = plain(ground)
    ink = 245 if ground < 128 else 10
    (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, 0.9, 1)
    at = ((WIDTH - width) // 2, HEIGHT // 2)
    cv2.putText(image, text, at, cv2.FONT_HERSHEY_DUPLEX, 0.9, (ink,) * 3, 1, cv2.LINE_AA)
    return image


def sound_of(path: Path, start: float, end: float) -> NDArray[np.float32]:
    """Mono samples of a file's sound between two times."""
    resampler = av.AudioResampler("flt", "mono", RATE)
    with av.open(str(path)) as container:
        parts = [
            part.to_ndarray()[0]
            for frame in container.decode(audio=0)
            for part in resampler.resample(frame)
        ]
    return np.concatenate(parts)[round(start * RATE) : round(end * RATE)].astype(np.float32)


def write_clip(
    path: Path,
    shots: Sequence[tuple[Image, float]] = (),
    sound: NDArray[np.float32] | None = None,
    fps: int = FPS,
) -> Path:
    """Pictures, each for so many seconds, and mono sound at 16 kHz; either may be left out."""
    with av.open(str(path), "w") as out:
        if shots:
            video = out.add_stream("libx264", rate=fps, options={"preset": "ultrafast"})
            video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        if sound is not None:
            audio = out.add_stream("aac", rate=RATE, layout="mono")
        for image, seconds in shots:
            for _ in range(round(seconds * fps)):
                out.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        if shots:
            out.mux(video.encode(None))
        if sound is not None:
            for start in range(0, len(sound), 1024):
                part = np.ascontiguousarray(sound[None, start : start + 1024], np.float32)
                frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
                frame.rate, frame.pts = RATE, start
                out.mux(audio.encode(frame))
            out.mux(audio.encode(None))
    return path
