"""The paper's tables and figure, made again on any feature store or on the planted data set."""

from reelgenre.training.experiments.paper import EXPERIMENTS
from reelgenre.training.experiments.report import ExperimentReport
from reelgenre.training.experiments.running import Laboratory, run_experiment
from reelgenre.training.experiments.scale import Scale, load_scale

__all__ = [
    "EXPERIMENTS",
    "ExperimentReport",
    "Laboratory",
    "Scale",
    "load_scale",
    "run_experiment",
]
