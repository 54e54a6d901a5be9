"""What a network takes from the training split before the first step: statistics, prevalences."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from reelgenre.classifiers.late_fusion import LateFusionClassifier
from reelgenre.classifiers.module import ClassifierModule, Standardise
from reelgenre.errors import RecipeError
from reelgenre.training.data import Split


def prepare(module: ClassifierModule, train: Split, *, standardise: bool) -> None:
    """Fix the network's statistics of the training split, and of no other.

    Args:
        module: freshly built.
        train: the training split.
        standardise: measure mean and standard deviation of every feature dimension over all
            steps; else features enter as they are.

    Raises:
        RecipeError: the network has no place for statistics.
    """
    if isinstance(module, LateFusionClassifier):
        prevalence = (train.truth.sum(axis=0) + 0.5) / (len(train.ids) + 1)
        module.fusion.set_prior(torch.from_numpy(prevalence).float())
    if standardise:
        for name, place in _places(module).items():
            mean, std = _statistics(train, name, len(place.mean))
            place.set(torch.from_numpy(mean).float(), torch.from_numpy(std).float())


def _places(module: ClassifierModule) -> Mapping[str, Standardise]:
    found = {
        name: part
        for name in module.config.features
        for path, part in module.named_modules()
        if isinstance(part, Standardise) and name in path.split(".")
    }
    if found.keys() != module.config.features.keys():
        raise RecipeError(
            f"{module.config.architecture.name} cannot standardise its features",
            "Set standardise to false",
        )
    return found


def _statistics(split: Split, feature: str, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation [D] over all steps of all videos, in one pass.

    Per-video moments are merged by Chan et al. (1983), which does not cancel as sums of squares
    do. A feature that no video has gives 0 and 1.
    """
    count, mean, squares = 0, np.zeros(dim), np.zeros(dim)
    for row in np.flatnonzero(split.lengths[feature]):
        values = np.asarray(split.read(int(row), feature), dtype=np.float64)
        own_mean = values.mean(axis=0)
        delta, total = own_mean - mean, count + len(values)
        squares += ((values - own_mean) ** 2).sum(axis=0) + delta**2 * count * len(values) / total
        mean += delta * len(values) / total
        count = total
    if not count:
        return np.zeros(dim), np.ones(dim)
    return mean, np.sqrt(squares / count)
