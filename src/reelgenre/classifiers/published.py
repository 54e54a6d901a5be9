"""Checkpoints of the paper's public release (Zenodo 13909366) as modules of this package.

A release checkpoint is a state dict and a dict of settings; reading the two files is the caller's
business, here they are plain data. The settings say which of the three networks it is and how
its inputs were made; the result behaves as the published code does (``padding="zeros"``, see
:mod:`reelgenre.classifiers.config`) and gives its logits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor, nn

from reelgenre.classifiers.build import build_module
from reelgenre.classifiers.config import (
    Architecture,
    ClassifierConfig,
    FeatureConfig,
    Mlp,
    MultiTransformer,
    SingleTransformer,
)
from reelgenre.classifiers.module import ClassifierModule, Standardise
from reelgenre.errors import ModelError

REMEDY = "Get the original NAME.pt and NAME_config.pt of one classifier"

_ENCODER = (
    (r"\.self_attn\.in_proj_(weight|bias)$", r".in_proj.\1"),
    (r"\.self_attn\.out_proj\.", r".out_proj."),
)
_RULES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "single_transformer": (
        (r"^cls_vector$", "cls"),
        (r"^sep_vectors\.", "separators."),
        (r"^encoders\.", "projections."),
        (r"^positional_encoding\.(\w+)\.pe$", r"positions.\1.table"),
        (r"^transformer\.transformer_body\.", "encoder."),
        *_ENCODER,
    ),
    "multi_transformer": (
        (r"^cls_vectors\.", "cls."),
        (r"^encoders\.", "projections."),
        (r"^transformers\.(\w+)\.pos_encoder\.pe$", r"positions.\1.table"),
        (r"^transformers\.(\w+)\.transformer_body\.", r"encoders.\1."),
        *_ENCODER,
    ),
}
"""Published parameter names to ours: every rule is applied once, in order."""


class _Settings(BaseModel):
    """What of the settings decides the network; the rest (paths, seeds, dates) is ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    model: Literal["mlp", "single_transformer", "multi_transformer"]
    features: tuple[str, ...]
    feature_lengths: dict[str, int]
    feature_dims: dict[str, int]
    labels: tuple[str, ...]
    n_heads: int
    dropout: float
    normalize: bool = False
    standardize: bool = False


def from_published_state_dict(
    state: Mapping[str, NDArray[Any] | Tensor],
    settings: Mapping[str, object],
    statistics: Mapping[str, Mapping[str, Any]] | None = None,
) -> ClassifierModule:
    """The module, in evaluation mode, that gives a published checkpoint's logits.

    Args:
        state: the published state dict, arrays or tensors by name.
        settings: the published config.
        statistics: ``stats`` of the published features: per feature ``mean`` and ``std``, numbers
            or [D]; needed where the settings say ``standardize``.

    Returns:
        A module whose ``config`` has no fingerprints: the release names no extractor versions.

    Raises:
        ModelError: settings and state dict do not describe one of the published networks, they
            ask for min-max normalisation, or statistics are missing.
    """
    try:
        known = _Settings.model_validate(dict(settings))
        tensors = _renamed(known.model, {k: torch.as_tensor(v) for k, v in state.items()})
        module = build_module(_config(known, tensors))
        for name, layer in module.standardise.items():  # type: ignore[operator,union-attr]
            _set_statistics(name, layer, known, statistics)
            tensors |= {f"standardise.{name}.{k}": v for k, v in layer.state_dict().items()}
        # Published vectors are [1, 1, D] and position tables [rows, 1, D].
        own = module.state_dict()
        module.load_state_dict(
            {k: t.reshape(own[k].shape) if k in own else t for k, t in tensors.items()}
        )
    except (ValidationError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"This is not a checkpoint of the published release ({type(error).__name__})", REMEDY
        ) from error
    return module.eval()


def _config(known: _Settings, tensors: Mapping[str, Tensor]) -> ClassifierConfig:
    if known.normalize:
        raise ModelError(
            "This published checkpoint was trained on min-max normalised features",
            "Use a checkpoint trained on raw or standardised features",
        )
    return ClassifierConfig(
        architecture=_architecture(known, tensors),
        labels=known.labels,
        features={
            name: FeatureConfig(
                dim=known.feature_dims[name],
                max_steps=known.feature_lengths[name],
                pooling="sequence" if _is_sequence(name, known, tensors) else "mean",
            )
            for name in known.features
        },
        training={"source": "published release, Zenodo 13909366"},
    )


def _is_sequence(name: str, known: _Settings, tensors: Mapping[str, Tensor]) -> bool:
    """The multi transformer has a CLS for each feature that is not averaged."""
    if known.model == "multi_transformer":
        return f"cls.{name}" in tensors
    return known.model == "single_transformer"


def _architecture(known: _Settings, tensors: Mapping[str, Tensor]) -> Architecture:
    if known.model == "mlp":
        hidden = [t.shape[0] for k, t in tensors.items() if re.fullmatch(r"layers\.\d+\.weight", k)]
        return Mlp(hidden=tuple(hidden), dropout=known.dropout, padding="zeros", absent="zeros")
    layers = 1 + max(int(n) for k in tensors for n in re.findall(r"\.layers\.(\d+)\.", k))
    rows = {k.split(".")[1]: len(t) for k, t in tensors.items() if k.endswith(".table")}
    if known.model == "single_transformer":
        return SingleTransformer(
            d_model=tensors["cls"].shape[-1],
            layers=layers,
            heads=known.n_heads,
            dropout=known.dropout,
            padding="zeros",
            position_rows=_position_rows(rows, known),
        )
    projections = [t for k, t in tensors.items() if re.fullmatch(r"projections\.\w+\.weight", k)]
    return MultiTransformer(
        d_model=projections[0].shape[0] if projections else None,
        layers=layers,
        heads=known.n_heads,
        dropout=known.dropout,
        padding="zeros",
        absent="zeros",
        position_rows=_position_rows(rows, known),
    )


def _position_rows(rows: Mapping[str, int], known: _Settings) -> int | None:
    """One number for all tables, or None where each is one longer than its feature."""
    if all(count == known.feature_lengths[name] + 1 for name, count in rows.items()):
        return None
    (count,) = set(rows.values())
    return count


def _renamed(model: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    if model == "mlp":
        return _renamed_mlp(state)
    renamed = {}
    for name, tensor in state.items():
        for pattern, replacement in _RULES[model]:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    return renamed


def _renamed_mlp(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Linear layers of ``model`` in order: ours are three apart (ReLU, dropout), the last apart."""
    places = sorted({int(name.split(".")[1]) for name in state})
    ours = {place: f"layers.{3 * i}" for i, place in enumerate(places)}
    ours[places[-1]] = "decoder"
    return {
        f"{ours[int(place)]}.{kind}": tensor
        for name, tensor in state.items()
        for _, place, kind in [name.split(".")]
    }


def _set_statistics(
    name: str,
    layer: nn.Module,
    known: _Settings,
    statistics: Mapping[str, Mapping[str, Any]] | None,
) -> None:
    if not known.standardize:
        return
    if statistics is None or name not in statistics:
        raise ModelError(
            f"This published checkpoint needs the statistics of feature {name!r}",
            "Give the stats of the features.pkl that it was trained on",
        )
    assert isinstance(layer, Standardise)
    dim = len(layer.mean)
    mean, std = (
        torch.from_numpy(np.broadcast_to(np.float32(statistics[name][k]), (dim,)).copy())
        for k in ("mean", "std")
    )
    layer.set(mean, std)
