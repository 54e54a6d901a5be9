"""Image towers of the transformers library on torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import (
    CLIPVisionModelWithProjection,
    PreTrainedModel,
    SiglipVisionModel,
    ViTForImageClassification,
)

from reelgenre.errors import WeightsError
from reelgenre.extractors.paper.checkpoints import load_pretrained
from reelgenre.extractors.paper.device import share
from reelgenre.extractors.paper.image_encoder import BATCH
from reelgenre.extractors.paper.image_preprocess import read_json, read_preprocessing
from reelgenre.extractors.shared_batches import Outputs


@dataclass(frozen=True)
class _Kind:
    model: type[PreTrainedModel]
    output: str


_CLIP = _Kind(CLIPVisionModelWithProjection, "image_embeds")
_SIGLIP = _Kind(SiglipVisionModel, "pooler_output")
_VIT = _Kind(ViTForImageClassification, "last_hidden_state")
# By config.json's model_type, of the whole model or of the image tower alone. SigLIP 2 at a fixed
# resolution calls itself siglip; its NaFlex models take pictures of any shape in patches.
_KINDS = {
    "clip": _CLIP,
    "clip_vision_model": _CLIP,
    "siglip": _SIGLIP,
    "siglip_vision_model": _SIGLIP,
    "vit": _VIT,
}
# The text tower and the two numbers that scale similarities to it.
_OTHER_PARTS = r"text_|logit_"


class ImageTower(nn.Module):
    """Prepared pictures to features.

    CLIP's projected embedding, SigLIP's pooled output, or what the classifier of a ViT reads: its
    class token after the last normalisation (Sulun et al., 2024, §3.2.5).

    Args:
        folder: a checkpoint with ``config.json`` and ``preprocessor_config.json``.
        device, dtype: where and in which number format it runs.

    Raises:
        WeightsError: the folder is not a whole checkpoint of one of these models.
    """

    def __init__(
        self, folder: Path, device: torch.device, dtype: torch.dtype = torch.float32
    ) -> None:
        super().__init__()
        model_type = read_json(folder / "config.json").get("model_type")
        if model_type not in _KINDS:
            raise WeightsError(
                f"{folder} holds a model of type {model_type!r}",
                f"Image encoders are of type {', '.join(_KINDS)}",
            )
        kind = _KINDS[model_type]
        self._output = kind.output
        loaded: Any = load_pretrained(
            kind.model, folder, ignore=_OTHER_PARTS, device=device, dtype=dtype
        )
        self.model = loaded.vit if kind is _VIT else loaded
        config = self.model.config
        prepared = read_preprocessing(folder)
        if (prepared.height, prepared.width) != (config.image_size, config.image_size):
            raise WeightsError(
                f"{folder} prepares pictures of {prepared.height} by {prepared.width} pixels for "
                f"a model that takes {config.image_size}",
                "Use the files that were published together",
            )
        self.dim = int(config.projection_dim if kind is _CLIP else config.hidden_size)

    def forward(self, pixels: Tensor) -> Tensor:
        """Features [N, D] of pictures [N, 3, H, W], in the model's number format."""
        features: Tensor = self.model(pixel_values=pixels)[self._output]
        return features[:, 0] if features.ndim == 3 else features


class TorchImageModel:
    """An image tower that takes and gives arrays; see
    :class:`~reelgenre.extractors.paper.image_encoder.ImageModel`.

    Args:
        folder, device, dtype: as for :class:`ImageTower`.
        identity: digest of the weights.
    """

    def __init__(
        self, folder: Path, identity: str, device: torch.device, dtype: torch.dtype
    ) -> None:
        self._tower = ImageTower(folder, device, dtype)
        self._device, self._dtype = device, dtype
        self.dim = self._tower.dim
        self.identity = identity
        self._batches = share(self._compute, device, BATCH)

    def encode(self, pictures: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 [N, 3, H, W] to float32 [N, D]."""
        (features,) = self._batches(pictures)
        return features

    @torch.inference_mode()
    def _compute(self, pictures: NDArray[np.float32]) -> Outputs:
        features = self._tower(torch.from_numpy(pictures).to(self._device, self._dtype))
        # A copy: the class token of a ViT by itself would keep all of its tokens in memory.
        return (features.float().cpu().numpy().copy(),)
