"""Hands videos to worker processes, and goes on when one of them dies.

A video that was in flight in a worker that died, or that took too long, is *suspected*: it is tried
again in a worker that has nothing else to do. If that dies, too, the verdict is that the video did
it. But a machine on which every process dies would find all videos guilty. So a verdict waits for a
witness, another video that comes through after it; and after :data:`MOST_VERDICTS` without any, the
run ends with an error and nothing is recorded.
"""

from __future__ import annotations

import itertools
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from typing import Any

from reelgenre.extraction.crew import Worker, crew_size
from reelgenre.extraction.identifying import Identified, identify_ahead
from reelgenre.extraction.loading import ExtractorFactory
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
from reelgenre.extraction.planning import Planner
from reelgenre.extraction.types import (
    ExtractionError,
    ExtractionOptions,
    ExtractionReport,
    ModalityResult,
    Tally,
    VideoResult,
)
from reelgenre.extractors import ExtractorSpec
from reelgenre.extractors.cores import available_cores
from reelgenre.hooks import Hook
from reelgenre.store import FeatureStore, Video

_log = logging.getLogger("reelgenre.extraction")

TIMEOUT_S = 600.0
TIMEOUT_PER_S = 20.0
MOST_VERDICTS = 20
MOST_IDLE_DEATHS = 3
"""So many workers may die without a video in flight, and none store anything meanwhile."""
FAREWELL_S = 10.0
"""Workers that have stored everything are given so many seconds to end."""
AT_A_TIME = 256
"""So many identified files are taken in before the workers are listened to again."""
LISTEN_S = 0.2
"""Time limits and a wish to stop are noticed within so many seconds."""


