"""Bootstrap over samples: how sure a metric is, and whether two runs differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from reelgenre.evaluation.metrics import METRICS, Floats, Scorer

_VALUES_AT_ONCE = 1_000_000
"""Sample weights held at a time: as many resamplings as fit go through the metrics together."""


@dataclass(frozen=True)
class Interval:
    """A percentile interval of the bootstrap; ``nan`` where the metric never has a value."""

    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """How one run differs from another in one metric, on the same samples.

    Attributes:
        first: metric of the first run.
        second: metric of the second run.
        difference: second - first.
        interval: bootstrap interval of the difference.
        p_value: two-sided: twice the share of resamplings in which the difference has the other
            sign or is zero, at most 1 and at least 2 / (resamplings + 1).
    """

    first: float
    second: float
    difference: float
    interval: Interval
    p_value: float


def bootstrap(
    scorer: Scorer, *, resamplings: int = 1000, seed: int = 0, confidence: float = 0.95
) -> dict[str, Interval]:
    """Percentile intervals of all :data:`METRICS`.

    Samples are drawn with replacement. A label that loses all its positives in a resampling is
    left out of that resampling's macro averages.

    Args:
        scorer: truth and scores.
        resamplings: how many times to draw.
        seed: of the draws; the same seed draws the same samples for any scores.
        confidence: share of the resamplings inside the interval.
    """
    draws: dict[str, list[Floats]] = {name: [] for name in METRICS}
    for weights in _draw(scorer.samples, resamplings, seed):
        for name, values in scorer.summary(weights).items():
            draws[name].append(values)
    return {name: _interval(np.concatenate(values), confidence) for name, values in draws.items()}


def compare(
    truth: ArrayLike,
    first: ArrayLike,
    second: ArrayLike,
    thresholds: tuple[float | Sequence[float] | Floats, float | Sequence[float] | Floats] = (
        0.5,
        0.5,
    ),
    *,
    resamplings: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Mapping[str, Difference]:
    """Paired bootstrap of two runs on the same samples: each resampling scores both.

    Args:
        truth: [N, L].
        first: probabilities [N, L] of the first run.
        second: probabilities [N, L] of the second run, same samples in the same order.
        thresholds: of the first and of the second run.
        resamplings: how many times to draw.
        seed: of the draws.
        confidence: of the interval of the difference.

    Returns:
        The difference in each of :data:`METRICS`.

    Raises:
        ValueError: shapes differ.
    """
    one, two = Scorer(truth, first, thresholds[0]), Scorer(truth, second, thresholds[1])
    plain = np.ones((one.samples, 1))
    at = {name: (one.summary(plain)[name], two.summary(plain)[name]) for name in METRICS}
    draws: dict[str, list[Floats]] = {name: [] for name in METRICS}
    for weights in _draw(one.samples, resamplings, seed):
        before, after = one.summary(weights), two.summary(weights)
        for name in METRICS:
            draws[name].append(after[name] - before[name])
    result = {}
    for name in METRICS:
        differences = np.concatenate(draws[name])
        differences = differences[np.isfinite(differences)]
        before_value, after_value = float(at[name][0][0]), float(at[name][1][0])
        tail = min((differences <= 0).sum(), (differences >= 0).sum())
        result[name] = Difference(
            first=before_value,
            second=after_value,
            difference=after_value - before_value,
            interval=_interval(differences, confidence),
            p_value=min(1.0, 2 * float(tail + 1) / (len(differences) + 1)),
        )
    return result


def _draw(samples: int, resamplings: int, seed: int) -> Iterator[Floats]:
    """Blocks of weights [N, b], b summing to ``resamplings``: how often each sample was drawn."""
    if resamplings < 1:
        raise ValueError(f"resamplings must be at least 1, not {resamplings}")
    generator = np.random.default_rng(seed)
    block = max(1, _VALUES_AT_ONCE // samples)
    for start in range(0, resamplings, block):
        columns = min(block, resamplings - start)
        drawn = generator.integers(samples, size=(columns, samples))
        flat = drawn + samples * np.arange(columns)[:, None]
        counts = np.bincount(flat.ravel(), minlength=columns * samples)
        yield np.ascontiguousarray(counts.reshape(columns, samples).T, dtype=np.float64)


def _interval(values: Floats, confidence: float) -> Interval:
    values = values[np.isfinite(values)]
    if not len(values):
        return Interval(np.nan, np.nan)
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail])
    return Interval(float(low), float(high))
