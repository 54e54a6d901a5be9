"""A process that extracts: models loaded once, several videos in flight, each in a thread.

It takes tasks from its supervisor and stores what it finds itself. An error that would meet every
video ends the run; one after which the process is of no use any more ends the process, so that the
supervisor tries its videos again elsewhere; all others are recorded as the video's.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from multiprocessing.connection import Connection
from typing import Any

from reelgenre.errors import ReelgenreError
from reelgenre.extraction.committing import Committer
from reelgenre.extraction.loading import ExtractorFactory, Loaded
from reelgenre.extraction.messages import (
    Broken,
    Dying,
    Finished,
    Length,
    Loading,
    Message,
    Ready,
    Stored,
    Task,
)
from reelgenre.extraction.one_video import Entry, ProcessError, cause_of, extract_video
from reelgenre.extraction.types import ExtractionError
from reelgenre.store import FeatureStore

LEFT_EARLY = 1
"""Exit code of a worker that ends itself; it has said why, or nobody is there to hear."""
POLL_S = 0.05
_PR_SET_PDEATHSIG = 1


def work(
    connection: Connection, factory: ExtractorFactory, address: str, device: int | None
) -> None:
    """What a worker process runs.

    Args:
        connection: to the supervisor; when it closes, the process ends at once.
        factory: makes the extractors.
        address: of the store.
        device: for the factory.
    """
    _end_with_supervisor()
    # Of Ctrl-C and of the end of a job's time the supervisor hears as well, and then tells us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    supervisor = _Supervisor(connection)
    try:
        loaded = factory(device, supervisor.hook)
        store = FeatureStore.open(address)
    except ReelgenreError as error:
        supervisor.leave(Broken(error))
    except Exception as error:  # noqa: BLE001 - whatever it is, the supervisor must hear of it
        cause = f"the extractors cannot be loaded: {cause_of(error)}"
        supervisor.leave(Broken(ExtractionError(cause, "See whether `reelgenre doctor` knows why")))
    else:
        specs = tuple(extractor.spec for extractor in loaded.extractors)
        supervisor.tell(Ready(specs, loaded.devices, loaded.threads))
        _Worker(supervisor, loaded, store).run()


class _Supervisor:
    """The other end of the pipe; may be told things by any thread."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def tell(self, message: Message) -> None:
        with self._lock:
            try:
                self._connection.send(message)
            except OSError:
                os._exit(LEFT_EARLY)

    def leave(self, message: Message) -> None:
        """Tell, and end the process whatever its threads are doing."""
        self.tell(message)
        os._exit(LEFT_EARLY)

    def task(self) -> Task | None:
        """The next task; None where no more will come."""
        try:
            task: Task | None = self._connection.recv()
        except (EOFError, OSError):
            os._exit(LEFT_EARLY)
        return task

    def stay(self) -> None:
        """Wait a little after the last task, while the supervisor is there."""
        if self._connection.poll(POLL_S):
            os._exit(LEFT_EARLY)  # It has nothing to say any more: the pipe is closed.

    def hook(self, step: str, completed: float, total: float | None, artifact: Any = None) -> None:
        """See :class:`reelgenre.hooks.Hook`."""
        self.tell(Loading(step, completed, total))


class _Worker:
    def __init__(self, supervisor: _Supervisor, loaded: Loaded, store: FeatureStore) -> None:
        self._supervisor = supervisor
        self._loaded = loaded
        self._precision = store.precision
        self._running: set[int] = set()
        self._committer = Committer(
            store,
            busy=lambda: bool(self._running),
            stored=self._tell_stored,
            broken=self._leave,
        )

    def run(self) -> None:
        """Extract until there is no more, and store all of it."""
        while (task := self._supervisor.task()) is not None:
            self._running.add(task.number)
            threading.Thread(target=self._extract, args=(task,), daemon=True).start()
        while self._running:
            self._supervisor.stay()
        self._committer.finish()
        while not self._committer.finished:
            self._supervisor.stay()

    def _extract(self, task: Task) -> None:
        told = 0.0

        def hook(step: str, completed: float, total: float | None, artifact: Any = None) -> None:
            nonlocal told
            length = max(completed, total or 0.0)
            if step == "decode" and length > 2 * told:
                told = length
                self._supervisor.tell(Length(task.number, length))

        try:
            entry = extract_video(task, self._loaded, self._precision, hook)
        except Exception as error:  # noqa: BLE001 - even a fault of ours; a thread would hide it
            self._leave(error)
        else:
            self._committer.wait_for_room()
            # Before it is put, or the supervisor might hear first that it is stored.
            self._supervisor.tell(Finished(task.number))
            self._committer.put(entry)
            self._running.discard(task.number)

    def _leave(self, error: Exception) -> None:
        """End the process, and with it the run where the error would meet every other video."""
        if isinstance(error, ReelgenreError):
            self._supervisor.leave(Broken(error))
        cause = str(error) if isinstance(error, ProcessError) else cause_of(error)
        self._supervisor.leave(Dying(cause))

    def _tell_stored(self, entries: list[Entry]) -> None:
        self._supervisor.tell(Stored(tuple((entry.number, entry.result) for entry in entries)))


def _end_with_supervisor() -> None:
    """Let the system kill this process with its parent, where it can.

    The closed pipe tells as well, but not while a library holds Python's lock for good.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
