"""What goes into a decode and what comes out of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class MediaOptions:
    """How a file is decoded; the defaults are those of the embedded profile.

    Attributes:
        detector: ``threshold`` cuts where FFmpeg's scene score exceeds ``threshold``, as the
            paper does; ``adaptive`` also finds dissolves and fades and is not fooled by flashes.
        threshold: FFmpeg's scene score, 0 to 1, above which a frame starts a new shot; only the
            threshold detector reads it.
        piece_s: a shot that is clearly longer (by half) is taken in pieces of so many seconds, each
            with its own middle frame, so that titles which fade in and out over a long take are
            seen; None keeps shots whole, as the paper does.
        short_side: most pixels on the shorter side of an emitted frame; frames are never
            enlarged.
        held_bytes: most memory for frames that may yet turn out to be the middle of their shot.
        frame_queue: frames that may wait for one consumer before decoding waits for it.
        sound_queue: sound blocks, each of about one second, likewise.
        threads: decoder threads; 0 for as many as there are cores.

    Raises:
        ValueError: a value is out of range.
    """

    detector: Literal["threshold", "adaptive"] = "adaptive"
    threshold: float = 0.27
    piece_s: float | None = None
    short_side: int = 480
    held_bytes: int = 96 << 20
    frame_queue: int = 8
    sound_queue: int = 32
    threads: int = 0

    def __post_init__(self) -> None:
        if self.detector not in ("threshold", "adaptive"):
            raise ValueError(f"detector must be threshold or adaptive, not {self.detector!r}")
        if not 0.0 < self.threshold < 1.0:
            raise ValueError(f"threshold must lie between 0 and 1, not {self.threshold}")
        if self.piece_s is not None and not self.piece_s >= 0.1:
            raise ValueError(f"piece_s must be at least 0.1, not {self.piece_s}")
        if min(self.short_side, self.frame_queue, self.sound_queue) < 1:
            raise ValueError("short_side, frame_queue and sound_queue must be at least 1")
        if self.held_bytes < 0 or self.threads < 0:
            raise ValueError("held_bytes and threads must not be negative")


@dataclass(frozen=True)
class Frames:
    """The need of a consumer that takes the frame in the middle of every shot."""


@dataclass(frozen=True)
class Sound:
    """The need of a consumer that takes mono sound.

    Attributes:
        rate: samples per second, 1000 to 192000.

    Raises:
        ValueError: the rate is out of range.
    """

    rate: int

    def __post_init__(self) -> None:
        if not 1000 <= self.rate <= 192_000:
            raise ValueError(f"rate must lie between 1000 and 192000 Hz, not {self.rate}")


@dataclass(frozen=True, eq=False)
class Frame:
    """The frame whose presentation time is nearest to the middle of its shot.

    Attributes:
        image: RGB uint8 [H, W, 3]: upright, square pixels, progressive, standard range.
        time: presentation time in seconds.
        shot: start and end of the shot it stands for, in seconds.
    """

    image: NDArray[np.uint8]
    time: float
    shot: tuple[float, float]


@dataclass(frozen=True, eq=False)
class SoundBlock:
    """A stretch of mono sound; sample n sounds at ``start + n / rate``.

    Attributes:
        samples: float32 [N] from -1 to 1, N at least 1.
        start: presentation time of the first sample in seconds.
        rate: samples per second.
    """

    samples: NDArray[np.float32]
    start: float
    rate: int


@dataclass(frozen=True)
class MediaInfo:
    """What the container claims, before anything is decoded.

    Attributes:
        path: the file, as it was given.
        container: FFmpeg's name of the container format.
        duration_s: claimed length in seconds; None where nothing is claimed.
        has_picture: there is moving picture or a still (cover art of a sound file does not count).
        has_sound: there is a sound track that can be decoded.
        width, height: coded size of the picture in pixels, before rotation and pixel shape.
        fps: claimed mean frames per second.
        video_codec, audio_codec: FFmpeg's names of the decoders.
        sound_rate, sound_channels: of the chosen sound track.
    """

    path: str
    container: str
    duration_s: float | None
    has_picture: bool
    has_sound: bool
    width: int | None = None
    height: int | None = None
    fps: float | None = None
    video_codec: str | None = None
    audio_codec: str | None = None
    sound_rate: int | None = None
    sound_channels: int | None = None


@dataclass(frozen=True)
class MediaReport:
    """What one decode found.

    Attributes:
        duration_s: seconds from the first to the end of the last picture or sound.
        shots: start and end of every shot in seconds; empty where pictures were not decoded.
        corrupt: packets that could not be read or decoded and were skipped.
        warnings: sentences for people, without repetition.
    """

    duration_s: float
    shots: tuple[tuple[float, float], ...]
    corrupt: int
    warnings: tuple[str, ...]
