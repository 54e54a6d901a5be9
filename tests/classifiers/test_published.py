"""Checkpoints in the format of the paper's release, with logits that its own code computed."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reelgenre.classifiers.published import from_published_state_dict
from reelgenre.datasets.restricted_pickle import load_pickle, load_torch_archive
from reelgenre.errors import ModelError

SAMPLE = Path(__file__).parents[3] / "shared" / "data" / "published_release_sample"
needs_sample = pytest.mark.skipif(
    not SAMPLE.is_dir(), reason="../shared/data/published_release_sample is not here"
)


@pytest.fixture(scope="module")
def release() -> dict[str, Any]:
    return dict(load_pickle(SAMPLE / "features.pkl"))


@needs_sample
@pytest.mark.parametrize("name", ["mlp", "single_transformer", "multi_transformer"])
@torch.no_grad()
def test_published_logits_are_reproduced(release: dict[str, Any], name: str) -> None:
    module = from_published_state_dict(
        load_torch_archive(SAMPLE / f"{name}.pt"),
        load_torch_archive(SAMPLE / f"{name}_config.pt"),
        release["stats"],
    )
    expected = np.load(SAMPLE / "expected_logits.npz")
    assert len(expected["youtube_ids"]) == len(expected[name]) > 0
    for video, logits in zip(expected["youtube_ids"], expected[name], strict=True):
        features = {
            feature: torch.from_numpy(np.array(values, dtype=np.float32))[None]
            for feature, values in release["samples"][str(video)]["features"].items()
            if np.size(values)
        }
        np.testing.assert_allclose(module(features)[0].numpy(), logits, atol=1e-4)


@needs_sample
def test_what_is_no_published_checkpoint_is_refused(release: dict[str, Any]) -> None:
    state = load_torch_archive(SAMPLE / "single_transformer.pt")
    settings = load_torch_archive(SAMPLE / "single_transformer_config.pt")
    stats = release["stats"]
    wrong: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any] | None]] = [
        (state, settings, None),
        (state, settings, {k: v for k, v in stats.items() if k != "clip"}),
        (state, settings | {"normalize": True}, stats),
        (state, settings | {"model": "mlp"}, stats),
        (state, settings | {"model": "unknown"}, stats),
        (state, settings | {"n_heads": 7}, stats),
        (state, settings | {"features": settings["features"][1:]}, stats),
        (state, {k: v for k, v in settings.items() if k != "labels"}, stats),
        ({k: v for k, v in state.items() if k != "decoder.bias"}, settings, stats),
        (state | {"decoder.extra": np.zeros(3, dtype=np.float32)}, settings, stats),
        (state | {"decoder.bias": np.zeros(20, dtype=np.float32)}, settings, stats),
        ({}, settings, stats),
    ]
    for case in wrong:
        with pytest.raises(ModelError):
            from_published_state_dict(*case)


@pytest.mark.parametrize("hidden", [(), (5,), (5, 7)])
@torch.no_grad()
def test_mlp_of_any_depth_is_mapped(hidden: tuple[int, ...]) -> None:
    widths = [6, *hidden, 2]
    layers: list[torch.nn.Module] = []
    for i, (width, following) in enumerate(itertools.pairwise(widths)):
        last = i == len(widths) - 2
        layers += [torch.nn.Linear(width, following)] + ([] if last else [torch.nn.ReLU()])
    model = torch.nn.Sequential(*layers)
    module = from_published_state_dict(
        {f"model.{k}": v for k, v in model.state_dict().items()},
        {
            "model": "mlp",
            "features": ["f", "g"],
            "feature_lengths": {"f": 3, "g": 1},
            "feature_dims": {"f": 2, "g": 4},
            "labels": ["a", "b"],
            "n_heads": 8,
            "dropout": 0.5,
        },
    )
    f, g = torch.randn(1, 3, 2), torch.randn(1, 1, 4)
    torch.testing.assert_close(
        module({"f": f, "g": g}), model(torch.cat([f.mean(1), g[:, 0]], dim=1))
    )
