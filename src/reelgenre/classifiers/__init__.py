"""Feature sequences to genre probabilities.

Importable and usable without torch; the networks, their saving and their export live in
:mod:`~reelgenre.classifiers.build` and :mod:`~reelgenre.classifiers.saving`, which need it.
"""

from reelgenre.classifiers.config import (
    Calibration,
    ClassifierConfig,
    FeatureConfig,
    LateFusion,
    Mlp,
    MultiTransformer,
    SingleTransformer,
)
from reelgenre.classifiers.runtime import ExpertOutput, GenreClassifier, Prediction

__all__ = [
    "Calibration",
    "ClassifierConfig",
    "ExpertOutput",
    "FeatureConfig",
    "GenreClassifier",
    "LateFusion",
    "Mlp",
    "MultiTransformer",
    "Prediction",
    "SingleTransformer",
]
