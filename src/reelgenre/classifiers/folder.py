"""The folder of a classifier: its files, its manifest, and how an address becomes such a folder.

    config.json        format version, sha256 of the two files below, the ClassifierConfig
    model.safetensors  weights, for torch
    model.onnx         the same network for onnxruntime, weights inside, dynamic batch and lengths
    README.md          model card

Reading trusts nothing: the config is validated, the files must have the hashes that the manifest
gives (which catches damage and mixed-up files; it is not a signature), and no other file is read.
"""

from __future__ import annotations

import hashlib
import json
import re
from os import PathLike, fspath
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from reelgenre.classifiers.config import ClassifierConfig
from reelgenre.errors import ModelError, WeightsError

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"
ONNX_NAME = "model.onnx"
CARD_NAME = "README.md"
FORMAT_VERSION = 1
MAX_CONFIG_BYTES = 8 << 20
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Manifest(BaseModel):
    """What ``config.json`` holds."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    format_version: Annotated[int, Field(ge=1, le=FORMAT_VERSION)]
    sha256: dict[str, Sha256]
    config: ClassifierConfig

    def to_json(self) -> bytes:
        """Readable UTF-8 JSON."""
        document = self.model_dump(mode="json")
        return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def locate(address: str | PathLike[str], revision: str | None = None) -> Path:
    """The local folder of a classifier.

    Args:
        address: a folder, or the ``owner/name`` of a model on the Hugging Face hub. An existing
            folder wins.
        revision: branch, tag or commit on the hub.

    Raises:
        ModelError: there is no such folder and the address cannot be a hub id, or a revision was
            given for a folder.
        WeightsError: the hub does not answer or does not have it.
    """
    path = Path(address)
    if path.is_dir():
        if revision is not None:
            raise ModelError(
                f"{path} is a folder and has no revision {revision!r}",
                "Leave the revision out, or give a hub id",
            )
        return path
    if not isinstance(address, str) or not HUB_ID.fullmatch(address):
        raise ModelError(
            f"There is no classifier folder {fspath(address)!r}",
            "Give an existing folder or a hub id of the form owner/name",
        )
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        found = snapshot_download(
            address,
            revision=revision,
            allow_patterns=[CONFIG_NAME, WEIGHTS_NAME, ONNX_NAME, CARD_NAME],
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise WeightsError(
            f"{address!r} is no folder here and could not be fetched from the hub "
            f"({type(error).__name__})",
            "Check the name and the revision, the network and HF_HUB_OFFLINE, "
            "or download the model and give its folder",
        ) from error
    return Path(found)


def read_manifest(folder: Path) -> Manifest:
    """The validated ``config.json``.

    Raises:
        ModelError: it is missing, too large, damaged, written by a newer version, or says
            something that this version does not know.
    """
    path = folder / CONFIG_NAME
    text = _read(path, MAX_CONFIG_BYTES)
    try:
        document = json.loads(text)
        version = document.get("format_version") if isinstance(document, dict) else None
        if isinstance(version, int) and version > FORMAT_VERSION:
            raise ModelError(
                f"{path} has format version {version}; this version reads up to {FORMAT_VERSION}",
                "Update reelgenre",
            )
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "its top"
        raise ModelError(
            f"{path} is not a valid classifier config: {where}: {first['msg']}",
            "Save or download the classifier again",
        ) from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is not JSON", "Save or download the classifier again") from error


def read_verified(folder: Path, name: str, manifest: Manifest) -> bytes:
    """The bytes of one file, which have the manifest's hash.

    Raises:
        ModelError: the file is missing, or is not the one that was saved with this config.
    """
    data = _read(folder / name)
    if hashlib.sha256(data).hexdigest() != manifest.sha256.get(name):
        raise ModelError(
            f"{folder / name} is not the file that was saved with this {CONFIG_NAME}",
            "Save or download the whole classifier folder again",
        )
    return data


def _read(path: Path, limit: int | None = None) -> bytes:
    try:
        if limit is not None and path.stat().st_size > limit:
            raise ModelError(
                f"{path} is larger than {limit} bytes", "Save or download the classifier again"
            )
        return path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"{path} cannot be read ({error.strerror})",
            f"A classifier folder holds {CONFIG_NAME}, {WEIGHTS_NAME} and {ONNX_NAME}",
        ) from error
