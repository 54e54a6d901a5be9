"""The musicnn tagger (Pons and Serra, 2019): 50 tags, 200 wide before them, 3 s at a time.

Its convolutions look across 40 % and 70 % of the mel bands for timbre, and along half a second to
two seconds for rhythm; densely connected layers and pooling over time follow. The weights come
out of the package ``musicnn``, whose code is neither installed nor run.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from reelgenre.errors import WeightsError
from reelgenre.extractors.base import Extractor
from reelgenre.extractors.loading import Loading
from reelgenre.extractors.paper.device import torch_device
from reelgenre.extractors.paper.mel import mel_filters, power_spectrogram
from reelgenre.extractors.paper.music_tags import MAGNATAGATUNE, MILLION_SONG
from reelgenre.extractors.paper.sound import Cut, SoundExtractor
from reelgenre.extractors.paper.state_dicts import fill
from reelgenre.extractors.paper.tensorflow_checkpoint import read_tensorflow_checkpoint
from reelgenre.extractors.settings import MusicnnSettings

RATE = 16_000
FEATURES = 200
_TAGS = 50
_BANDS = 96
_N_FFT = 512
_HOP = 256
# What it was trained on: 3 s by the rule of its authors. The frames of consecutive windows are
# then those of one spectrogram cut into patches.
_FRAMES = 187
_LENGTH = _FRAMES * _HOP
# TensorFlow's default, which the checkpoints were trained with.
_EPSILON = 1e-3
_TIMBRE_FILTERS, _RHYTHM_FILTERS, _MIDDLE = 204, 51, 64
_TIMBRE_BANDS = (38, 67)
_RHYTHM_FRAMES = (128, 64, 32)
_FRONT = 2 * _TIMBRE_FILTERS + 3 * _RHYTHM_FILTERS
_POOLED = 2 * (_FRONT + 3 * _MIDDLE)


class _Convolution(nn.Module):
    """Convolution of [B, C, T, F], rectified, then normalised."""

    def __init__(self, channels_in: int, channels_out: int, kernel: tuple[int, int]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, kernel)
        self.norm = nn.BatchNorm2d(channels_out, eps=_EPSILON)
        # Time keeps its length; where the kernel is even, the odd zero goes behind.
        self._before, self._after = (kernel[0] - 1) // 2, kernel[0] // 2

    def forward(self, x: Tensor) -> Tensor:
        x = functional.pad(x, (0, 0, self._before, self._after))
        out: Tensor = self.norm(functional.relu(self.conv(x)))
        return out


class Musicnn(nn.Module):
    """Mel spectrogram, front end, middle, pooling over time, 200-wide layer, tags."""

    def __init__(self) -> None:
        super().__init__()
        filters = mel_filters(RATE, _N_FFT, _BANDS, 0.0, RATE / 2, "slaney")
        self.register_buffer("filters", filters, persistent=False)
        self.input_norm = nn.BatchNorm2d(1, eps=_EPSILON)
        self.front = nn.ModuleList(
            [
                *(_Convolution(1, _TIMBRE_FILTERS, (7, bands)) for bands in _TIMBRE_BANDS),
                *(_Convolution(1, _RHYTHM_FILTERS, (frames, 1)) for frames in _RHYTHM_FRAMES),
            ]
        )
        self.middle = nn.ModuleList(
            _Convolution(1, _MIDDLE, (7, width)) for width in (_FRONT, _MIDDLE, _MIDDLE)
        )
        self.pooled_norm = nn.BatchNorm1d(_POOLED, eps=_EPSILON)
        self.dense = nn.Linear(_POOLED, FEATURES)
        self.dense_norm = nn.BatchNorm1d(FEATURES, eps=_EPSILON)
        self.output = nn.Linear(FEATURES, _TAGS)

    def spectrogram(self, samples: Tensor) -> Tensor:
        """Compressed mel power [B, T, 96] of samples float32 [B, N > 256], T at most 187.

        The authors round the power to half precision before they compress it, which we do not.
        """
        power = power_spectrogram(samples, _N_FFT, _HOP)[:, :_FRAMES]
        compressed: Tensor = torch.log10(10_000.0 * (power @ self.get_buffer("filters")) + 1.0)
        return compressed

    def forward(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Activations [B, 200] and probabilities [B, 50] of samples float32 [B, N > 256]."""
        x = self.input_norm(self.spectrogram(samples)[:, None])
        front = torch.cat([conv(x).amax(dim=3) for conv in self.front], dim=1)
        # Channels become the bands of the next layer: [B, C, T] to [B, 1, T, C].
        first = self.middle[0](front.transpose(1, 2)[:, None])[..., 0]
        second = first + self.middle[1](first.transpose(1, 2)[:, None])[..., 0]
        third = second + self.middle[2](second.transpose(1, 2)[:, None])[..., 0]
        layers = torch.cat([front, first, second, third], dim=1)
        # Maximum and mean of a channel stand side by side.
        pooled = torch.stack([layers.amax(dim=2), layers.mean(dim=2)], dim=2).flatten(1)
        features = self.dense_norm(functional.relu(self.dense(self.pooled_norm(pooled))))
        return features, torch.sigmoid(self.output(features))


