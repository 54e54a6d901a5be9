"""What a classifier is, as one strict, readable document: architecture, inputs, labels, decisions.

The settings of each architecture are its own class, told apart by ``name``, so that a config
cannot carry a setting which its architecture does not have. Everything is frozen, unknown keys
are refused and no number may be NaN or infinite. Nothing here imports torch.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

MAX_WIDTH = 65_536
"""Largest accepted width, row count or dim: far above any real one, so that a damaged or hostile
config cannot ask for absurd amounts of memory."""

Width = Annotated[int, Field(ge=1, le=MAX_WIDTH)]
Count = Annotated[int, Field(ge=1, le=128)]
Hidden = Annotated[tuple[Width, ...], Field(min_length=1)]
Dropout = Annotated[float, Field(ge=0, lt=1)]
FeatureName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")]
OUTPUT_SUFFIXES = ("_mask", "_logits", "_gate", "_step_scores")
"""Endings of tensor names in ``model.onnx``; feature names must not end so."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class FeatureConfig(_Strict):
    """One input of a classifier.

    Attributes:
        dim: width D of its steps.
        fingerprint: of the extractor the classifier was trained on; features made by another one
            are refused. None accepts any (imported checkpoints whose extractor is unknown).
        pooling: ``sequence`` keeps the steps, ``mean`` averages them over time first.
        max_steps: a longer sequence is sub-sampled to this many steps at equidistant indices, the
            first and the last step included. None takes any length, up to the position table
            where the architecture has one. With ``padding="zeros"`` also the fixed length that
            shorter sequences are padded to.
    """

    dim: Width
    fingerprint: str | None = Field(default=None, min_length=1)
    pooling: Literal["sequence", "mean"] = "sequence"
    max_steps: Width | None = None


class LateFusion(_Strict):
    """One small expert per modality with attention pooling, fused by evidence-dependent gates.

    Attributes:
        hidden: width H of the experts' one hidden layer.
        heads: attention heads K of the pooling over time.
        dropout: on the inputs and on the hidden steps of the experts, in training.
        linear: features whose expert is one linear layer and the mean over time; for steps that
            already are scores, such as votes of words.
        scored: features whose steps end with one score per label, as an encoder gives that was
            trained on the labels itself; the expert adds them, each times a trust of its own.
    """

    name: Literal["late_fusion"] = "late_fusion"
    hidden: Width = 256
    heads: Count = 4
    dropout: Dropout = 0.5
    linear: tuple[FeatureName, ...] = ()
    scored: tuple[FeatureName, ...] = ()


class _PaperArchitecture(_Strict):
    """What the paper's three architectures share.

    Attributes:
        dropout: in training.
        padding: ``masked``: padding never reaches a result, whatever stands there. ``zeros``: as
            in the published release, every sequence is zero-padded after standardisation to its
            ``max_steps`` and the zeros are attended to and averaged like real steps; only for
            loading published checkpoints and measuring what masks are worth.
    """

    dropout: Dropout = 0.5
    padding: Literal["masked", "zeros"] = "masked"


class _Absent(_Strict):
    """How an architecture that concatenates averages tells that a feature is absent.

    Attributes:
        absent: ``learned``: a learned vector stands in for the average. ``zeros``: zeros do, that
            is the average of the training split once standardised; this is what gives the
            paper's parameter counts, but such a video looks like an average one.
    """

    absent: Literal["learned", "zeros"] = "learned"


class Mlp(_PaperArchitecture, _Absent):
    """Averages over time, concatenated, into a multi-layer perceptron (Sulun et al., 2024, §3.2).

    Attributes:
        hidden: widths of the hidden layers; () is one linear layer.
    """

    name: Literal["mlp"] = "mlp"
    hidden: tuple[Width, ...] = (256,)


