"""Loading a model once per process, however many threads ask for it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

T = TypeVar("T")

_guard = threading.Lock()
_locks: dict[Hashable, threading.Lock] = {}
_made: dict[Hashable, Any] = {}


def once(key: Hashable, factory: Callable[[], T]) -> T:
    """What ``factory`` made the first time that this process asked for ``key``.

    Threads that ask at the same time wait for the first; different keys do not wait for each
    other. A factory that raises is asked again next time.

    Args:
        key: everything that changes what is made, such as ``("whisper-base", digest, threads)``.
        factory: loads it.
    """
    # A forked child must load its own: the thread pools of a parent's session are not in it.
    key = (os.getpid(), key)
    with _guard:
        lock = _locks.setdefault(key, threading.Lock())
    with lock:
        if key not in _made:
            _made[key] = factory()
        made: T = _made[key]
        return made
