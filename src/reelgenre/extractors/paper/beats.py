"""BEATs (Chen et al., 2023): a vector per window of sound, averaged over its patches."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from reelgenre.errors import WeightsError
from reelgenre.extractors.base import Extractor
from reelgenre.extractors.loading import Loading
from reelgenre.extractors.paper.audioset import audioset_classes
from reelgenre.extractors.paper.beats_network import BANDS, BeatsConfig, BeatsEncoder
from reelgenre.extractors.paper.device import choose_dtype, torch_device
from reelgenre.extractors.paper.mel import KaldiFilterBank
from reelgenre.extractors.paper.sound import Cut, SoundExtractor
from reelgenre.extractors.paper.state_dicts import fill, one_file, read_checkpoint, tensors
from reelgenre.extractors.settings import BeatsSettings

RATE = KaldiFilterBank.RATE
# The checkpoints were trained on the range of 16-bit samples.
_FULL_SCALE = 32_768.0
_SHARED = re.compile(r"encoder\.layers\.[1-9]\d*\.self_attn\.relative_attention_bias\.weight")
_BIAS = "encoder.layers.0.self_attn.relative_attention_bias.weight"


class BeatsNetwork(nn.Module):
    """Filter bank and encoder; a window's vector is the mean over its patches.

    Args:
        encoder: the transformer.
        tags: ids of its classes; empty where it has none.
    """

    def __init__(self, encoder: BeatsEncoder, tags: list[str]) -> None:
        super().__init__()
        self.bank = KaldiFilterBank(BANDS, "povey")
        self.encoder = encoder
        self.tags = tags

    def forward(self, samples: Tensor) -> tuple[Tensor, Tensor | None]:
        """Vectors [B, D] and probabilities [B, K] of samples float32 [B, N]."""
        states, probabilities = self.encoder(self.bank(samples * _FULL_SCALE))
        return states.float().mean(dim=1), probabilities


def load_beats(path: Path) -> tuple[BeatsNetwork, BeatsConfig]:
    """A published checkpoint, pre-trained or fine-tuned: ``{"cfg": ..., "model": ...}``.

    Raises:
        WeightsError: it is not such a checkpoint, or of a kind of network that was never published.
    """
    content = read_checkpoint(path)
    config = _config(content.get("cfg"), path)
    state = tensors(content.get("model"), path)
    # Every layer names the shared table; it is stored once.
    for name in [name for name in state if _SHARED.fullmatch(name)]:
        if not torch.equal(state.pop(name), state.get(_BIAS, torch.empty(0))):
            raise WeightsError(
                f"{path} has a table of position biases for each layer, where one is shared",
                "Give a checkpoint that BEATs's authors published",
            )
    encoder = fill(BeatsEncoder(config), state, path)
    return BeatsNetwork(encoder, _tags(content, config)).eval(), config


def _config(told: Any, path: Path) -> BeatsConfig:
    fields = dataclasses.fields(BeatsConfig)
    problem = ""
    if not isinstance(told, dict):
        problem = "no cfg"
    elif missing := [field.name for field in fields if field.name not in told]:
        problem = f"no {missing[0]} in its cfg"
    elif told.get("activation_fn", "gelu") != "gelu" or told.get("layer_norm_first"):
        problem = "another activation or order of norms than BEATs"
    elif not told.get("relative_position_embedding") or told["input_patch_size"] < 1:
        problem = "no relative positions or no patches"
    if problem:
        raise WeightsError(f"{path} has {problem}", "Give a checkpoint that BEATs's authors made")
    kinds = {"int": int, "bool": bool}
    values = {field.name: kinds[str(field.type)](told[field.name]) for field in fields}
    return BeatsConfig(**values)


def _tags(content: Any, config: BeatsConfig) -> list[str]:
    """Ids of AudioSet's classes, in the order in which the fine-tuned checkpoint tells them."""
    if not config.finetuned_model:
        return []
    names = content.get("label_dict", {})
    return [str(names.get(index, index)) for index in range(config.predictor_class)]


def beats(settings: BeatsSettings, loading: Loading) -> Extractor:
    """An alternative for `audiotag`, and the `beats` modality of the published release.

    Raises:
        WeightsError: weights are missing, damaged or of another model.
        RecipeError: the precision cannot be had here.
    """
    weights = loading.weights(settings.weights)
    device = torch_device(loading)
    names = audioset_classes(weights)
    network, config = load_beats(one_file(weights, ".pt", ".pth"))
    network.encoder.to(choose_dtype(settings.precision, device))
    # One row of patches.
    least = KaldiFilterBank.FRAME + (config.input_patch_size - 1) * KaldiFilterBank.SHIFT
    return SoundExtractor(
        settings.modality,
        network.to(device),
        dim=config.encoder_embed_dim,
        cut=Cut(RATE, round(settings.window_s * RATE), settings.overlap, least),
        tags=[names.get(tag, tag) for tag in network.tags],
        identity={"kind": "beats", "weights": weights.artefact.digest},
        device=device,
    )
