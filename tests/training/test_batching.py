"""Batches hold every video once, in a reproducible order, with little padding."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from reelgenre.training.batching import epoch_batches, length_batches
from reelgenre.training.planted import planted_lengths


@settings(max_examples=50, deadline=None)
@given(
    videos=st.integers(0, 300),
    batch_size=st.integers(1, 40),
    features=st.integers(1, 4),
    seed=st.integers(0, 1000),
)
def test_every_video_once_in_batches_of_the_size(
    videos: int, batch_size: int, features: int, seed: int
) -> None:
    costs = np.random.default_rng(seed).integers(0, 100, size=(videos, features))
    batches = epoch_batches(costs, batch_size, (seed, 0))
    assert sorted(row for batch in batches for row in batch) == list(range(videos))
    sizes = sorted(len(batch) for batch in batches)
    rest = videos % batch_size
    assert sizes == [rest] * (rest > 0) + [batch_size] * (videos // batch_size)


def test_order_depends_on_the_seed_alone() -> None:
    costs = np.random.default_rng(0).integers(0, 50, size=(100, 2))
    first, again, other = (epoch_batches(costs, 8, (3, epoch)) for epoch in (0, 0, 1))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert not all((a == b).all() for a, b in zip(first[:-1], other[:-1], strict=False))


def padded(costs: np.ndarray, batches: list[np.ndarray]) -> float:
    """Padded size over real size."""
    padded_size = sum(int(costs[b].max(axis=0).sum()) * len(b) for b in batches)
    return padded_size / int(costs.sum())


def test_little_padding_on_movienets_lengths_in_several_features_at_once() -> None:
    lengths = planted_lengths(6000)
    limits = {"clip": 216, "musicnet": 18, "audiotag": 140, "ocr": 64, "asr": 86}
    costs = np.stack([np.minimum(lengths[n], limit) for n, limit in limits.items()], axis=1)
    shuffled = np.array_split(np.random.default_rng(0).permutation(6000), 6000 // 32)
    fixed = 524 * 6000 / costs.sum()
    assert fixed > 2
    assert padded(costs, shuffled) > 1.6
    assert padded(costs, epoch_batches(costs, 32, (0,))) < 1.4


def test_batches_differ_between_epochs() -> None:
    costs = np.random.default_rng(0).integers(0, 500, size=(4000, 1))
    first, second = ({frozenset(b) for b in epoch_batches(costs, 16, (0, e))} for e in (0, 1))
    assert len(first & second) < 0.05 * len(first)


@settings(max_examples=50, deadline=None)
@given(videos=st.integers(0, 200), budget=st.integers(1, 3000), seed=st.integers(0, 1000))
def test_evaluation_batches_stay_within_the_budget(videos: int, budget: int, seed: int) -> None:
    costs = np.random.default_rng(seed).integers(0, 100, size=(videos, 3))
    batches = length_batches(costs, 32, budget)
    assert sorted(row for batch in batches for row in batch) == list(range(videos))
    for batch in batches:
        assert len(batch) <= 32
        assert len(batch) == 1 or costs[batch].max(axis=0).sum() * len(batch) <= budget
