"""What the supervisor and its workers say to each other, each a small picklable fact."""

from __future__ import annotations

from dataclasses import dataclass

from reelgenre.errors import ReelgenreError
from reelgenre.extraction.types import VideoResult
from reelgenre.extractors import ExtractorSpec
from reelgenre.store import FileStamp, Video


@dataclass(frozen=True)
class Task:
    """To a worker: extract this; in place of one, None says that no more will come.

    Attributes:
        number: of the task, unique in the run.
        path: of the file, as given.
        video: what of it is new to the store.
        stamp: of the file when its content was known.
        missing: names of the extractors whose features are wanted.
    """

    number: int
    path: str
    video: Video
    stamp: FileStamp
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Loading:
    """From a worker: how far the models are loaded; see :class:`reelgenre.hooks.Hook`."""

    step: str
    completed: float
    total: float | None


@dataclass(frozen=True)
class Ready:
    """From a worker: the models are loaded.

    Attributes:
        specs: of its extractors.
        devices, threads: see :class:`reelgenre.extraction.Loaded`.
    """

    specs: tuple[ExtractorSpec, ...]
    devices: int
    threads: int


@dataclass(frozen=True)
class Length:
    """From a worker: the video of a task is, or claims to be, at least so many seconds long."""

    number: int
    seconds: float


@dataclass(frozen=True)
class Finished:
    """From a worker: the task is done but for storing what was found; there is room for another."""

    number: int


@dataclass(frozen=True)
class Stored:
    """From a worker: these tasks' results are safe on the disk."""

    results: tuple[tuple[int, VideoResult], ...]


@dataclass(frozen=True)
class Broken:
    """From a worker: an error that would meet every other video, too; it ends the run."""

    error: ReelgenreError


@dataclass(frozen=True)
class Dying:
    """From a worker: it ends itself, since no video can be extracted in it any more."""

    cause: str


Message = Loading | Ready | Length | Finished | Stored | Broken | Dying
