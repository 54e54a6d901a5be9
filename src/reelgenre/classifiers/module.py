"""What all torch classifiers share: named inputs with masks, standardisation, sub-sampling."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from reelgenre.classifiers.config import ClassifierConfig


class Steps(NamedTuple):
    """A padded batch of one modality.

    Attributes:
        values: float32 [B, T, D]; whatever stands at padded steps is never read.
        mask: bool [B, T], True at real steps, which come before the padding. A sample without
            any real step does not have this modality.
    """

    values: Tensor
    mask: Tensor


class Standardise(nn.Module):
    """(x - mean) / std with fixed statistics of the training split; the identity until set."""

    mean: Tensor
    std: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("std", torch.ones(dim))

    def set(self, mean: Tensor, std: Tensor) -> None:
        """Fix the statistics, each [D]; a feature that never varies keeps its scale.

        Raises:
            ValueError: a shape is not [D] or a number is not finite.
        """
        for given in (mean, std):
            if given.shape != self.mean.shape or not torch.isfinite(given).all():
                raise ValueError(f"statistics must be {len(self.mean)} finite numbers")
        self.mean.copy_(mean)
        self.std.copy_(torch.where(std > 0, std, torch.ones_like(std)))

    def forward(self, values: Tensor) -> Tensor:
        return (values - self.mean) / self.std


class ClassifierModule(nn.Module):
    """Base of the torch classifiers.

    Subclasses implement :meth:`outputs`; callers use ``module(features, masks)``.
    """

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.config = config

    def outputs(self, inputs: Mapping[str, Steps]) -> dict[str, Tensor]:
        """Named outputs for complete inputs; ``logits`` [B, C] is the first."""
        raise NotImplementedError

    def forward(
        self, features: Mapping[str, Tensor], masks: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """Logits [B, C], uncalibrated.

        Args:
            features: float32 [B, T, D] by name; names of the config may be left out (no sample
                has them), others are not allowed. Neither mapping is changed.
            masks: bool [B, T] by name, True at real steps, which come first. A feature without a
                mask has no padding.

        Raises:
            ValueError: unknown names, or shapes that do not fit the config or each other.
        """
        return self.outputs(self.complete(features, masks))["logits"]

    def complete(
        self, features: Mapping[str, Tensor], masks: Mapping[str, Tensor] | None = None
    ) -> dict[str, Steps]:
        """All inputs of the config in its order, absent ones as one masked step."""
        masks = masks or {}
        unknown = (features.keys() | masks.keys()) - self.config.features.keys()
        if unknown or not features or masks.keys() - features.keys():
            raise ValueError(
                f"features {sorted(features)} with masks {sorted(masks)} do not fit "
                f"the inputs {list(self.config.features)}"
            )
        first = next(iter(features.values()))
        batch = first.shape[0]
        inputs = {}
        for name, feature in self.config.features.items():
            if name not in features:
                values = first.new_zeros(batch, 1, feature.dim)
                mask = torch.zeros(batch, 1, dtype=torch.bool, device=first.device)
            else:
                values = features[name]
                every = torch.ones(values.shape[:2], dtype=torch.bool, device=values.device)
                mask = masks.get(name, every)
                if values.shape != (batch, mask.shape[-1], feature.dim) or mask.ndim != 2:
                    raise ValueError(
                        f"{name} must be [{batch}, T, {feature.dim}] with a mask [{batch}, T], "
                        f"not {list(values.shape)} with {list(mask.shape)}"
                    )
            inputs[name] = Steps(values, mask)
        return inputs


def clear_padding(steps: Steps) -> Tensor:
    """Values with zeros at padded steps, so that not even a NaN there can reach the result."""
    return torch.where(steps.mask[..., None], steps.values, steps.values.new_zeros(()))
