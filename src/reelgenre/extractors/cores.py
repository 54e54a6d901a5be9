"""How many models compute at the same time on a CPU."""

from __future__ import annotations

import os

# More threads of one process wait for Python's lock rather than work.
_MOST = 16


def side_by_side(threads: int | None) -> int:
    """How many computations of so many threads each the processor has cores for, at most 16.

    Args:
        threads: of one computation; None where one takes all cores.
    """
    if threads is None:
        return 1
    # Those that this process may use, where the system tells.
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(max(1, own // threads), _MOST)
