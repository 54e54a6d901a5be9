"""Weights that an ONNX file leaves to a published checkpoint: read from it, not shipped with us.

Such a file names, under ``stored_convolutions`` in its metadata, the convolutions whose weights it
lacks, as JSON: the names of weight and bias in the graph, the shape in which the checkpoint keeps
the weight (height, width, channels in, channels out: TensorFlow's order), its place in bytes, and
the places of the batch normalisation behind it (scale, shift, mean, variance). The numbers are
little-endian float32. The checkpoint is never unpickled: its hash is pinned, so its numbers are
where they are.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reelgenre.errors import WeightsError
from reelgenre.protobuf import LENGTH_DELIMITED, fields

METADATA = "stored_convolutions"
NORM_EPSILON = 1e-3
"""Of the batch normalisations of EfficientNet."""

# Fields of onnx.ModelProto and of StringStringEntryProto (onnx.proto3).
_METADATA_PROPS, _KEY, _VALUE = 14, 1, 2


def stored_weights(model: bytes, checkpoint: Path) -> dict[str, NDArray[np.float32]]:
    """The weights and biases that an ONNX file lacks, each normalisation folded into them.

    Args:
        model: what is in the ONNX file.
        checkpoint: the file that it takes them from, verified.

    Returns:
        By name in the graph: weights [out, in, height, width], biases [out].

    Raises:
        WeightsError: the ONNX file names no such weights, or the checkpoint ends before them.
    """
    try:
        rows = json.loads(_metadata(model)[METADATA])
        content = checkpoint.read_bytes()
        found: dict[str, NDArray[np.float32]] = {}
        for row in rows:
            found[row["weight"]], found[row["bias"]] = _folded(row, content)
    except (KeyError, ValueError) as error:
        raise WeightsError(
            f"the image encoder does not go with {checkpoint}: {error}",
            "Install the package or copy the profile again",
        ) from error
    return found


def _folded(row: dict[str, Any], content: bytes) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    shape = tuple(row["shape"])
    kernel = _numbers(content, row["at"], int(np.prod(shape))).reshape(shape).transpose(3, 2, 0, 1)
    if kernel.shape[0] == 1:  # a depthwise kernel keeps its channels where others keep "in"
        kernel = kernel.transpose(1, 0, 2, 3)
    scale, shift, mean, variance = (
        _numbers(content, at, len(kernel)).astype(np.float64) for at in row["norm"]
    )
    factor = scale / np.sqrt(variance + NORM_EPSILON)
    return (
        np.ascontiguousarray(kernel * factor[:, None, None, None], dtype=np.float32),
        (shift - mean * factor).astype(np.float32),
    )


def _numbers(content: bytes, at: int, count: int) -> NDArray[np.float32]:
    return np.frombuffer(content, "<f4", count, at)


def _metadata(model: bytes) -> dict[str, str]:
    entries = {}
    for number, wire_type, entry in fields(memoryview(model)):
        if number == _METADATA_PROPS and wire_type == LENGTH_DELIMITED:
            assert isinstance(entry, memoryview)
            parts = {key: value for key, _, value in fields(entry)}
            entries[_text(parts[_KEY])] = _text(parts[_VALUE])
    return entries


def _text(value: int | memoryview) -> str:
    assert isinstance(value, memoryview)
    return bytes(value).decode()
