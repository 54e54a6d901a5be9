"""Every thread gets its own rows back, whoever computed them and whatever failed meanwhile."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from reelgenre.extractors.shared_batches import Outputs, SharedBatches

Rows = NDArray[Any]


class Model:
    """Doubles and sums each row; notes what it was given, and how many threads are in it.

    Args:
        before: called with every batch before it is computed.
    """

    def __init__(self, before: Callable[[Rows], None] = lambda rows: None) -> None:
        self.given: list[Rows] = []
        self.most_inside = 0
        self._inside: list[None] = []
        self._before = before

    def __call__(self, rows: Rows) -> Outputs:
        self._inside.append(None)
        self.most_inside = max(self.most_inside, len(self._inside))
        self.given.append(rows)
        try:
            self._before(rows)
            return 2 * rows, rows.reshape(len(rows), -1).sum(axis=1)
        finally:
            self._inside.pop()

    @property
    def sizes(self) -> list[int]:
        return [len(rows) for rows in self.given]


def check(outputs: Outputs, rows: Rows) -> None:
    doubled, sums = outputs
    np.testing.assert_array_equal(doubled, 2 * rows)
    np.testing.assert_array_equal(sums, rows.reshape(len(rows), -1).sum(axis=1))


class Crowd:
    """Threads whose requests all wait while the model is busy with a first one."""

    def __init__(self, model: Model, most: int, at_once: int = 1) -> None:
        self.batches = SharedBatches(model, most, at_once)
        self._pool = ThreadPoolExecutor(16)

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def hand_in(self, rows: Rows) -> Future[Outputs]:
        """In a thread of its own; returns once it waits or computes."""
        before = len(self.batches._requests)
        future = self._pool.submit(self.batches, rows)
        deadline = time.monotonic() + 10
        while len(self.batches._requests) == before:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        return future


def gate() -> tuple[Model, threading.Event]:
    """A model that computes nothing before the event."""
    event = threading.Event()

    def wait(_: Rows) -> None:
        assert event.wait(10)

    return Model(wait), event


def rows(count: int, first: int = 0, width: int = 3) -> Rows:
    return np.arange(first, first + count * width, dtype=np.float32).reshape(count, width)


@pytest.fixture
def _many_switches() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_many_switches")
@settings(max_examples=40, deadline=None)
@given(
    most=st.integers(1, 6),
    at_once=st.integers(1, 3),
    # Of each thread: how many rows it hands in at a time, how wide they are, and whether they are
    # ones that the model refuses.
    threads=st.lists(
        st.lists(
            st.tuples(st.integers(1, 9), st.integers(1, 2), st.sampled_from([False] * 4 + [True])),
            min_size=1,
            max_size=6,
        ),
        min_size=1,
        max_size=6,
    ),
)
def test_each_thread_gets_its_own_rows(
    most: int, at_once: int, threads: list[list[tuple[int, int, bool]]]
) -> None:
    def refuse(batch: Rows) -> None:
        time.sleep(0)
        if (batch < 0).any():
            raise RuntimeError("refused")

    model = Model(refuse)
    batches = SharedBatches(model, most, at_once)
    start = threading.Barrier(len(threads))

    def work(number: int) -> None:
        start.wait()
        for turn, (count, width, refused) in enumerate(threads[number]):
            mine = 1 + rows(count, 1000 * number + 100 * turn, width)
            if refused:
                with pytest.raises(RuntimeError, match="refused"):
                    batches(-mine)
            else:
                check(batches(mine), mine)

    with ThreadPoolExecutor(len(threads)) as pool:
        list(pool.map(work, range(len(threads))))
    assert max(model.sizes) <= most
    assert model.most_inside <= at_once
    assert not batches._requests


def test_who_is_alone_is_not_kept_waiting() -> None:
    model = Model()
    batches = SharedBatches(model, 4)
    for mine in (rows(1), rows(4), rows(10)):
        check(batches(mine), mine)
    assert model.sizes == [1, 4, 4, 4, 2]
    # Nothing was copied on the way in.
    mine = rows(3)
    batches(mine)
    assert np.shares_memory(model.given[-1], mine)


def test_what_comes_while_the_model_is_busy_is_one_batch() -> None:
    model, event = gate()
    given = [rows(count, 100 * count) for count in (2, 3, 1, 2)]
    with Crowd(model, 8) as crowd:
        futures = [crowd.hand_in(mine) for mine in given]
        event.set()
        for future, mine in zip(futures, given, strict=True):
            check(future.result(10), mine)
    assert model.sizes == [2, 6]
    # A part of the whole array would keep the others' rows in memory.
    assert futures[1].result()[0].base is None


def test_a_batch_is_no_larger_than_allowed_and_the_oldest_comes_first() -> None:
    model, event = gate()
    given = [rows(count, 100 * i) for i, count in enumerate((1, 3, 2, 2, 1))]
    with Crowd(model, 4) as crowd:
        futures = [crowd.hand_in(mine) for mine in given]
        event.set()
        for future, mine in zip(futures, given, strict=True):
            check(future.result(10), mine)
    # 3 rows have room for the last one beside them, not for 2 more.
    assert model.sizes == [1, 4, 4]
    np.testing.assert_array_equal(model.given[1], np.concatenate([given[1], given[4]]))


def test_only_rows_of_one_shape_and_type_are_put_together() -> None:
    model, event = gate()
    given = [rows(1), rows(1, 10), rows(1, 20, 2), rows(1, 30), rows(1, 40).astype(np.int64)]
    with Crowd(model, 8) as crowd:
        futures = [crowd.hand_in(mine) for mine in given]
        event.set()
        for future, mine in zip(futures, given, strict=True):
            check(future.result(10), mine)
            assert future.result()[0].dtype == mine.dtype
    assert sorted(model.sizes) == [1, 1, 1, 2]


def test_several_threads_may_be_in_the_model_where_it_allows_that() -> None:
    both = threading.Barrier(2)
    event = threading.Event()

    def meet(batch: Rows) -> None:
        if len(model.given) <= 2:
            both.wait(10)
        assert event.wait(10)

    model = Model(meet)
    given = [rows(1, 100 * i) for i in range(5)]
    with Crowd(model, 8, at_once=2) as crowd:
        futures = [crowd.hand_in(mine) for mine in given]
        event.set()
        for future, mine in zip(futures, given, strict=True):
            check(future.result(10), mine)
    # Two met in the model; the others were put together meanwhile.
    assert model.most_inside == 2
    assert model.sizes == [1, 1, 3]


def test_an_error_reaches_only_the_thread_whose_rows_it_is_about() -> None:
    event = threading.Event()

    def refuse(batch: Rows) -> None:
        assert event.wait(10)
        if (batch < 0).any():
            raise RuntimeError(f"{len(batch)} rows, one of them negative")

    model = Model(refuse)
    given = [rows(1), rows(2, 10), -rows(2, 20), rows(1, 30)]
    with Crowd(model, 8) as crowd:
        futures = [crowd.hand_in(mine) for mine in given]
        event.set()
        with pytest.raises(RuntimeError, match="2 rows, one of them negative"):
            futures[2].result(10)
        for i in (0, 1, 3):
            check(futures[i].result(10), given[i])
        # Once together, then each by itself; and the model goes on after that.
        assert model.sizes == [1, 5, 2, 2, 1]
        check(crowd.batches(given[3]), given[3])


def test_a_thread_that_is_ended_in_the_model_leaves_the_others_their_turn() -> None:
    event = threading.Event()

    def end(batch: Rows) -> None:
        assert event.wait(10)
        if len(model.given) == 2:
            raise SystemExit

    model = Model(end)
    given = [rows(1), rows(2, 10), rows(2, 20), rows(1, 30)]
    with Crowd(model, 8) as crowd:
        futures = [crowd.hand_in(mine) for mine in given]
        event.set()
        errors = [future.exception(10) for future in futures]
        assert not crowd.batches._requests
    assert [type(error) for error in errors if error is not None] == [SystemExit]
    for future, mine, error in zip(futures, given, errors, strict=True):
        if error is None:
            check(future.result(), mine)
    assert model.sizes[1] == 5
