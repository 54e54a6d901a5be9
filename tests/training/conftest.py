"""A small data set that can be learnt in seconds, as splits in memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from reelgenre.training import FeatureInfo, Recipe, parse_recipe
from reelgenre.training.memory import MemorySource, MemorySplit

DIMS = {"clip": 12, "ocr": 6}
LABELS = ("Action", "Comedy", "Drama", "War")


def toy_split(videos: int, seed: int) -> MemorySplit:
    """Every step leans towards its labels' directions; a fifth of the videos lacks each feature."""
    directions = np.random.default_rng(7)
    meaning = {name: directions.normal(size=(len(LABELS), dim)) for name, dim in DIMS.items()}
    generator = np.random.default_rng(seed)
    truth = generator.random((videos, len(LABELS))) < 0.4
    values: dict[str, list[Any]] = {name: [] for name in DIMS}
    for row in truth:
        for name, dim in DIMS.items():
            steps = int(generator.integers(1, 12))
            sequence = generator.normal(size=(steps, dim)) + row @ meaning[name]
            missing = generator.random() < 0.2
            values[name].append(None if missing else sequence.astype(np.float16))
    return MemorySplit([f"video-{seed}-{i}" for i in range(videos)], truth, values)


def toy_source() -> MemorySource:
    """Splits of 72, 30 and 40 videos."""
    return MemorySource(
        LABELS,
        {name: FeatureInfo(dim, f"{name}:toy") for name, dim in DIMS.items()},
        {"trn": toy_split(72, 1), "val": toy_split(30, 2), "tst": toy_split(40, 3)},
    )


def toy_document(**changes: Any) -> dict[str, Any]:
    """A recipe for the toy data."""
    return {
        "name": "toy",
        "features": {"clip": {"steps": 8, "shorten": "random"}, "ocr": {"pooling": "mean"}},
        "architecture": {
            "name": "multi_transformer",
            "d_model": 8,
            "heads": 2,
            "position_rows": 16,
            "dropout": 0.1,
        },
        "optimisation": {"learning_rate": 1e-2, "batch_size": 16, "max_epochs": 3},
        **changes,
    }


def toy_recipe(**changes: Any) -> Recipe:
    """As :func:`toy_document`, checked."""
    return parse_recipe(toy_document(**changes), "toy")


MLP = {
    "features": {"clip": {"pooling": "mean"}, "ocr": {"pooling": "mean"}},
    "architecture": {"name": "mlp", "hidden": [8], "dropout": 0.0},
}


@pytest.fixture(name="source", scope="session")
def _source() -> MemorySource:
    return toy_source()
