"""Worker processes as their supervisor sees them."""

from __future__ import annotations

import contextlib
import math
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing import get_context, resource_tracker

from reelgenre.extraction.loading import ExtractorFactory
from reelgenre.extraction.messages import Task
from reelgenre.extraction.types import ExtractionOptions
from reelgenre.extraction.worker import work
from reelgenre.extractors.cores import MOST_AT_ONCE

VIDEOS_PER_DEVICE = 8
# Not fork: a forked copy of a process that has threads or a GPU is broken.
_spawn = get_context("spawn")
JOIN_S = 5.0


def crew_size(
    options: ExtractionOptions, cores: int, devices: int, threads: int
) -> tuple[int, int]:
    """How many workers there are to be, and how many videos each has in flight.

    Args:
        options: what the caller wants.
        cores: of the processor.
        devices, threads: see :class:`reelgenre.extraction.Loaded`.
    """
    workers = options.workers or devices or math.ceil(cores / MOST_AT_ONCE)
    share = max(1, cores // (workers * threads))
    return workers, options.videos_at_once or (min(share, VIDEOS_PER_DEVICE) if devices else share)


@dataclass
class Running:
    """A task that a worker is at.

    Attributes:
        task: which.
        since: when it was given, on the monotonic clock.
        length_s: what the video claims; None while that is not known.
    """

    task: Task
    since: float
    length_s: float | None = None

    @property
    def seconds(self) -> float:
        """For how long."""
        return time.monotonic() - self.since


@dataclass
class Worker:
    """A worker process.

    Args:
        factory: makes its extractors.
        address: of the store.
        slot: its place among the workers.
        device: number of its CUDA device, for the factory.

    Attributes:
        running: tasks that it is at, by number.
        finished: tasks whose results it has not stored yet.
        ready: its models are loaded.
        alone: it was given a task for itself.
        leaving: it was told that no more will come.
        overdue: time limits in seconds of the tasks that it is killed for, by number.
        cause: why it said that it ends itself.
    """

    factory: ExtractorFactory
    address: str
    slot: int
    device: int | None
    running: dict[int, Running] = field(default_factory=dict)
    finished: dict[int, Task] = field(default_factory=dict)
    ready: bool = False
    alone: bool = False
    leaving: bool = False
    overdue: dict[int, float] = field(default_factory=dict)
    cause: str | None = None

    def __post_init__(self) -> None:
        self.connection, theirs = _spawn.Pipe()
        self._process = _spawn.Process(
            target=work,
            args=(theirs, self.factory, self.address, self.device),
            name=f"reelgenre-extract-{self.slot}",
            daemon=True,
        )
        with _signals_held():
            self._process.start()
        # Ours alone must be left, or the pipe would never end.
        theirs.close()

    @property
    def pid(self) -> int | None:
        """Of the process."""
        return self._process.pid

    def give(self, task: Task, *, alone: bool) -> None:
        """Let it extract a video; if it has just died, that is found out when it is listened to."""
        self.running[task.number] = Running(task, time.monotonic())
        self.alone = alone
        self._send(task)

    def dismiss(self) -> None:
        """Let it finish what it is at, store it, and end."""
        self.leaving = True
        self._send(None)

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()

    def bury(self) -> str:
        """Wait for its end, which must be near, and say how it ended."""
        self._process.join(JOIN_S)
        if self._process.exitcode is None:
            self._process.kill()
            self._process.join()
        self.connection.close()
        code = self._process.exitcode or 0
        self._process.close()
        if self.cause is not None:
            return f"ended itself ({self.cause})"
        if code < 0:
            return f"was killed by {signal.Signals(-code).name}"
        return f"ended with exit code {code}"

    def _send(self, task: Task | None) -> None:
        with contextlib.suppress(OSError):
            self.connection.send(task)


@contextlib.contextmanager
def _signals_held() -> Iterator[None]:
    """Keep SIGINT and SIGTERM waiting in this thread and in processes that it starts meanwhile.

    A Ctrl-C meets all processes of a terminal. A worker that is still importing would end with a
    traceback; so it holds them until it ignores them.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # Where `start` did this, it would let the signals through.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
