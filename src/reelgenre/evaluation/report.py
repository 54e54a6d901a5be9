"""One run's metrics as a value: over all labels, per label, with intervals, as JSON or Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike

from reelgenre.evaluation.intervals import Difference, Interval, bootstrap
from reelgenre.evaluation.metrics import METRICS, Floats, Scorer

TITLES: Mapping[str, str] = {
    "mean_average_precision": "mAP",
    "macro_precision": "P (macro)",
    "macro_recall": "R (macro)",
    "macro_f1": "F1 (macro)",
    "micro_average_precision": "AP (micro)",
    "micro_precision": "P (micro)",
    "micro_recall": "R (micro)",
    "micro_f1": "F1 (micro)",
    "lrap": "LRAP",
}
"""How tables name each of :data:`reelgenre.evaluation.METRICS`."""


@dataclass(frozen=True)
class LabelReport:
    """Metrics of one label; ``nan`` where it has no positive sample."""

    label: str
    positives: int
    predicted: int
    threshold: float
    precision: float
    recall: float
    f1: float
    average_precision: float


@dataclass(frozen=True)
class EvaluationReport:
    """Metrics of one run on one split.

    Attributes:
        samples: N.
        metrics: value of each of :data:`reelgenre.evaluation.METRICS`, 0 to 1.
        intervals: bootstrap interval of each, or empty where none was asked for.
        labels: the same per label.
    """

    samples: int
    metrics: Mapping[str, float]
    intervals: Mapping[str, Interval]
    labels: tuple[LabelReport, ...]

    @property
    def without_positives(self) -> tuple[str, ...]:
        """Labels that no sample has: they are in no macro average."""
        return tuple(row.label for row in self.labels if row.positives == 0)

    @property
    def without_predictions(self) -> tuple[str, ...]:
        """Labels with positives of which none is predicted: their precision counts as 0."""
        return tuple(row.label for row in self.labels if row.positives and not row.predicted)

    def to_dict(self) -> dict[str, object]:
        """The report as JSON values; ``nan`` becomes ``None``."""
        return {
            "samples": self.samples,
            "metrics": {name: _or_none(value) for name, value in self.metrics.items()},
            "intervals": {
                name: [_or_none(span.low), _or_none(span.high)]
                for name, span in self.intervals.items()
            },
            "labels": [
                {
                    key: _or_none(value) if isinstance(value, float) else value
                    for key, value in asdict(row).items()
                }
                for row in self.labels
            ],
            "without_positives": list(self.without_positives),
            "without_predictions": list(self.without_predictions),
        }

    def to_markdown(self) -> str:
        """Two tables in percent, all labels and per label, and what was left out of averages."""
        overall = []
        for name in METRICS:
            span = self.intervals.get(name)
            shown = f"{percent(span.low)} to {percent(span.high)}" if span else ""
            overall.append([TITLES[name], percent(self.metrics[name]), shown])
        per_label = [
            [
                row.label,
                str(row.positives),
                str(row.predicted),
                f"{row.threshold:.2f}",
                percent(row.precision),
                percent(row.recall),
                percent(row.f1),
                percent(row.average_precision),
            ]
            for row in self.labels
        ]
        parts = [
            markdown_table(["metric", "value", "95 % interval"], overall, numeric=(1, 2)),
            markdown_table(
                ["label", "positives", "predicted", "threshold", "P", "R", "F1", "AP"],
                per_label,
                numeric=range(1, 8),
            ),
            f"{self.samples} samples.",
        ]
        if self.without_positives:
            parts.append(
                f"Without a positive sample, in no macro average: "
                f"{', '.join(self.without_positives)}."
            )
        if self.without_predictions:
            parts.append(
                f"Never predicted, precision counted as 0: {', '.join(self.without_predictions)}."
            )
        return "\n\n".join(parts) + "\n"


def evaluate(
    truth: ArrayLike,
    probabilities: ArrayLike,
    labels: Sequence[str],
    *,
    thresholds: float | Sequence[float] | Floats = 0.5,
    resamplings: int = 1000,
    seed: int = 0,
) -> EvaluationReport:
    """All metrics of one run.

    Args:
        truth: [N, L], nonzero where the label applies.
        probabilities: float [N, L].
        labels: L names.
        thresholds: a label is predicted from this probability on; one for all, or [L].
        resamplings: of the bootstrap; 0 leaves the intervals out.
        seed: of the bootstrap.

    Raises:
        ValueError: shapes differ or a probability is not finite.
    """
    scorer = Scorer(truth, probabilities, thresholds)
    if len(labels) != scorer.labels:
        raise ValueError(f"{len(labels)} names for {scorer.labels} labels")
    plain = np.ones((scorer.samples, 1))
    scores = scorer.per_label(plain)
    return EvaluationReport(
        samples=scorer.samples,
        metrics={name: float(values[0]) for name, values in scorer.summary(plain).items()},
        intervals=bootstrap(scorer, resamplings=resamplings, seed=seed) if resamplings else {},
        labels=tuple(
            LabelReport(
                label=label,
                positives=int(scores.positives[i, 0]),
                predicted=int(scores.predicted[i, 0]),
                threshold=float(scorer.thresholds[i]),
                precision=float(scores.precision[i, 0]),
                recall=float(scores.recall[i, 0]),
                f1=float(scores.f1[i, 0]),
                average_precision=float(scores.average_precision[i, 0]),
            )
            for i, label in enumerate(labels)
        ),
    )


def differences_table(differences: Mapping[str, Difference], first: str, second: str) -> str:
    """Markdown table of :func:`reelgenre.evaluation.compare`, in percent."""
    rows = [
        [
            TITLES[name],
            percent(d.first),
            percent(d.second),
            f"{100 * d.difference:+.2f}",
            f"{100 * d.interval.low:+.2f} to {100 * d.interval.high:+.2f}",
            f"{d.p_value:.3f}",
        ]
        for name, d in differences.items()
    ]
    header = ["metric", first, second, "difference", "95 % interval", "p"]
    return markdown_table(header, rows, numeric=range(1, 6))


def markdown_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[int] | range = ()
) -> str:
    """A Markdown table; columns in ``numeric`` are set to the right."""
    rule = ["---:" if i in numeric else "---" for i in range(len(header))]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *rows])


def percent(value: float) -> str:
    """``0.6602`` as ``66.02``, ``nan`` as a dash."""
    return "–" if math.isnan(value) else f"{100 * value:.2f}"  # noqa: RUF001


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