class _Attending(_Strict):
    """What all transformers share.

    Attributes:
        heads: attention heads; divides every width.
        positions: learned table or fixed sinusoids.
        position_rows: rows of the learned table of each feature. One row belongs to the vector in
            front of the sequence; a longer sequence is sub-sampled to what is left (see
            ``FeatureConfig.max_steps``). None: one more than each feature's own steps.
    """

    heads: Count = 8
    positions: Literal["learned", "sinusoidal"] = "learned"
    position_rows: Annotated[int, Field(ge=2, le=MAX_WIDTH)] | None = 5000


class _Transformer(_Attending, _PaperArchitecture):
    """What the paper's two transformers share."""


class SingleTransformer(_Transformer):
    """All sequences in one transformer, told apart by SEP vectors (Sulun et al., 2024, §3.2).

    Attributes:
        d_model: width to which every feature is projected.
        layers: encoder layers.
    """

    name: Literal["single_transformer"] = "single_transformer"
    d_model: Width = 256
    layers: Count = 2


class MultiTransformer(_Transformer, _Absent):
    """One transformer per feature; averaged features skip theirs (Sulun et al., 2024, §3.2).

    Attributes:
        d_model: width to which every feature is projected; None keeps each at its own width.
        layers: encoder layers of each transformer.
    """

    name: Literal["multi_transformer"] = "multi_transformer"
    d_model: Width | None = 128
    layers: Count = 1


class FrameMlp(_Strict):
    """One MLP on every step of one feature: the image-MLP or the audio-MLP of the paper's baseline.

    A video's logits are the average of its steps' logits. In stage 1 it is trained on single
    steps, each with its video's labels (Sulun et al., 2024, §3.2.5).

    Attributes:
        hidden: widths of the hidden layers; ReLU and dropout follow each.
        dropout: in training.
    """

    name: Literal["frame_mlp"] = "frame_mlp"
    hidden: Hidden = (768, 768)
    dropout: Dropout = 0.5


class RawVideo(_Attending):
    """The paper's baseline on activations of frozen ViT and AST (Sulun et al., 2024, §3.2.5).

    The hidden layers of one :class:`FrameMlp` per feature, which stay as stage 1 left them, and a
    fusion that is trained on whole videos: one transformer per feature, as wide as the last
    hidden layer, their CLS outputs concatenated into one linear layer.

    Attributes:
        hidden: as in :class:`FrameMlp`; ``heads`` divides the last one.
        layers: encoder layers of each transformer.
        dropout: of the fusion, in training.
    """

    name: Literal["raw_video"] = "raw_video"
    hidden: Hidden = (768, 768)
    layers: Count = 1
    heads: Count = 4
    dropout: Dropout = 0.5


Architecture = Annotated[
    Mlp | SingleTransformer | MultiTransformer | LateFusion | FrameMlp | RawVideo,
    Field(discriminator="name"),
]


class Calibration(_Strict):
    """Per-label affine map of logits, fitted on validation data: sigmoid(scale * logit + bias)."""

    scale: tuple[Annotated[float, Field(gt=0)], ...]
    bias: tuple[float, ...]


