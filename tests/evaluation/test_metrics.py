"""The metrics equal scikit-learn's, on random inputs and on those where definitions part."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as reference

from reelgenre.evaluation import METRICS, Scorer, evaluate, ranking_precision

ONE = 1e-12


def random_case(
    seed: int, samples: int, labels: int, levels: int, prevalence: float
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Truth and scores; few ``levels`` make many equal scores."""
    generator = np.random.default_rng(seed)
    truth = generator.random((samples, labels)) < prevalence
    scores = generator.integers(levels + 1, size=(samples, labels)) / levels
    return truth, scores


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    samples=st.integers(1, 40),
    labels=st.integers(2, 6),
    levels=st.sampled_from([1, 3, 1000]),
    prevalence=st.sampled_from([0.0, 0.05, 0.5, 1.0]),
)
def test_every_metric_equals_scikit_learn(
    seed: int, samples: int, labels: int, levels: int, prevalence: float
) -> None:
    truth, scores = random_case(seed, samples, labels, levels, prevalence)
    predicted = scores >= 0.5
    report = evaluate(truth, scores, [str(i) for i in range(labels)], resamplings=0)
    present = np.flatnonzero(truth.any(axis=0))
    kept_truth, kept_predicted = truth[:, present], predicted[:, present]
    expected = {"lrap": reference.label_ranking_average_precision_score(truth, scores)}
    for average, t, p in (("macro", kept_truth, kept_predicted), ("micro", truth, predicted)):
        if average == "macro" and not len(present):
            expected |= {f"macro_{m}": np.nan for m in ("precision", "recall", "f1")}
            continue
        values = reference.precision_recall_fscore_support(t, p, average=average, zero_division=0)
        if t.shape[1] == 1:  # scikit-learn takes one column for a binary task
            values = reference.precision_recall_fscore_support(
                t[:, 0], p[:, 0], average="binary", zero_division=0
            )
        names = (f"{average}_precision", f"{average}_recall", f"{average}_f1")
        expected |= dict(zip(names, values[:3], strict=True))
    expected["mean_average_precision"] = (
        np.mean([reference.average_precision_score(truth[:, i], scores[:, i]) for i in present])
        if len(present)
        else np.nan
    )
    expected["micro_average_precision"] = (
        reference.average_precision_score(truth, scores, average="micro") if truth.any() else np.nan
    )
    assert set(expected) == set(METRICS) == set(report.metrics)
    for name, value in expected.items():
        assert report.metrics[name] == pytest.approx(value, abs=ONE, nan_ok=True), name


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), levels=st.sampled_from([2, 1000]))
def test_weights_mean_what_they_mean_to_scikit_learn(seed: int, levels: int) -> None:
    truth, scores = random_case(seed, 30, 4, levels, 0.4)
    weights = np.random.default_rng(seed).integers(4, size=(30, 3)).astype(np.float64)
    weights[0] = 1  # never all zero
    scorer = Scorer(truth, scores, 0.5)
    per_label, summary = scorer.per_label(weights), scorer.summary(weights)
    for column in range(3):
        w = weights[:, column]
        for label in range(4):
            if not (truth[:, label] * w).any():
                assert np.isnan(per_label.average_precision[label, column])
                continue
            assert per_label.average_precision[label, column] == pytest.approx(
                reference.average_precision_score(
                    truth[:, label], scores[:, label], sample_weight=w
                )
            )
            assert per_label.f1[label, column] == pytest.approx(
                reference.f1_score(
                    truth[:, label], scores[:, label] >= 0.5, sample_weight=w, zero_division=0
                )
            )
        assert summary["lrap"][column] == pytest.approx(
            reference.label_ranking_average_precision_score(truth, scores, sample_weight=w)
        )
        repeated = np.repeat(np.arange(30), w.astype(int))
        drawn = Scorer(truth[repeated], scores[repeated], 0.5).summary(np.ones((len(repeated), 1)))
        for name in METRICS:
            assert summary[name][column] == pytest.approx(drawn[name][0], nan_ok=True), name


def test_label_without_positives_is_named_and_in_no_average() -> None:
    truth = np.array([[1, 0, 1], [1, 0, 0], [0, 0, 1]])
    scores = np.array([[0.9, 0.8, 0.1], [0.8, 0.9, 0.2], [0.1, 0.1, 0.3]])
    report = evaluate(truth, scores, ["Drama", "War", "Crime"], resamplings=0)
    assert report.without_positives == ("War",)
    assert report.without_predictions == ("Crime",)
    war = report.labels[1]
    assert np.isnan([war.recall, war.f1, war.average_precision]).all()
    assert war.precision == 0
    # Drama is perfect, Crime is never predicted and ranks its positives first and last.
    assert report.metrics["macro_precision"] == pytest.approx(0.5)
    assert report.metrics["mean_average_precision"] == pytest.approx((1 + (1 + 2 / 3) / 2) / 2)
    assert "Without a positive sample, in no macro average: War." in report.to_markdown()
    assert report.to_dict()["labels"][1]["average_precision"] is None  # type: ignore[index]


def test_thresholds_per_label_and_equality_counts_as_predicted() -> None:
    truth = np.ones((2, 2))
    scores = np.array([[0.5, 0.5], [0.4, 0.6]])
    report = evaluate(truth, scores, ["a", "b"], thresholds=[0.5, 0.7], resamplings=0)
    assert [row.predicted for row in report.labels] == [1, 0]


def test_ranking_precision_of_one_sample_by_hand() -> None:
    truth = np.array([[True, False, True, False]])
    scores = np.array([[0.9, 0.8, 0.7, 0.1]])
    assert ranking_precision(truth, scores) == pytest.approx([(1 / 1 + 2 / 3) / 2])


@pytest.mark.parametrize(
    ("truth", "scores"),
    [
        (np.zeros((2, 3)), np.zeros((2, 2))),
        (np.zeros(3), np.zeros(3)),
        (np.zeros((0, 3)), np.zeros((0, 3))),
        (np.zeros((2, 2)), np.array([[0, 1], [np.nan, 0]])),
    ],
)
def test_wrong_shapes_and_values_are_refused(
    truth: NDArray[np.float64], scores: NDArray[np.float64]
) -> None:
    with pytest.raises(ValueError, match="must"):
        Scorer(truth, scores, 0.5)


def test_names_must_fit_the_labels() -> None:
    with pytest.raises(ValueError, match="1 names for 2 labels"):
        evaluate(np.ones((2, 2)), np.ones((2, 2)), ["a"])
