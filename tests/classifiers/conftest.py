"""Tiny classifiers of every architecture, random inputs, and each saved once per test run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from reelgenre.classifiers import (
    Calibration,
    ClassifierConfig,
    FeatureConfig,
    LateFusion,
    Mlp,
    MultiTransformer,
    RawVideo,
    SingleTransformer,
)
from reelgenre.classifiers.build import build_module
from reelgenre.classifiers.config import Architecture
from reelgenre.classifiers.module import ClassifierModule
from reelgenre.classifiers.saving import save_pretrained
from reelgenre.sequences import FeatureSequence

LABELS = ("Drama", "Horror", "Western")
DIMS = {"frames": 8, "sound": 4, "speech": 6}
ARCHITECTURES: dict[str, Architecture] = {
    "late_fusion": LateFusion(hidden=12, heads=2, linear=("sound",), scored=("speech",)),
    "mlp": Mlp(hidden=(10,)),
    "single_transformer": SingleTransformer(d_model=16, heads=4, layers=1, position_rows=12),
    "multi_transformer": MultiTransformer(d_model=None, heads=2, position_rows=12),
    "raw_video": RawVideo(hidden=(10, 12), heads=2, position_rows=12),
}
Sequence = Callable[..., FeatureSequence]


def tiny_config(architecture: Architecture) -> ClassifierConfig:
    """Three features; speech is averaged where the architecture can do both."""

    def pooling(name: str) -> str:
        if isinstance(architecture, Mlp):
            return "mean"
        both = isinstance(architecture, SingleTransformer | MultiTransformer)
        return "mean" if both and name == "speech" else "sequence"

    return ClassifierConfig(
        architecture=architecture,
        labels=LABELS,
        features={
            name: FeatureConfig.model_validate(
                {"dim": dim, "fingerprint": f"{name}:1", "pooling": pooling(name)}
            )
            for name, dim in DIMS.items()
        },
        calibration=Calibration(scale=(0.5, 1.0, 2.0), bias=(0.1, -0.2, 0.3)),
        thresholds=(0.4, 0.5, 0.6),
        training={"seed": 0},
    )


def tiny_module(architecture: Architecture) -> ClassifierModule:
    """With random weights, statistics and priors, none at a value that would hide a mistake."""
    torch.manual_seed(0)
    module = build_module(tiny_config(architecture))
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.5)
        for name, buffer in module.named_buffers():
            buffer.copy_(
                torch.rand_like(buffer) + 0.5 if name.endswith("std") else torch.randn_like(buffer)
            )
    return module.eval()


@pytest.fixture(scope="session")
def modules() -> Mapping[str, ClassifierModule]:
    """A tiny module per architecture."""
    return {name: tiny_module(architecture) for name, architecture in ARCHITECTURES.items()}


@pytest.fixture(scope="session")
def folders(
    modules: Mapping[str, ClassifierModule], tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, Path]:
    """The same, saved; never to be changed by a test."""
    root = tmp_path_factory.mktemp("classifiers")
    for name, module in modules.items():
        save_pretrained(root / name, module, module.config, f"# {name}\n")
    return {name: root / name for name in modules}


@pytest.fixture(scope="session")
def sequence() -> Sequence:
    """Makes a random feature sequence of a length for a feature of the tiny classifiers."""

    def make(name: str, steps: int, seed: int = 0, made_by: str | None = None) -> FeatureSequence:
        values = np.random.default_rng((seed, steps, len(name))).normal(size=(steps, DIMS[name]))
        times = np.repeat(np.arange(steps, dtype=np.float32)[:, None], 2, axis=1)
        return FeatureSequence(values.astype(np.float32), times, made_by or f"{name}:1")

    return make


@pytest.fixture(scope="session")
def as_batch() -> Callable[[FeatureSequence], Tensor]:
    """A sequence as a batch of one."""
    return lambda feature: torch.from_numpy(feature.values.copy())[None]
