"""The Audio Spectrogram Transformer (Gong et al., 2021) from the transformers library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import ASTForAudioClassification

from reelgenre.errors import WeightsError
from reelgenre.extractors.base import Extractor
from reelgenre.extractors.loading import Loading
from reelgenre.extractors.paper.checkpoints import load_pretrained
from reelgenre.extractors.paper.device import choose_dtype, torch_device
from reelgenre.extractors.paper.mel import KaldiFilterBank
from reelgenre.extractors.paper.sound import Cut, SoundExtractor
from reelgenre.extractors.settings import AstSettings

RATE = KaldiFilterBank.RATE
_WINDOW_S = 10.24
_REMEDY = "Give a folder of the transformers library with an ASTForAudioClassification"


class AstNetwork(nn.Module):
    """Filter bank, transformer, and the classifier on top.

    The filter bank is that of ``ASTFeatureExtractor``, in batches and on the model's device.

    Args:
        folder: with the model and its ``preprocessor_config.json``.
        device, dtype: of the transformer; the filter bank is computed in single precision.

    Raises:
        WeightsError: the folder holds another model or not all of it.
    """

    def __init__(self, folder: Path, device: torch.device, dtype: torch.dtype) -> None:
        super().__init__()
        told = _told(folder / "preprocessor_config.json")
        if (told.get("sampling_rate", RATE), told.get("feature_size", 1)) != (RATE, 1):
            raise WeightsError(f"{folder} does not take mono sound at {RATE} Hz", _REMEDY)
        self.model = load_pretrained(ASTForAudioClassification, folder, device=device, dtype=dtype)
        config = self.model.config
        bands = int(told.get("num_mel_bins", 128))
        self._frames = int(told.get("max_length", 1024))
        if (bands, self._frames) != (config.num_mel_bins, config.max_length):
            raise WeightsError(f"the model and the preprocessor in {folder} differ", _REMEDY)
        # AudioSet's statistics, where the folder states none.
        self._mean = float(told.get("mean", -4.2677393))
        self._deviation = float(told.get("std", 4.5689974))
        self._normalise = bool(told.get("do_normalize", True))
        self.bank = KaldiFilterBank(bands, "hann").to(device)

    @property
    def dim(self) -> int:
        """Width of its vectors."""
        return int(self.model.config.hidden_size)

    @property
    def tags(self) -> list[str]:
        """Names of its classes."""
        names: Any = self.model.config.id2label
        return [str(names[index]) for index in range(len(names))]

    def spectrogram(self, samples: Tensor) -> Tensor:
        """Normalised energies [B, frames, bands] of samples float32 [B, N >= 400]."""
        energies = self.bank(samples)[:, : self._frames]
        energies = functional.pad(energies, (0, 0, 0, self._frames - energies.shape[1]))
        return (energies - self._mean) / (2 * self._deviation) if self._normalise else energies

    def forward(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Mean of the two class tokens [B, D] and probabilities [B, K] of samples [B, N]."""
        encoder = self.model.audio_spectrogram_transformer
        vectors = encoder(self.spectrogram(samples).to(self.model.dtype)).pooler_output
        return vectors, torch.sigmoid(self.model.classifier(vectors).float())


def _told(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path} cannot be read ({error})", _REMEDY) from error
    if not isinstance(content, dict):
        raise WeightsError(f"{path} is not a JSON object", _REMEDY)
    return content


def ast(settings: AstSettings, loading: Loading) -> Extractor:
    """An alternative for `audiotag`, and the sound of the paper's baseline.

    Raises:
        WeightsError: weights are missing, damaged or of another model.
        RecipeError: the precision cannot be had here.
    """
    weights = loading.weights(settings.weights)
    device = torch_device(loading)
    network = AstNetwork(weights.folder, device, choose_dtype(settings.precision, device)).eval()
    return SoundExtractor(
        settings.modality,
        network,
        dim=network.dim,
        cut=Cut(RATE, round(_WINDOW_S * RATE), settings.overlap, KaldiFilterBank.FRAME),
        tags=network.tags,
        identity={"kind": "ast", "weights": weights.artefact.digest},
        device=device,
        batch=4,
    )
