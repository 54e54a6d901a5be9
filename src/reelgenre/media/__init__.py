"""A file on disk, decoded once: timed mid-shot frames and mono sound for any number of consumers.

with open_media("trailer.mp4") as media:
    frames, speech = media.view(Frames()), media.view(Sound(16_000))
    ...  # start a thread per view that iterates frames.frames() or speech.sound()
    report = media.run()
"""

from reelgenre.media.media import Media, open_media
from reelgenre.media.types import (
    Frame,
    Frames,
    MediaInfo,
    MediaOptions,
    MediaReport,
    Sound,
    SoundBlock,
)
from reelgenre.media.views import MediaView

__all__ = [
    "Frame",
    "Frames",
    "Media",
    "MediaInfo",
    "MediaOptions",
    "MediaReport",
    "MediaView",
    "Sound",
    "SoundBlock",
    "open_media",
]
