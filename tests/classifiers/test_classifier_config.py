from __future__ import annotations

import json
import warnings
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from reelgenre.classifiers import (
    Calibration,
    ClassifierConfig,
    FeatureConfig,
    FrameMlp,
    LateFusion,
    Mlp,
    MultiTransformer,
    RawVideo,
    SingleTransformer,
)

FRAMES = {"frames": FeatureConfig(dim=8)}
MEAN = {"frames": FeatureConfig(dim=8, pooling="mean")}


@pytest.mark.parametrize(
    ("architecture", "features"),
    [
        (LateFusion(), FRAMES),
        (Mlp(hidden=()), MEAN),
        (SingleTransformer(d_model=64), {**FRAMES, "text": FeatureConfig(dim=5, pooling="mean")}),
        (MultiTransformer(d_model=None), FRAMES),
        (FrameMlp(hidden=(4,)), FRAMES),
        (RawVideo(), {**FRAMES, "sound": FeatureConfig(dim=5, max_steps=9)}),
    ],
)
def test_json_round_trip_keeps_everything_and_the_order_of_features(
    architecture: Any, features: dict[str, FeatureConfig]
) -> None:
    config = ClassifierConfig(
        architecture=architecture,
        labels=("b", "a"),
        features=dict(reversed(features.items())),
        calibration=Calibration(scale=(1.0, 0.5), bias=(0.0, -1.0)),
        thresholds=(0.25, 0.5),
        training={"recipe": "x.yaml", "scores": {"mAP": 0.4}},
    )
    again = ClassifierConfig.model_validate_json(config.model_dump_json())
    assert again == config
    assert list(again.features) == list(reversed(features))


BASE: dict[str, Any] = {
    "architecture": {"name": "late_fusion"},
    "labels": ["a", "b"],
    "features": {"frames": {"dim": 8}},
}


@pytest.mark.parametrize(
    "change",
    [
        {"unknown": 1},
        {"architecture": {"name": "late_fusion", "d_model": 4}},
        {"architecture": {"name": "perceptron"}},
        {"architecture": {"name": "late_fusion", "dropout": 1.0}},
        {"architecture": {"name": "late_fusion", "hidden": "256"}},
        {"architecture": {"name": "late_fusion", "hidden": 10**9}},
        {"architecture": {"name": "late_fusion", "scored": ["sound"]}},
        {"architecture": {"name": "late_fusion", "scored": ["frames"], "linear": ["frames"]}},
        {
            "architecture": {"name": "late_fusion", "scored": ["frames"]},
            "features": {"frames": {"dim": 2}},
        },
        {"labels": []},
        {"labels": ["a", "a"]},
        {"labels": ["a", ""]},
        {"features": {}},
        {"features": {"frames": {"dim": 0}}},
        {"features": {"frames": {"dim": 8, "pooling": "max"}}},
        {"features": {"frames": {"dim": 8, "fingerprint": ""}}},
        {"features": {"../frames": {"dim": 8}}},
        {"features": {"frames_mask": {"dim": 8}}},
        {"features": {"logits": {"dim": 8}}},
        {"features": {"frames": {"dim": 8, "pooling": "mean"}}},
        {"features": {"frames": {"dim": 8, "max_steps": 9}}},
        {"architecture": {"name": "mlp"}},
        {"architecture": {"name": "single_transformer", "d_model": 9, "heads": 2}},
        {"architecture": {"name": "multi_transformer", "d_model": None, "heads": 3}},
        {"architecture": {"name": "multi_transformer", "position_rows": None}},
        {"architecture": {"name": "frame_mlp", "hidden": []}},
        {"architecture": {"name": "frame_mlp"}, "features": {"a": {"dim": 8}, "b": {"dim": 8}}},
        {
            "architecture": {"name": "frame_mlp"},
            "features": {"frames": {"dim": 8, "pooling": "mean"}},
        },
        {"architecture": {"name": "raw_video", "hidden": [768, 10]}},
        {"architecture": {"name": "raw_video", "position_rows": None}},
        {"architecture": {"name": "raw_video", "padding": "zeros"}},
        {
            "architecture": {"name": "raw_video"},
            "features": {"frames": {"dim": 8, "pooling": "mean"}},
        },
        {"architecture": {"name": "single_transformer", "padding": "zeros"}},
        {"thresholds": [0.5]},
        {"thresholds": [0.5, 1.5]},
        {"calibration": {"scale": [1.0], "bias": [0.0]}},
        {"calibration": {"scale": [1.0, 0.0], "bias": [0.0, 0.0]}},
        {"calibration": {"scale": [1.0, 1.0], "bias": [0.0, float("nan")]}},
    ],
)
def test_what_cannot_be_is_refused(change: dict[str, Any]) -> None:
    ClassifierConfig.model_validate_json(json.dumps(BASE))
    with pytest.raises(ValidationError):
        ClassifierConfig.model_validate_json(json.dumps(BASE | change))


def test_zero_padding_needs_zeros_for_absence() -> None:
    features = {"frames": FeatureConfig(dim=8, pooling="mean", max_steps=4)}
    architecture = Mlp(padding="zeros", absent="zeros")
    ClassifierConfig(architecture=architecture, labels=("a",), features=features)
    with pytest.raises(ValidationError, match="absent"):
        ClassifierConfig(architecture=Mlp(padding="zeros"), labels=("a",), features=features)


def test_config_is_frozen() -> None:
    config = ClassifierConfig(architecture=LateFusion(), labels=("a",), features=FRAMES)
    with pytest.raises(ValidationError):
        config.labels = ("b",)


def test_probabilities_are_the_calibrated_sigmoid_of_each_label() -> None:
    config = ClassifierConfig(
        architecture=LateFusion(),
        labels=("a", "b", "c"),
        features=FRAMES,
        calibration=Calibration(scale=(2.0, 1.0, 0.5), bias=(-1.0, 0.0, 3.0)),
    )
    logits = np.array([[0.3, -2.0, 5.0], [1e4, -1e4, 0.0]], dtype=np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = config.probabilities(logits)
    z = np.array([[-0.4, -2.0, 5.5]])
    np.testing.assert_allclose(found[:1], 1 / (1 + np.exp(-z)), rtol=1e-6)
    np.testing.assert_allclose(found[1], [1, 0, 1 / (1 + np.exp(-3))], rtol=1e-6)
    assert found.dtype == np.float32
