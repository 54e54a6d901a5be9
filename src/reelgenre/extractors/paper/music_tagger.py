"""Choi et al.'s music taggers from their published files.

Three networks go by that name, told apart by what is in the file. The paper's is 64 wide and takes
1366 mel frames at 16 kHz (Sulun et al., 2024, section 3.1.1), which is ``ChoiFcn``; its source is
not named there, so this is an inference.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import h5py
import numpy as np
import torch
from torch import Tensor

from reelgenre.errors import WeightsError
from reelgenre.extractors.base import Extractor
from reelgenre.extractors.loading import Loading
from reelgenre.extractors.paper.device import torch_device
from reelgenre.extractors.paper.music_networks import (
    LENGTH,
    ChoiCnn,
    ChoiCrnn,
    ChoiFcn,
)
from reelgenre.extractors.paper.music_tags import MILLION_SONG
from reelgenre.extractors.paper.sound import Cut, SoundExtractor
from reelgenre.extractors.paper.state_dicts import fill, one_file, read_checkpoint, tensors
from reelgenre.extractors.settings import MusicTaggerSettings

Reading = Literal["trained", "printed"]

_REMEDY = "Give a file that Choi et al. or Won et al. published"
# Tensors of a spectrogram that follow from its settings; some files have them empty.
_FCN_DERIVED = ("spec.spectrogram.window", "spec.mel_scale.fb")


def load_music_tagger(path: Path, reading: Reading = "trained") -> ChoiCnn | ChoiCrnn | ChoiFcn:
    """The network of a file: HDF5 of Keras 1 with Theano's kernels, or a torch state dictionary.

    Args:
        path: the file.
        reading: of the authors' own files. ``trained`` takes them as they were trained:
            standardised spectrograms, and the stored statistics are deviations. ``printed`` does
            what the authors' example does when it prints its tags: spectrograms in decibels as
            they are, and the recurrent network's statistics taken for variances, as Keras after
            1.0.6 does.

    Raises:
        WeightsError: it is neither, damaged, or of another network.
    """
    if not h5py.is_hdf5(path):
        state = tensors(read_checkpoint(path), path)
        return fill(ChoiFcn(), {k: v for k, v in state.items() if k not in _FCN_DERIVED}, path)
    stored = _read_keras(path)
    recurrent = "gru1_W_z" in stored
    try:
        state = _crnn_state(stored, path) if recurrent else _convolutional(stored, 5, path)
    except (RuntimeError, IndexError) as error:
        raise WeightsError(f"{path} has weights of impossible shapes: {error}", _REMEDY) from error
    if recurrent:
        if reading == "printed":
            for name in state:
                if name.endswith(".running_deviation"):
                    state[name] = state[name].sqrt()
        return fill(ChoiCrnn(standardise=reading == "trained"), state, path)
    return fill(ChoiCnn(standardise=reading == "trained"), state, path)


def _read_keras(path: Path) -> dict[str, Tensor]:
    """All weights of a Keras 1 file by name: a group per layer, a data set per weight."""
    stored: dict[str, Tensor] = {}
    try:
        with h5py.File(path, "r") as file:
            for layer in file.values():
                for name in layer.attrs.get("weight_names", ()):
                    text = name.decode() if isinstance(name, bytes) else str(name)
                    stored[text] = torch.from_numpy(np.asarray(layer[text], np.float32))
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path} cannot be read as weights of Keras: {error}", _REMEDY) from None
    return stored


def _taken(stored: Mapping[str, Tensor], name: str, path: Path) -> Tensor:
    if name not in stored:
        raise WeightsError(f"{path} lacks {name}", _REMEDY)
    return stored[name]


def _convolutional(stored: Mapping[str, Tensor], blocks: int, path: Path) -> dict[str, Tensor]:
    """What both networks share, under our names."""

    def take(name: str) -> Tensor:
        return _taken(stored, name, path)

    state = {"output.weight": take("output_W").T, "output.bias": take("output_b")}
    norms = {"norm": "bn_0_freq"}
    for block in range(blocks):
        ours, theirs = f"blocks.{block}", f"conv{block + 1}"
        # Theano convolves, torch correlates: the same numbers with the kernels turned around.
        state[f"{ours}.conv.weight"] = take(f"{theirs}_W").flip(2, 3)
        state[f"{ours}.conv.bias"] = take(f"{theirs}_b")
        norms[f"{ours}.norm"] = f"bn{block + 1}"
    for ours, theirs in norms.items():
        for name in ("gamma", "beta", "running_mean"):
            state[f"{ours}.{name}"] = take(f"{theirs}_{name}")
        state[f"{ours}.running_deviation"] = take(f"{theirs}_running_std")
    return state


def _crnn_state(stored: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    state = _convolutional(stored, 4, path)
    for unit in ("gru1", "gru2"):
        kernel, bias = (
            torch.cat([_taken(stored, f"{unit}_{part}_{gate}", path) for gate in "zrh"], dim=-1)
            for part in ("W", "b")
        )
        gates = [_taken(stored, f"{unit}_U_{gate}", path) for gate in "zr"]
        state[f"{unit}.input.weight"], state[f"{unit}.input.bias"] = kernel.T, bias
        state[f"{unit}.gates.weight"] = torch.cat(gates, dim=-1).T
        state[f"{unit}.candidate.weight"] = _taken(stored, f"{unit}_U_h", path).T
    return state


def music_tagger(settings: MusicTaggerSettings, loading: Loading) -> Extractor:
    """The `musicnet` modality of the paper.

    Raises:
        WeightsError: weights are missing, damaged or of another model.
    """
    weights = loading.weights(settings.weights)
    device = torch_device(loading)
    network = load_music_tagger(one_file(weights, ".h5", ".hdf5", ".pth", ".pt"), settings.reading)
    return SoundExtractor(
        settings.modality,
        network.to(device),
        dim=network.dim,
        cut=Cut(network.rate, LENGTH, settings.overlap, LENGTH),
        tags=MILLION_SONG,
        identity={
            "kind": "music_tagger",
            "weights": weights.artefact.digest,
            "reading": settings.reading,
        },
        device=device,
        # A window's activations take 50 MB. The C library keeps what a CPU freed of them, more with
        # every batch, and one window by itself is computed no slower.
        batch=1 if device.type == "cpu" else 4,
    )
