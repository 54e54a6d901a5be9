"""PANNs Cnn14 with the 128-wide embedding (Kong et al., 2020): sound events, 3 s at a time.

The module's tensors carry the names of the published checkpoint ``Cnn14_emb128_mAP=0.412.pth``
(Zenodo 3576403), whose layout was read off the public code; the code here is our own.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from reelgenre.errors import WeightsError
from reelgenre.extractors.base import Extractor
from reelgenre.extractors.loading import Loading
from reelgenre.extractors.paper.audioset import CLASSES, audioset_classes
from reelgenre.extractors.paper.device import torch_device
from reelgenre.extractors.paper.mel import decibels, power_spectrogram
from reelgenre.extractors.paper.sound import Cut, SoundExtractor
from reelgenre.extractors.paper.state_dicts import fill, one_file, read_checkpoint, tensors
from reelgenre.extractors.settings import PannsSettings

RATE = 32_000
EMBEDDING = 128
_LENGTH = 3 * RATE
_N_FFT = 1024
_HOP = 320
_BANDS = 64
# Five halvings of the time axis must leave one frame.
_LEAST = 31 * _HOP
# The same Fourier transform in float32 differs by no more than this between implementations.
_SAME = 1e-4
_STFT = "spectrogram_extractor.stft"


class _ConvBlock(nn.Module):
    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.bn1(self.conv1(x)))
        x = functional.relu(self.bn2(self.conv2(x)))
        return x


class _FilterBank(nn.Module):
    """The mel filters, which the checkpoint carries."""

    def __init__(self) -> None:
        super().__init__()
        self.melW = nn.Parameter(torch.zeros(_N_FFT // 2 + 1, _BANDS))

    def forward(self, power: Tensor) -> Tensor:
        return decibels(power @ self.melW)


class Cnn14(nn.Module):
    """Log-mel spectrogram, six pairs of convolutions, pooling, embedding, 527 tags.

    Args:
        width: channels of the first block, 64 as published; each next block has twice as many.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.logmel_extractor = _FilterBank()
        self.bn0 = nn.BatchNorm2d(_BANDS)
        channels = [1, *(width << i for i in range(6))]
        for i in range(6):
            self.add_module(f"conv_block{i + 1}", _ConvBlock(channels[i], channels[i + 1]))
        self.fc1 = nn.Linear(channels[-1], EMBEDDING)
        self.fc_audioset = nn.Linear(EMBEDDING, CLASSES)

    def forward(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings [B, 128] and probabilities [B, 527] of samples float32 [B, N >= 9920]."""
        x = self.logmel_extractor(power_spectrogram(samples, _N_FFT, _HOP))
        # The first normalisation is over mel bands, so they stand where channels do.
        x = self.bn0(x[:, :, :, None].transpose(1, 2)).permute(0, 3, 2, 1)
        for i in range(1, 6):
            x = functional.avg_pool2d(self.get_submodule(f"conv_block{i}")(x), 2)
        x = self.get_submodule("conv_block6")(x).mean(dim=3)
        x = x.amax(dim=2) + x.mean(dim=2)
        embedding = functional.relu(self.fc1(x))
        return embedding, torch.sigmoid(self.fc_audioset(embedding))


def load_cnn14(path: Path) -> Cnn14:
    """The published checkpoint, shape by shape.

    The checkpoint also carries the windowed Fourier transform as convolution kernels; ours must
    be the same one.

    Raises:
        WeightsError: it is not a Cnn14 with the 128-wide embedding.
    """
    state = tensors(read_checkpoint(path).get("model"), path)
    for part in ("real", "imag"):
        kernel = state.pop(f"{_STFT}.conv_{part}.weight", None)
        ours = _fourier_kernel(part)
        if kernel is None or kernel.shape != ours.shape or (kernel - ours).abs().max() > _SAME:
            raise WeightsError(
                f"{path} was not trained on spectrograms with {_N_FFT} points and a Hann window",
                "Give a checkpoint of Cnn14 with the 128-wide embedding at 32 kHz",
            )
    first = state.get("conv_block1.conv1.weight")
    return fill(Cnn14(64 if first is None else len(first)), state, path)


def _fourier_kernel(part: str) -> Tensor:
    bins, times = torch.arange(_N_FFT // 2 + 1), torch.arange(_N_FFT)
    # Turns modulo one keep the angle exact in spite of its size.
    angle = (bins[:, None] * times % _N_FFT) * (2.0 * torch.pi / _N_FFT)
    window = torch.hann_window(_N_FFT, dtype=torch.float64)
    wave = torch.cos(angle.double()) if part == "real" else -torch.sin(angle.double())
    return (wave * window).float()[:, None]


def panns(settings: PannsSettings, loading: Loading) -> Extractor:
    """The `audiotag` modality of the paper.

    Raises:
        WeightsError: weights are missing, damaged or of another model.
    """
    weights = loading.weights(settings.weights)
    device = torch_device(loading)
    network = load_cnn14(one_file(weights, ".pth", ".pt")).to(device)
    return SoundExtractor(
        settings.modality,
        network,
        dim=EMBEDDING,
        cut=Cut(RATE, _LENGTH, settings.overlap, _LEAST),
        tags=tuple(audioset_classes(weights).values()),
        identity={"kind": "panns", "weights": weights.artefact.digest},
        device=device,
    )