def load_musicnn(index: Path, data: Path) -> Musicnn:
    """The network with the weights of a checkpoint of TensorFlow.

    Raises:
        WeightsError: the checkpoint is damaged or of another network.
    """
    stored = read_tensorflow_checkpoint(index, data)
    state: dict[str, Tensor] = {}
    # TensorFlow numbers layers of a kind in the order in which they were made.
    convolutions = [f"front.{i}" for i in range(5)] + [f"middle.{i}" for i in range(3)]
    norms = ["input_norm", *(f"{name}.norm" for name in convolutions), "pooled_norm", "dense_norm"]
    for number, name in enumerate(convolutions):
        theirs = _numbered("conv2d", number)
        kernel = _taken(stored, f"{theirs}/kernel", 4, index)
        state[f"{name}.conv.weight"] = kernel.permute(3, 2, 0, 1)
        state[f"{name}.conv.bias"] = _taken(stored, f"{theirs}/bias", 1, index)
    for number, name in enumerate(norms):
        theirs = _numbered("batch_normalization", number)
        for ours, their in (
            ("weight", "gamma"),
            ("bias", "beta"),
            ("running_mean", "moving_mean"),
            ("running_var", "moving_variance"),
        ):
            state[f"{name}.{ours}"] = _taken(stored, f"{theirs}/{their}", 1, index)
        state[f"{name}.num_batches_tracked"] = torch.zeros(())
    for number, name in enumerate(("dense", "output")):
        theirs = _numbered("dense", number)
        state[f"{name}.weight"] = _taken(stored, f"{theirs}/kernel", 2, index).T
        state[f"{name}.bias"] = _taken(stored, f"{theirs}/bias", 1, index)
    return fill(Musicnn(), state, index)


def _numbered(kind: str, number: int) -> str:
    return f"{kind}_{number}" if number else kind


def _taken(stored: Mapping[str, NDArray[np.float32]], name: str, axes: int, path: Path) -> Tensor:
    if name not in stored or stored[name].ndim != axes:
        raise WeightsError(
            f"{path} has no {name} of {axes} axes", "Give a checkpoint of musicnn, not of vgg"
        )
    return torch.from_numpy(stored[name])


def musicnn(settings: MusicnnSettings, loading: Loading) -> Extractor:
    """An alternative for `musicnet` that needs no model hub.

    Raises:
        WeightsError: weights are missing, damaged or of another model.
    """
    weights = loading.weights(settings.weights)
    folder = f"{settings.corpus.upper()}_musicnn"
    try:
        index = weights.files[f"{folder}/.index"]
        data = weights.files[f"{folder}/.data-00000-of-00001"]
    except KeyError as error:
        raise WeightsError(
            f"{weights.artefact.name} has no {error.args[0]}", "Pull the weights again"
        ) from error
    device = torch_device(loading)
    return SoundExtractor(
        settings.modality,
        load_musicnn(index, data).to(device),
        dim=FEATURES,
        cut=Cut(RATE, _LENGTH, settings.overlap, _N_FFT),
        tags=MILLION_SONG if settings.corpus == "msd" else MAGNATAGATUNE,
        identity={
            "kind": "musicnn",
            "weights": weights.artefact.digest,
            "corpus": settings.corpus,
        },
        device=device,
    )