class Supervisor:
    """One run; see :func:`reelgenre.extraction.extract_videos`."""

    def __init__(
        self,
        store: FeatureStore,
        factory: ExtractorFactory,
        options: ExtractionOptions,
        hook: Hook,
        stop: threading.Event,
    ) -> None:
        self._store = store
        self._factory = factory
        self._options = options
        self._hook = hook
        self._stop = stop
        self._tally = Tally(0)
        self._list: Connection | None = None
        self._planner: Planner | None = None
        self._failed_before: set[str] = set()
        self._specs: tuple[ExtractorSpec, ...] = ()
        self._devices = 0
        self._most_workers = self._videos_at_once = 1
        self._workers: dict[int, Worker] = {}
        self._waiting: deque[Task] = deque()
        self._suspects: deque[Task] = deque()
        self._verdicts: list[tuple[Task, str]] = []
        self._idle_deaths = 0
        self._numbers = itertools.count()
        self._deadline: float | None = None

    def run(self, paths: Sequence[str]) -> ExtractionReport:
        """Extract; may be called once."""
        started = time.monotonic()
        self._tally = Tally(len(paths))
        self._list = identify_ahead(paths, self._store)
        try:
            self._hire()
            while self._workers or self._deadline is None:
                if self._deadline is None:
                    self._manage()
                elif time.monotonic() > self._deadline:
                    break
                self._listen()
                self._enforce_limits()
        finally:
            self._close_list()
            for worker in self._workers.values():
                worker.kill()
            for worker in self._workers.values():
                worker.bury()
        return self._tally.report(time.monotonic() - started)

    # What is to be done next

    def _manage(self) -> None:
        if self._stop.is_set():
            self._dismiss(self._options.grace_s)
        elif self._planner is not None and not self._work_left():
            self._record_verdicts()
            self._dismiss(FAREWELL_S)
        else:
            self._hire()
            for worker in self._workers.values():
                self._occupy(worker)

    def _work_left(self) -> bool:
        return bool(
            self._list
            or self._waiting
            or self._suspects
            or any(worker.running or worker.finished for worker in self._workers.values())
        )

    def _dismiss(self, grace_s: float) -> None:
        """Let the workers end; those that are still loading are not waited for."""
        self._close_list()
        self._deadline = time.monotonic() + grace_s
        for worker in self._workers.values():
            if worker.ready:
                worker.dismiss()
            else:
                worker.leaving = True
                worker.kill()

    def _hire(self) -> None:
        """Start as many workers as there is work for; the first one tells what they can do."""
        tasks = len(self._waiting) + len(self._suspects)
        tasks += sum(len(worker.running) for worker in self._workers.values())
        wanted = max(math.ceil(tasks / self._videos_at_once), self._planner is None)
        for slot in range(min(wanted, self._most_workers)):
            if slot not in self._workers:
                device = slot % self._devices if self._devices > 1 else None
                address = self._store.storage.address
                self._workers[slot] = Worker(self._factory, address, slot, device)

    def _occupy(self, worker: Worker) -> None:
        """Give a worker what it has room for; suspects go to one that has nothing else."""
        if not worker.ready or (worker.alone and worker.running):
            return
        if self._suspects and not worker.running:
            worker.give(self._suspects.popleft(), alone=True)
            return
        while self._waiting and len(worker.running) < self._videos_at_once:
            worker.give(self._waiting.popleft(), alone=False)

    # What is heard

    def _listen(self) -> None:
        """Wait a little while for whoever has something to say, and take it in."""
        speakers: dict[Any, Worker | None] = {w.connection: w for w in self._workers.values()}
        if self._list is not None and self._wants_more():
            speakers[self._list] = None
        for speaker in wait(list(speakers), LISTEN_S):
            worker = speakers[speaker]
            if worker is None:
                self._read_list()
                continue
            try:
                message = worker.connection.recv()
            except (EOFError, OSError):
                self._lost(worker)
            else:
                self._hear(worker, message)

    def _hear(self, worker: Worker, message: Message) -> None:
        match message:
            case Loading(step, completed, total):
                self._hook(step, completed, total)
            case Ready():
                self._introduce(worker, message)
            case Length(number, seconds):
                worker.running[number].length_s = seconds
            case Finished(number):
                worker.finished[number] = worker.running.pop(number).task
                self._record_verdicts()
            case Stored(results):
                self._idle_deaths = 0
                for number, result in results:
                    del worker.finished[number]
                    self._tell(result)
            case Dying(cause):
                worker.cause = cause
            case Broken(error):
                raise error

    def _introduce(self, worker: Worker, ready: Ready) -> None:
        if self._planner is None:
            self._specs, self._devices = ready.specs, ready.devices
            self._most_workers, self._videos_at_once = crew_size(
                self._options, available_cores(), ready.devices, ready.threads
            )
            retry_failed = self._options.retry_failed
            self._planner = Planner(self._store, self._specs, retry_failed=retry_failed)
        elif ready.specs != self._specs:
            raise ExtractionError(
                "the worker processes loaded different extractors",
                "Let the profile and its weights alone while they are in use",
            )
        worker.ready = True

    def _wants_more(self) -> bool:
        ahead = self._most_workers * self._videos_at_once
        return self._planner is not None and self._deadline is None and len(self._waiting) < ahead

    def _read_list(self) -> None:
        """Take in what is identified, as far as there is use for it."""
        assert self._list is not None
        for _ in range(AT_A_TIME):
            if not (self._wants_more() and self._list.poll()):
                return
            try:
                self._take(self._list.recv())
            except EOFError:
                self._close_list()
                return

    def _close_list(self) -> None:
        if self._list is not None:
            self._list.close()
            self._list = None

    def _take(self, found: Identified) -> None:
        path, video, stamp = found.path, found.video, found.stamp
        if video is None or stamp is None:
            self._tell(VideoResult(path, error=found.cause))
            return
        assert self._planner is not None
        key = video.content_hash
        plan = self._planner.plan(path, video)
        if plan.duplicate_of is not None:
            self._tell(VideoResult(path, key, video.video_id, duplicate_of=plan.duplicate_of))
            return
        self._tally.fruitless &= not plan.stored
        if plan.missing:
            if plan.failed:
                self._failed_before.add(path)
            # Facts that the store has already may be changed by others meanwhile.
            news = Video(key, video.video_id) if key in self._store.videos else video
            self._waiting.append(Task(next(self._numbers), path, news, stamp, plan.missing))
        else:
            self._tally.stored_before(failed=plan.failed)
            self._hook("extract", self._tally.done, self._tally.videos)

    def _tell(self, result: VideoResult) -> None:
        self._tally.add(result, failed_before=result.path in self._failed_before)
        self._hook("extract", self._tally.done, self._tally.videos, result)

    # What goes wrong

    def _enforce_limits(self) -> None:
        for worker in self._workers.values():
            if worker.overdue:
                continue
            for number, running in worker.running.items():
                limit = self._options.timeout_s
                if limit is None:
                    limit = TIMEOUT_S + TIMEOUT_PER_S * (running.length_s or 0.0)
                if running.seconds > limit:
                    worker.overdue[number] = limit
            if worker.overdue:
                worker.kill()

    def _lost(self, worker: Worker) -> None:
        """A worker has ended; all that it has said before has been heard."""
        how = worker.bury()
        del self._workers[worker.slot]
        if worker.leaving:
            return
        self._tally.workers_lost += 1
        flight = [running.task for running in worker.running.values()]
        suspects = [task for task in flight if task.number in worker.overdue] or flight
        self._waiting.extendleft(worker.finished.values())
        self._waiting.extendleft(task for task in flight if task not in suspects)
        if worker.overdue and suspects is not flight:
            limit = max(worker.overdue.values())
            cause = f"it took longer than {limit:.0f} s"
            how = f"was killed because a video took longer than {limit:.0f} s"
        else:
            cause = f"the process that extracted it {how}"
        paths = ", ".join(task.path for task in suspects) or "no video"
        _log.warning("a worker process %s; in flight: %s", how, paths)
        if not suspects:
            self._idle_deaths += 1
            if self._idle_deaths == MOST_IDLE_DEATHS:
                raise ExtractionError(
                    f"{MOST_IDLE_DEATHS} worker processes in a row ended with no video in flight "
                    f"and nothing stored; the last one {how}",
                    "See whether there is memory enough, and what `reelgenre doctor` says",
                )
        elif worker.alone:
            self._verdicts.append((suspects[0], cause))
            if len(self._verdicts) == MOST_VERDICTS:
                raise ExtractionError(
                    f"{MOST_VERDICTS} videos in a row ended in the loss of their process and no "
                    f"other came through; the last process {how}",
                    "Something is wrong with the machine or the installation, so none of them is "
                    "recorded as failed; see what `reelgenre doctor` says",
                )
        else:
            self._suspects.extend(suspects)

    def _record_verdicts(self) -> None:
        """Record the videos that are found guilty as failed."""
        if not self._verdicts:
            return
        verdicts, self._verdicts = self._verdicts, []
        made_by = {spec.name: spec.fingerprint for spec in self._specs}
        # Not through our own object: the thread that identifies files is reading it.
        FeatureStore.open(self._store.storage.address).add_many(
            (task.video, {}, {made_by[name]: cause for name in task.missing})
            for task, cause in verdicts
        )
        for task, cause in verdicts:
            self._tell(
                VideoResult(
                    task.path,
                    task.video.content_hash,
                    task.video.video_id,
                    modalities={
                        name: ModalityResult(made_by[name], "failed", error=cause)
                        for name in task.missing
                    },
                    error=cause,
                )
            )
