"""Batches across videos: what several threads want of one model, computed together."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Outputs = tuple[NDArray[Any], ...]


@dataclass(eq=False)
class _Request:
    """What one thread handed in, whether it is being computed, and what became of it."""

    rows: NDArray[Any]
    taken: bool = False
    outputs: Outputs | None = None
    error: Exception | None = None

    @property
    def done(self) -> bool:
        return self.outputs is not None or self.error is not None

    @property
    def waiting(self) -> bool:
        return not (self.taken or self.done)


class SharedBatches:
    """A model that any number of threads may call at once, and that computes their rows together.

    A thread that finds the model free computes at once. What others hand in meanwhile waits, and
    the first of them to go on takes along as much of it as a batch holds. So batches grow with the
    load: nobody waits for a timer, there is no thread behind this, and who is alone pays for a
    lock.

    Rows are put together where they are of one shape and type. A model must give the same for a
    row whatever its neighbours are.

    Args:
        compute: takes rows [N, ...] and gives one or several arrays [N, ...]; it moves them to the
            model's device and back itself.
        most: rows in a batch.
        at_once: threads that may be in the model at a time; with 1, it may keep state. More of
            them leave less to be put together.
    """

    def __init__(
        self, compute: Callable[[NDArray[Any]], Outputs], most: int, at_once: int = 1
    ) -> None:
        self._compute = compute
        self._most = most
        self._free = at_once
        self._changed = threading.Condition()
        self._requests: list[_Request] = []

    def __call__(self, rows: NDArray[Any]) -> Outputs:
        """The model's outputs for these rows, one or more, in their order.

        Raises:
            Exception: what the model raises for them; never for those of another thread.
        """
        parts = [
            self._hand_in(rows[start : start + self._most])
            for start in range(0, len(rows), self._most)
        ]
        return parts[0] if len(parts) == 1 else tuple(map(np.concatenate, zip(*parts, strict=True)))

    def _hand_in(self, rows: NDArray[Any]) -> Outputs:
        request = _Request(rows)
        with self._changed:
            self._requests.append(request)
        try:
            while batch := self._turn(request):
                try:
                    self._run(batch)
                finally:
                    self._end_turn(batch)
        finally:
            with self._changed:
                self._requests.remove(request)
        if request.error is not None:
            raise request.error
        assert request.outputs is not None
        return request.outputs

    def _turn(self, request: _Request) -> list[_Request]:
        """The batch to compute, once the model is free; nothing once another thread did it."""
        with self._changed:
            self._changed.wait_for(lambda: request.done or (request.waiting and self._free))
            if request.done:
                return []
            self._free -= 1
            # The oldest is always taken, so nobody waits for ever.
            waiting = [other for other in self._requests if other.waiting]
            batch: list[_Request] = []
            room = self._most
            for other in waiting:
                if len(other.rows) <= room and _alike(other.rows, waiting[0].rows):
                    other.taken = True
                    batch.append(other)
                    room -= len(other.rows)
            return batch

    def _end_turn(self, batch: list[_Request]) -> None:
        with self._changed:
            self._free += 1
            for request in batch:
                # Not done where this thread was ended in the model: others must do it then.
                request.taken = False
            self._changed.notify_all()

    def _run(self, batch: list[_Request]) -> None:
        try:
            if len(batch) == 1:
                batch[0].outputs = self._compute(batch[0].rows)
                return
            outputs = self._compute(np.concatenate([request.rows for request in batch]))
            start = 0
            for request in batch:
                stop = start + len(request.rows)
                # Copies: a part of an array would keep the others' rows in memory.
                request.outputs = tuple(output[start:stop].copy() for output in outputs)
                start = stop
            return
        except Exception as error:  # noqa: BLE001 - models raise anything; it is passed on
            if len(batch) == 1:
                batch[0].error = error
                return
        # Each by itself, so that one video cannot fail another's; and after the handler, so that
        # what the failed attempt held is free again, if it was memory that was short.
        for request in batch:
            self._run([request])


def _alike(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return one.shape[1:] == other.shape[1:] and one.dtype == other.dtype
