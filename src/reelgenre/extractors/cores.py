"""How many computations run at the same time on a CPU."""

from __future__ import annotations

import os

MOST_AT_ONCE = 16
"""Beyond so many, threads of one process wait for Python's lock more than they work."""


def available_cores() -> int:
    """Processor cores that this process may use, where the system tells, else all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def side_by_side(threads: int | None) -> int:
    """How many computations of so many threads each the processor has cores for, at most 16.

    Args:
        threads: of one computation; None where one takes all cores.
    """
    if threads is None:
        return 1
    return min(max(1, available_cores() // threads), MOST_AT_ONCE)