class ClassifierConfig(_Strict):
    """Everything but the weights.

    Attributes:
        architecture: which network and its settings.
        labels: C names in the order of every logit vector.
        features: inputs by name, in the order the network concatenates them.
        calibration: None leaves the logits as they are.
        thresholds: probability from which each label counts as predicted; None means 0.5.
        training: facts about how it was made (recipe, data, seed, scores), for people and cards.
    """

    architecture: Architecture
    labels: tuple[str, ...] = Field(min_length=1)
    features: dict[FeatureName, FeatureConfig] = Field(min_length=1)
    calibration: Calibration | None = None
    thresholds: tuple[Annotated[float, Field(ge=0, le=1)], ...] | None = None
    training: dict[str, JsonValue] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        count = len(self.labels)
        if isinstance(self.architecture, FrameMlp) and len(self.features) > 1:
            raise ValueError(f"frame_mlp reads one feature, not {', '.join(self.features)}")
        if isinstance(self.architecture, LateFusion):
            _check_experts(self.architecture, self.features, count)
        if len(set(self.labels)) != count or not all(self.labels):
            raise ValueError("labels must be unique and not empty")
        for name, feature in self.features.items():
            _check_feature(self.architecture, name, feature)
            if name.endswith(OUTPUT_SUFFIXES):
                raise ValueError(f"feature {name!r} must not end in one of {OUTPUT_SUFFIXES}")
        if "logits" in self.features:
            raise ValueError("a feature cannot be called 'logits'")
        per_label = {"thresholds": self.thresholds}
        if self.calibration is not None:
            per_label["calibration.scale"] = self.calibration.scale
            per_label["calibration.bias"] = self.calibration.bias
        for key, numbers in per_label.items():
            if numbers is not None and len(numbers) != count:
                raise ValueError(f"{key} has {len(numbers)} numbers for {count} labels")
        return self

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Calibrated sigmoid of logits [..., C]; the one place where calibration is applied."""
        z = logits.astype(np.float64)
        if self.calibration is not None:
            z = z * np.array(self.calibration.scale) + np.array(self.calibration.bias)
        # tanh saturates without the overflow that exp(-z) has for large negative z.
        return (0.5 * (1 + np.tanh(0.5 * z))).astype(np.float32)


def _check_experts(
    architecture: LateFusion, features: dict[FeatureName, FeatureConfig], labels: int
) -> None:
    """Refuse kinds of experts for features that are not there or too narrow for them."""
    for kind in ("linear", "scored"):
        for name in getattr(architecture, kind):
            if name not in features:
                raise ValueError(f"{kind} names {name!r}, which is not a feature")
    for name in architecture.scored:
        if name in architecture.linear:
            raise ValueError(f"{name!r} is both linear and scored")
        if features[name].dim <= labels:
            raise ValueError(f"scored steps of {name!r} must be wider than {labels} scores")


def _check_feature(architecture: Architecture, name: str, feature: FeatureConfig) -> None:
    """Refuse what the architecture would ignore or cannot do."""
    match architecture:
        case LateFusion():
            _needs_every_step(architecture.name, name, feature)
            return
        case FrameMlp():
            _needs_every_step(architecture.name, name, feature)
            return
        case RawVideo():
            if feature.pooling == "mean":
                raise ValueError(f"raw_video reads the steps of {name!r}: no pooling")
            _check_attention(architecture, architecture.hidden[-1], name, feature)
            return
        case Mlp():
            if feature.pooling == "sequence":
                raise ValueError(f"mlp averages over time: {name!r} needs pooling 'mean'")
        case SingleTransformer() | MultiTransformer():
            width = architecture.d_model or feature.dim
            own_width = isinstance(architecture, SingleTransformer) or feature.pooling == "sequence"
            _check_attention(architecture, width if own_width else None, name, feature)
    if architecture.padding == "zeros":
        if feature.max_steps is None:
            raise ValueError(f"padding 'zeros' needs max_steps for {name!r}")
        if isinstance(architecture, _Absent) and architecture.absent != "zeros":
            raise ValueError("padding 'zeros' needs absent 'zeros'")


def _needs_every_step(architecture: str, name: str, feature: FeatureConfig) -> None:
    if feature.pooling == "mean" or feature.max_steps is not None:
        raise ValueError(f"{architecture} reads every step of {name!r}: no pooling, no max_steps")


def _check_attention(
    settings: _Attending, width: int | None, name: str, feature: FeatureConfig
) -> None:
    """Heads divide the width (None: the feature is not attended to), and every step has a row."""
    if width is not None and width % settings.heads:
        raise ValueError(f"{settings.heads} heads do not divide the width {width} of {name!r}")
    if (
        settings.positions == "learned"
        and settings.position_rows is None
        and feature.pooling == "sequence"
        and feature.max_steps is None
    ):
        raise ValueError(f"{name!r} needs max_steps, or the architecture position_rows")
