"""Metrics of multi-label classification with their uncertainty, calibration and comparison.

Plain numpy: training, the recipe of the embedded classifier and the command line share it.
"""

from reelgenre.evaluation.calibration import (
    PlattCalibration,
    expected_calibration_error,
    fit_platt,
    sigmoid,
    tune_thresholds,
)
from reelgenre.evaluation.intervals import Difference, Interval, bootstrap, compare
from reelgenre.evaluation.metrics import METRICS, LabelScores, Scorer, ranking_precision
from reelgenre.evaluation.report import (
    TITLES,
    EvaluationReport,
    LabelReport,
    differences_table,
    evaluate,
    markdown_table,
    percent,
)

__all__ = [
    "METRICS",
    "TITLES",
    "Difference",
    "EvaluationReport",
    "Interval",
    "LabelReport",
    "LabelScores",
    "PlattCalibration",
    "Scorer",
    "bootstrap",
    "compare",
    "differences_table",
    "evaluate",
    "expected_calibration_error",
    "fit_platt",
    "markdown_table",
    "percent",
    "ranking_precision",
    "sigmoid",
    "tune_thresholds",
]
