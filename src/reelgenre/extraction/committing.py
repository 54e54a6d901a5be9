"""Storing what a worker finds, several videos at a time.

Every commit is one more file of the manifest, and after 64 of them somebody merges them all, which
takes longer the more the store has. One commit per video would make a large store several times
dearer to add to than a small one; a few videos at a time it is next to nothing. What a kill loses
is at most the features of these few, which are then extracted again.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable

from reelgenre.extraction.one_video import Entry
from reelgenre.store import FeatureStore

VIDEOS = 32
"""As many are committed at a time at most; so many more may wait."""
WAIT_S = 2.0
"""A commit waits so long for more videos at most."""
QUIET_S = 0.05
"""A worker that has had nothing to do for so long commits at once."""


class Committer:
    """A thread that puts entries into a store.

    Args:
        store: which.
        busy: whether more entries are to be expected.
        stored: told the entries of a commit after it.
        broken: told once what went wrong where nothing can be stored any more.
    """

    def __init__(
        self,
        store: FeatureStore,
        busy: Callable[[], bool],
        stored: Callable[[list[Entry]], None],
        broken: Callable[[Exception], None],
    ) -> None:
        self._store = store
        self._busy = busy
        self._stored = stored
        self._broken = broken
        self._room = threading.Semaphore(VIDEOS)
        self._queue: queue.SimpleQueue[Entry | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="commit", daemon=True)
        self._thread.start()

    def wait_for_room(self) -> None:
        """To be called before every :meth:`put`; returns when not too many entries wait."""
        self._room.acquire()

    def put(self, entry: Entry) -> None:
        """Hand over an entry, which may be stored before this returns."""
        self._queue.put(entry)

    def finish(self) -> None:
        """Commit what has been put so far and end the thread; returns at once."""
        self._queue.put(None)

    @property
    def finished(self) -> bool:
        """Whether the thread has ended."""
        return not self._thread.is_alive()

    def _run(self) -> None:
        more = True
        while more:
            batch, more = self._gather()
            if not batch:
                continue
            try:
                self._store.add_many(
                    (e.video, e.features, e.failures) for e in batch if e.features or e.failures
                )
            except Exception as error:  # noqa: BLE001 - without this thread all would wait for ever
                self._broken(error)
                return
            self._stored(batch)

    def _gather(self) -> tuple[list[Entry], bool]:
        """What to commit next, and whether anything comes after it."""
        batch: list[Entry] = []
        due = math.inf
        while len(batch) < VIDEOS and time.monotonic() < due:
            try:
                entry = self._queue.get(timeout=QUIET_S if batch else None)
            except queue.Empty:
                if not self._busy():
                    break
                continue
            if entry is None:
                return batch, False
            self._room.release()
            if not batch:
                due = time.monotonic() + WAIT_S
            batch.append(entry)
        return batch, True
