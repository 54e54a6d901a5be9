"""A model is loaded once, however many threads ask."""

from __future__ import annotations

import os
import threading
import time

import pytest

from reelgenre.weights import once


def test_threads_get_the_same_object() -> None:
    made: list[object] = []

    def load() -> object:
        time.sleep(0.05)
        made.append(object())
        return made[-1]

    got: list[object] = []
    threads = [threading.Thread(target=lambda: got.append(once("threads", load))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert got == made * 8


def test_keys_do_not_wait_for_each_other() -> None:
    inside = threading.Event()

    def slow() -> int:
        assert inside.wait(10), "the other key waited for this one"
        return 1

    thread = threading.Thread(target=once, args=("slow", slow))
    thread.start()

    def quick() -> int:
        inside.set()
        return 2

    assert once("quick", quick) == 2
    thread.join()


def test_a_failure_is_not_kept() -> None:
    def fail() -> int:
        raise RuntimeError("no memory")

    with pytest.raises(RuntimeError, match="no memory"):
        once("fails", fail)
    assert once("fails", lambda: 3) == 3


def test_another_process_id_loads_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert once("forked", lambda: 1) == 1
    monkeypatch.setattr(os, "getpid", lambda: -1)
    assert once("forked", lambda: 2) == 2
