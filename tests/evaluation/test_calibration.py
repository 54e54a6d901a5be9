"""Calibration against scikit-learn's logistic regression, thresholds against trying them all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from reelgenre.evaluation import (
    expected_calibration_error,
    fit_platt,
    sigmoid,
    tune_thresholds,
)


def test_weak_prior_gives_the_logistic_regression() -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(size=(500, 3)) * 3
    truth = generator.random((500, 3)) < sigmoid(0.4 * logits + [-1, 0, 2])
    calibration = fit_platt(truth, logits, prior_strength=1e-6)
    for i in range(3):
        model = LogisticRegression(C=1e9, tol=1e-10).fit(logits[:, [i]], truth[:, i])
        assert calibration.scale[i] == pytest.approx(model.coef_[0, 0], rel=1e-3)
        assert calibration.bias[i] == pytest.approx(model.intercept_[0], abs=1e-3)


def test_calibration_undoes_the_weighted_loss() -> None:
    generator = np.random.default_rng(1)
    honest = generator.normal(size=(4000, 4)) - 1
    truth = generator.random(honest.shape) < sigmoid(honest)
    pulled_down = honest + np.log(0.25)  # what w = 0.25 on the positives does to the optimum
    before = expected_calibration_error(truth, sigmoid(pulled_down))
    calibration = fit_platt(truth[:2000], pulled_down[:2000])
    after = expected_calibration_error(truth[2000:], calibration.probabilities(pulled_down[2000:]))
    assert before > 0.1
    assert after < 0.02


def test_ranking_is_kept_even_where_the_model_is_wrong() -> None:
    generator = np.random.default_rng(2)
    logits = generator.normal(size=(300, 1))
    truth = generator.random((300, 1)) < sigmoid(-3 * logits)
    calibration = fit_platt(truth, logits)
    assert calibration.scale[0] == pytest.approx(0.05)
    assert sigmoid(calibration.bias[0]) == pytest.approx(truth.mean(), abs=0.05)


@pytest.mark.parametrize("value", [0, 1])
def test_label_of_one_class_is_left_as_it_is(value: int) -> None:
    calibration = fit_platt(np.full((9, 1), value), np.linspace(-2, 2, 9)[:, None])
    assert (calibration.scale, calibration.bias) == ((1.0,), (0.0,))


def test_separable_label_stays_finite() -> None:
    logits = np.linspace(-4, 4, 50)[:, None] * 100
    calibration = fit_platt(logits > 0, logits)
    assert 0 < calibration.scale[0] < 10
    assert np.isfinite(calibration.probabilities(logits)).all()


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), levels=st.sampled_from([3, 10, 10**6]))
def test_thresholds_maximise_f1(seed: int, levels: int) -> None:
    generator = np.random.default_rng(seed)
    truth = generator.random((12, 1)) < 0.3
    truth[0] = True
    scores = generator.integers(levels + 1, size=(12, 1)) / levels
    (threshold,) = tune_thresholds(truth, scores)
    reached = f1_score(truth, scores >= threshold)
    assert reached == pytest.approx(max(f1_score(truth, scores >= s) for s in scores))


def test_threshold_lies_between_two_scores_or_at_the_default() -> None:
    truth = np.array([[1, 0], [0, 0], [0, 0]])
    scores = np.array([[0.8, 0.8], [0.4, 0.4], [0.1, 0.1]])
    assert tune_thresholds(truth, scores) == pytest.approx((0.6, 0.5))
    assert tune_thresholds(truth, scores, default=0.3)[1] == 0.3


def test_neighbouring_floats_still_split() -> None:
    high = np.nextafter(0.3, 1)
    truth, scores = np.array([[1], [0]]), np.array([[high], [0.3]])
    assert tune_thresholds(truth, scores) == (high,)


def test_calibration_error_by_hand() -> None:
    truth = np.array([[0], [1], [1], [1]])
    assert expected_calibration_error(truth, np.full((4, 1), 0.25), bins=1) == pytest.approx(0.5)
    assert expected_calibration_error(truth, truth) == 0


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        fit_platt(np.ones((2, 1)), np.array([[np.inf], [0]]))
    with pytest.raises(ValueError, match="positive"):
        fit_platt(np.ones((2, 1)), np.ones((2, 1)), prior_strength=0)
    with pytest.raises(ValueError, match="must both be"):
        tune_thresholds(np.ones((2, 1)), np.ones((2, 2)))


@pytest.mark.filterwarnings("error")
def test_sigmoid_does_not_overflow() -> None:
    assert sigmoid([-1e4, 0, 1e4]) == pytest.approx([0, 0.5, 1])
