"""Probabilities that mean what they say, and thresholds per label: both chosen on validation data.

An addition to the paper, which uses the plain 0.5. Its weighted loss (w = 0.25 on positives) pulls
every logit down, so 0.5 finds few labels; both functions here undo that without changing how
samples rank under a label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from reelgenre.evaluation.metrics import Bools, Floats

_SMALLEST_SCALE = 0.05
"""A label's scale stays positive, or calibration would turn its ranking round."""


@dataclass(frozen=True)
class PlattCalibration:
    """Probability = sigmoid(scale · logit + bias), per label (Platt, 1999).

    Attributes:
        scale: [L], positive.
        bias: [L].
    """

    scale: tuple[float, ...]
    bias: tuple[float, ...]

    def logits(self, logits: ArrayLike) -> Floats:
        """Calibrated logits, [..., L] as given."""
        result: Floats = np.asarray(logits, np.float64) * np.asarray(self.scale) + self.bias
        return result

    def probabilities(self, logits: ArrayLike) -> Floats:
        """Calibrated probabilities, [..., L] as the logits given."""
        return sigmoid(self.logits(logits))


def fit_platt(
    truth: ArrayLike, logits: ArrayLike, *, prior_strength: float = 1.0
) -> PlattCalibration:
    """Fit scale and bias of every label by penalised maximum likelihood.

    The penalty ``prior_strength / 2 · ((scale - 1)² + bias²)`` keeps rare labels near what the
    model said: it weighs as little as a handful of samples. A label that is true for all samples
    or for none keeps scale 1 and bias 0.

    Args:
        truth: [N, L] of validation samples.
        logits: float [N, L].
        prior_strength: of the penalty, positive.

    Raises:
        ValueError: shapes differ, logits are not finite or the strength is not positive.
    """
    target, scores = _checked(truth, logits)
    if prior_strength <= 0:
        raise ValueError(f"prior_strength must be positive, not {prior_strength}")
    scale, bias = [], []
    for column in range(target.shape[1]):
        y, z = target[:, column].astype(np.float64), scores[:, column]
        a, b = (1.0, 0.0) if y.all() or not y.any() else _newton(y, z, prior_strength)
        scale.append(a)
        bias.append(b)
    return PlattCalibration(tuple(scale), tuple(bias))


def _newton(y: Floats, z: Floats, strength: float) -> tuple[float, float]:
    """Minimum of the penalised negative log-likelihood of one label; convex, so it is the one."""
    prior = np.array([1.0, 0.0])
    design = np.stack([z, np.ones_like(z)], axis=1)

    def objective(theta: Floats) -> float:
        score = design @ theta
        fit = np.logaddexp(0, score) - y * score
        return float(fit.sum() + strength / 2 * ((theta - prior) ** 2).sum())

    theta, value = prior.copy(), objective(prior)
    for _ in range(200):
        p = sigmoid(design @ theta)
        gradient = design.T @ (p - y) + strength * (theta - prior)
        # Where the scale rests on its bound and would go lower, the bias moves alone.
        free = np.array([theta[0] > _SMALLEST_SCALE or gradient[0] <= 0, True])
        curvature = design.T @ (design * (p * (1 - p))[:, None]) + strength * np.eye(2)
        step = np.zeros(2)
        step[free] = np.linalg.solve(curvature[np.ix_(free, free)], gradient[free])
        if np.abs(step).max() < 1e-10:
            break
        length = 1.0
        while length > 1e-12:
            candidate = theta - length * step
            candidate[0] = max(candidate[0], _SMALLEST_SCALE)
            if (new := objective(candidate)) <= value:
                break
            length /= 2
        else:
            break
        theta, value = candidate, new
    return float(theta[0]), float(theta[1])


def tune_thresholds(
    truth: ArrayLike, probabilities: ArrayLike, *, default: float = 0.5
) -> tuple[float, ...]:
    """The threshold of each label that maximises its F1.

    A threshold lies halfway between the lowest probability that it lets through and the next
    lower one, so that it carries over to other samples. A label without positives keeps
    ``default``.

    Args:
        truth: [N, L] of validation samples.
        probabilities: float [N, L].
        default: for labels without positives.

    Raises:
        ValueError: shapes differ or a probability is not finite.
    """
    target, scores = _checked(truth, probabilities)
    return tuple(
        _best_threshold(target[:, i], scores[:, i]) if target[:, i].any() else default
        for i in range(target.shape[1])
    )


def _best_threshold(truth: Bools, scores: Floats) -> float:
    order = np.argsort(-scores, kind="stable")
    ranked, hits = scores[order], np.cumsum(truth[order])
    f1 = 2 * hits / (np.arange(1, len(hits) + 1) + hits[-1])
    cuttable = np.append(ranked[:-1] > ranked[1:], True)  # equal scores pass or fail together
    best = int(np.argmax(np.where(cuttable, f1, -1.0)))
    below = ranked[best + 1] if best + 1 < len(ranked) else 0.0
    halfway = (ranked[best] + below) / 2
    # Neighbouring floats have no number between them.
    return float(halfway if below < halfway <= ranked[best] else ranked[best])


def sigmoid(logits: ArrayLike) -> Floats:
    """1 / (1 + exp(-logit)), without overflow."""
    values = np.asarray(logits, dtype=np.float64)
    result: Floats = np.exp(-np.logaddexp(0, -values))
    return result


def _checked(truth: ArrayLike, scores: ArrayLike) -> tuple[Bools, Floats]:
    target, values = np.asarray(truth) != 0, np.asarray(scores, dtype=np.float64)
    if target.ndim != 2 or target.shape != values.shape or not target.size:
        raise ValueError(
            f"truth and scores must both be [N, L] with N, L >= 1, "
            f"not {list(target.shape)} and {list(values.shape)}"
        )
    if not np.isfinite(values).all():
        raise ValueError("scores must be finite")
    return target, values


def expected_calibration_error(
    truth: ArrayLike, probabilities: ArrayLike, *, bins: int = 15
) -> float:
    """Mean gap between probability and frequency over all labels, in bins of equal count.

    Args:
        truth: [N, L].
        probabilities: float [N, L].
        bins: how many groups of neighbouring probabilities.
    """
    target, values = _checked(truth, probabilities)
    order = np.argsort(values.ravel(), kind="stable")
    p, y = values.ravel()[order], target.ravel()[order].astype(np.float64)
    gaps: Sequence[float] = [
        abs(float(q.mean() - f.mean())) * len(q)
        for q, f in zip(np.array_split(p, bins), np.array_split(y, bins), strict=True)
        if len(q)
    ]
    return sum(gaps) / len(p)
