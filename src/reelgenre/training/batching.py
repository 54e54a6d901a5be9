"""Batches of videos of like lengths, so that a short trailer does not pay for a long one.

Videos have several lengths at once (shots, seconds of sound, words), so sorting by one would pad
the others. Batches are the leaves of a k-d tree instead: split in two along the feature whose
padding would cost most, until a group is one batch.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

POOL = 64
"""Batches that are shuffled into like lengths together: large pools pad less, and with this many
two epochs still share almost no batch."""

Costs = NDArray[np.int64]
Rows = NDArray[np.intp]


def epoch_batches(costs: Costs, batch_size: int, seed: tuple[int, ...]) -> list[Rows]:
    """All videos once, in shuffled batches of ``batch_size`` (the last one smaller).

    Args:
        costs: [N, F], what each feature of each video costs (its length, weighted).
        batch_size: videos per batch.
        seed: of the shuffling; the same seed gives the same batches.
    """
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(costs))
    whole = len(order) - len(order) % batch_size
    pool = POOL * batch_size
    batches = [
        batch
        for start in range(0, whole, pool)
        for batch in _split(order[start : min(start + pool, whole)], costs, batch_size)
    ]
    if whole < len(order):
        batches.append(order[whole:])
    return [batches[i] for i in generator.permutation(len(batches))]


def length_batches(costs: Costs, batch_size: int, budget: int) -> list[Rows]:
    """All videos once, for evaluation: at most ``batch_size``, and padded cost within a budget.

    Args:
        costs: [N, F].
        batch_size: most videos per batch.
        budget: largest sum over features of (longest x videos); a single video may exceed it.
    """
    finished = []
    waiting = _split(np.arange(len(costs)), costs, batch_size)
    while waiting:
        rows = waiting.pop()
        if len(rows) == 1 or costs[rows].max(axis=0).sum() * len(rows) <= budget:
            finished.append(rows)
        else:
            waiting += _split(rows, costs, (len(rows) + 1) // 2)
    return finished


def _split(rows: Rows, costs: Costs, batch_size: int) -> list[Rows]:
    if len(rows) <= batch_size:
        return [rows] if len(rows) else []
    own = costs[rows]
    axis = int(np.argmax((own.max(axis=0) - own).sum(axis=0)))  # where padding costs most
    ordered = rows[np.argsort(own[:, axis], kind="stable")]
    batches = -(-len(rows) // batch_size)
    middle = batches // 2 * batch_size
    return _split(ordered[:middle], costs, batch_size) + _split(ordered[middle:], costs, batch_size)
