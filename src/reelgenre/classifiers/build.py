"""From a config to its torch module."""

from __future__ import annotations

from reelgenre.classifiers.config import ClassifierConfig, LateFusion
from reelgenre.classifiers.late_fusion import LateFusionClassifier
from reelgenre.classifiers.module import ClassifierModule


def build_module(config: ClassifierConfig) -> ClassifierModule:
    """The network of a config with freshly initialised weights, in training mode."""
    match config.architecture:
        case LateFusion():
            return LateFusionClassifier(config, config.architecture)
