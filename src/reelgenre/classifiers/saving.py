"""Saving a torch classifier as a folder, whole or not at all, and loading it back (needs torch).

The ONNX file is exported from the very module whose weights are saved and must agree with it
before anything takes its final name.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from os import PathLike
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as dump_safetensors

from reelgenre.classifiers.build import build_module
from reelgenre.classifiers.config import ClassifierConfig
from reelgenre.classifiers.export import export_onnx
from reelgenre.classifiers.folder import (
    CARD_NAME,
    CONFIG_NAME,
    FORMAT_VERSION,
    ONNX_NAME,
    WEIGHTS_NAME,
    Manifest,
    locate,
    read_manifest,
    read_verified,
)
from reelgenre.classifiers.module import ClassifierModule
from reelgenre.errors import ModelError


def save_pretrained(
    folder: Path, module: ClassifierModule, config: ClassifierConfig, card: str
) -> None:
    """Write config, weights, ONNX and model card as a new folder.

    Args:
        folder: must not exist, or be empty; its parent must exist. It appears complete, by one
            rename; an interrupted save leaves it as it was.
        module: the trained network. Its mode and device are left as they are.
        config: what is saved; may differ from ``module.config`` in what does not change the
            network: calibration, thresholds, fingerprints, training facts.
        card: Markdown text of the model card.

    Raises:
        ModelError: the folder holds something, the config is of another network, or the exported
            ONNX does not give the module's logits.
    """
    _same_network(module.config, config)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ModelError(f"{folder} exists and is not empty", "Choose a new folder or remove it")
    weights = {
        name: tensor.detach().to("cpu", torch.float32).contiguous()
        for name, tensor in module.state_dict().items()
    }
    files = {WEIGHTS_NAME: dump_safetensors(weights), ONNX_NAME: export_onnx(module)}
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        sha256={name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
        config=config,
    )
    files |= {CARD_NAME: card.encode(), CONFIG_NAME: manifest.to_json()}
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")
    try:
        temporary.mkdir()
        for name, data in files.items():
            with (temporary / name).open("xb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def load_module(address: str | PathLike[str], revision: str | None = None) -> ClassifierModule:
    """The torch module of a saved classifier, in evaluation mode, on the CPU.

    Raises:
        ModelError: the folder is missing, incomplete or damaged, or its weights do not fit its
            config.
        WeightsError: the hub could not give it.
    """
    folder = locate(address, revision)
    manifest = read_manifest(folder)
    try:
        weights = load_safetensors(read_verified(folder, WEIGHTS_NAME, manifest))
        # Built without memory: only weights that are really in the file get any.
        with torch.device("meta"):
            module = build_module(manifest.config)
        module.load_state_dict(weights, strict=True, assign=True)
    except (SafetensorError, RuntimeError) as error:
        raise ModelError(
            f"{folder / WEIGHTS_NAME} does not fit the config beside it",
            "Save or download the classifier again",
        ) from error
    return module.eval()


def _same_network(built: ClassifierConfig, given: ClassifierConfig) -> None:
    def network(config: ClassifierConfig) -> object:
        features = [
            (name, f.model_copy(update={"fingerprint": None}))
            for name, f in config.features.items()
        ]
        return config.architecture, config.labels, features

    if network(built) != network(given):
        raise ModelError(
            "The config is not that of the module",
            "Save with the module's own config, changed only in calibration, thresholds, "
            "fingerprints or training facts",
        )
