"""Metrics of multi-label classification, for one set of samples or many resamplings of it at once.

Every metric is computed under sample weights, many weightings side by side. All weights one gives
the metric itself; weights that count how often a resampling drew each sample give a bootstrap
(:mod:`reelgenre.evaluation.intervals`) without ranking anything twice. There is one code path for
both, and with weights of one it equals scikit-learn's functions.

A label without a positive sample has neither recall nor average precision. It is left out of every
macro average and named in the report; scikit-learn would count it as zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

METRICS = (
    "mean_average_precision",
    "macro_precision",
    "macro_recall",
    "macro_f1",
    "micro_average_precision",
    "micro_precision",
    "micro_recall",
    "micro_f1",
    "lrap",
)
"""Names of the metrics over all labels, in the order of tables."""


@dataclass(frozen=True)
class LabelScores:
    """Metrics per label, each [L, B] for B weightings of the samples."""

    average_precision: Floats
    precision: Floats
    recall: Floats
    f1: Floats
    positives: Floats
    predicted: Floats


class Scorer:
    """Truth and scores of N samples and L labels, ranked once, ready for any weighting.

    Args:
        truth: [N, L], nonzero where the label applies.
        scores: float [N, L], finite; the higher, the more likely. Only the comparison with
            ``thresholds`` depends on their scale.
        thresholds: a label is predicted where its score is at least this; one for all, or [L].

    Raises:
        ValueError: shapes differ, there is no sample or label, or a score is not finite.
    """

    def __init__(
        self, truth: ArrayLike, scores: ArrayLike, thresholds: float | Sequence[float] | Floats
    ) -> None:
        self.truth: Bools = np.asarray(truth) != 0
        self.scores: Floats = np.asarray(scores, dtype=np.float64)
        if self.truth.ndim != 2 or self.truth.shape != self.scores.shape or not self.truth.size:
            raise ValueError(
                f"truth and scores must both be [N, L] with N, L >= 1, "
                f"not {list(self.truth.shape)} and {list(self.scores.shape)}"
            )
        if not np.isfinite(self.scores).all():
            raise ValueError("scores must be finite")
        self.samples, self.labels = self.truth.shape
        self.thresholds: Floats = np.broadcast_to(
            np.asarray(thresholds, dtype=np.float64), (self.labels,)
        )
        self.predicted: Bools = self.scores >= self.thresholds
        rows = np.arange(self.samples)
        self._rankings = [
            _Ranking(self.truth[:, i], self.scores[:, i], rows) for i in range(self.labels)
        ]
        self._ranking_of_all = _Ranking(
            self.truth.ravel(), self.scores.ravel(), np.repeat(rows, self.labels)
        )
        self._sample_precision = ranking_precision(self.truth, self.scores)

    def per_label(self, weights: Floats) -> LabelScores:
        """Metrics of every label.

        Args:
            weights: [N, B], not negative; a column is one weighting of the samples.

        Returns:
            ``nan`` where a label has no positive sample (average precision, recall, F1) and 0
            where it has some but none is predicted (precision, F1), as scikit-learn does.
        """
        hits = (self.truth & self.predicted).T.astype(np.float64) @ weights
        predicted = self.predicted.T.astype(np.float64) @ weights
        positives = self.truth.T.astype(np.float64) @ weights
        nowhere = positives == 0
        f1 = _ratio(2 * hits, predicted + positives)
        return LabelScores(
            average_precision=np.stack([r.average_precision(weights) for r in self._rankings]),
            precision=_ratio(hits, predicted),
            recall=np.where(nowhere, np.nan, _ratio(hits, positives)),
            f1=np.where(nowhere, np.nan, f1),
            positives=positives,
            predicted=predicted,
        )

    def summary(self, weights: Floats) -> dict[str, Floats]:
        """Metrics over all labels.

        Args:
            weights: [N, B] as for :meth:`per_label`.

        Returns:
            For each of :data:`METRICS` the B values. Macro averages run over the labels that
            have a positive sample, ``nan`` where no label has one.
        """
        per_label = self.per_label(weights)
        hits = (self.truth & self.predicted).sum(axis=1) @ weights
        predicted = self.predicted.sum(axis=1) @ weights
        positives = self.truth.sum(axis=1) @ weights
        present = per_label.positives > 0
        return {
            "mean_average_precision": _mean_over(present, per_label.average_precision),
            "macro_precision": _mean_over(present, per_label.precision),
            "macro_recall": _mean_over(present, per_label.recall),
            "macro_f1": _mean_over(present, per_label.f1),
            "micro_average_precision": self._ranking_of_all.average_precision(weights),
            "micro_precision": _ratio(hits, predicted),
            "micro_recall": _ratio(hits, positives),
            "micro_f1": _ratio(2 * hits, predicted + positives),
            "lrap": _ratio(self._sample_precision @ weights, weights.sum(axis=0)),
        }


class _Ranking:
    """Truth in the order of falling scores, equal scores kept together."""

    def __init__(self, truth: Bools, scores: Floats, rows: NDArray[np.intp]) -> None:
        order = np.argsort(-scores, kind="stable")
        ranked = scores[order]
        self._rows = rows[order]
        self._positive = np.flatnonzero(truth[order])
        # A score's last place in the ranking: precision at a threshold counts all equal scores.
        last = np.searchsorted(-ranked, -ranked[self._positive], side="right") - 1
        self._ends, first_of_end = np.unique(last, return_index=True)
        self._last_positive = np.append(first_of_end[1:], len(self._positive)) - 1

    def average_precision(self, weights: Floats) -> Floats:
        """Sum over thresholds of (gain in recall) x precision, [B]; ``nan`` without positives."""
        if not len(self._positive):
            return np.full(weights.shape[1], np.nan)
        ranked = weights[self._rows]
        hits = np.cumsum(ranked[self._positive], axis=0)[self._last_positive]
        above = np.cumsum(ranked, axis=0)[self._ends]
        gains = np.diff(hits, axis=0, prepend=0)
        total = hits[-1]
        with np.errstate(invalid="ignore"):
            result: Floats = (gains * _ratio(hits, above)).sum(axis=0) / total
        return result


def ranking_precision(truth: Bools, scores: Floats) -> Floats:
    """Label ranking average precision of each sample, [N].

    For every true label: among the labels scored at least as high, the share that is true;
    averaged over the true labels. A sample whose labels are all true or all false gives 1, as in
    scikit-learn's ``label_ranking_average_precision_score``.
    """
    at_least = scores[:, None, :] >= scores[:, :, None]
    rank = at_least.sum(axis=2)
    true_rank = (at_least & truth[:, None, :]).sum(axis=2)
    counts = truth.sum(axis=1)
    mean = (truth * (true_rank / rank)).sum(axis=1) / np.maximum(counts, 1)
    trivial = (counts == 0) | (counts == truth.shape[1])
    result: Floats = np.where(trivial, 1.0, mean)
    return result


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    """Quotient, 0 where the denominator is 0."""
    return np.divide(numerator, denominator, out=np.zeros(numerator.shape), where=denominator != 0)


def _mean_over(present: Bools, values: Floats) -> Floats:
    """Mean over the first axis of the entries where ``present``, ``nan`` where there are none."""
    count = present.sum(axis=0)
    total = np.where(present, values, 0.0).sum(axis=0)
    mean: Floats = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    return mean
