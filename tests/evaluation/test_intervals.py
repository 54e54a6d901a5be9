"""The bootstrap against drawing samples by hand, and what it must find or not find."""

from __future__ import annotations

import time

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score

from reelgenre.evaluation import METRICS, Scorer, bootstrap, compare, differences_table, evaluate


def run_of(
    samples: int, quality: float, seed: int = 0
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Truth (always the same) and probabilities that follow it as closely as ``quality`` says."""
    truth = np.random.default_rng(1).random((samples, 5)) < 0.3
    noise = np.random.default_rng(seed + 2).normal(size=truth.shape)
    return truth, 1 / (1 + np.exp(-(quality * (truth - 0.5) + noise)))


def test_intervals_match_a_bootstrap_drawn_by_hand() -> None:
    truth, scores = run_of(200, 1.5)
    interval = bootstrap(Scorer(truth, scores, 0.5), resamplings=2000)["mean_average_precision"]
    generator = np.random.default_rng(99)
    drawn = []
    for _ in range(300):
        rows = generator.integers(200, size=200)
        drawn.append(average_precision_score(truth[rows], scores[rows], average="macro"))
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert interval.low == pytest.approx(low, abs=0.01)
    assert interval.high == pytest.approx(high, abs=0.01)


def test_interval_holds_the_value_and_narrows_with_samples() -> None:
    widths = []
    for samples in (100, 1600):
        truth, scores = run_of(samples, 1.0)
        report = evaluate(truth, scores, list("abcde"), resamplings=300)
        for name in METRICS:
            span = report.intervals[name]
            assert span.low < report.metrics[name] < span.high
        span = report.intervals["mean_average_precision"]
        widths.append(span.high - span.low)
    assert widths[1] < 0.4 * widths[0]  # a quarter, by the root of 16


def test_same_seed_same_interval_in_blocks_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, scores = run_of(80, 1.0)
    scorer = Scorer(truth, scores, 0.5)
    whole = bootstrap(scorer, resamplings=50, seed=4)
    assert bootstrap(scorer, resamplings=50, seed=4) == whole
    assert bootstrap(scorer, resamplings=50, seed=5) != whole
    monkeypatch.setattr("reelgenre.evaluation.intervals._VALUES_AT_ONCE", 80 * 7)
    assert bootstrap(scorer, resamplings=50, seed=4) == whole


def test_rare_label_lost_in_a_resampling_does_not_break_the_interval() -> None:
    truth, scores = np.zeros((30, 2)), np.random.default_rng(0).random((30, 2))
    truth[0, 0] = 1
    span = bootstrap(Scorer(truth, scores, 0.5), resamplings=100)["mean_average_precision"]
    assert 0 < span.low <= span.high <= 1


def test_compare_finds_a_difference_that_is_there() -> None:
    truth, weak = run_of(400, 0.5, seed=1)
    _, strong = run_of(400, 2.0, seed=2)
    difference = compare(truth, weak, strong, resamplings=400)["mean_average_precision"]
    assert difference.difference == pytest.approx(difference.second - difference.first)
    assert difference.interval.low > 0
    assert difference.p_value == pytest.approx(2 / 401)
    back = compare(truth, strong, weak, resamplings=400)["mean_average_precision"]
    assert back.difference == -difference.difference


def test_compare_finds_none_between_equals() -> None:
    truth, one = run_of(400, 1.0, seed=1)
    _, other = run_of(400, 1.0, seed=2)
    different = compare(truth, one, other, resamplings=400)["mean_average_precision"]
    assert different.interval.low < 0 < different.interval.high
    assert different.p_value > 0.05
    same = compare(truth, one, one, resamplings=50)["mean_average_precision"]
    assert same.difference == 0
    assert same.p_value == 1


def test_pairing_narrows_the_interval_of_the_difference() -> None:
    truth, one = run_of(300, 1.0, seed=1)
    nearly = np.clip(one + np.random.default_rng(5).normal(scale=0.01, size=one.shape), 0, 1)
    paired = compare(truth, one, nearly, resamplings=200)["mean_average_precision"].interval
    alone = bootstrap(Scorer(truth, one, 0.5), resamplings=200)["mean_average_precision"]
    assert paired.high - paired.low < 0.3 * (alone.high - alone.low)


def test_differences_as_a_table() -> None:
    truth, one = run_of(60, 1.0, seed=1)
    table = differences_table(compare(truth, one, one, resamplings=10), "old", "new")
    assert table.splitlines()[0] == "| metric | old | new | difference | 95 % interval | p |"
    assert "| mAP |" in table
    assert "+0.00 | +0.00 to +0.00 | 1.000 |" in table


def test_test_split_of_movienet_takes_seconds() -> None:
    generator = np.random.default_rng(0)
    truth, scores = generator.random((5282, 21)) < 0.12, generator.random((5282, 21))
    start = time.perf_counter()
    bootstrap(Scorer(truth, scores, 0.5), resamplings=50)
    assert time.perf_counter() - start < 10  # a loop over scikit-learn takes about 25 s


@pytest.mark.parametrize("resamplings", [0, -1])
def test_no_resamplings_are_refused(resamplings: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        bootstrap(Scorer(np.ones((2, 2)), np.ones((2, 2)), 0.5), resamplings=resamplings)
