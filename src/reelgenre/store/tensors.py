"""Feature files: safetensors with the values, the times and a hash of both.

Layout: eight bytes with the length of the header, the header as JSON, then the tensors' bytes
without gaps (the safetensors format). Reading goes through :func:`parse`, which makes views into
whatever holds the bytes, a memory map included, and trusts nothing the header says.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from reelgenre.sequences import FeatureSequence

Precision = Literal["float16", "float32"]
CODES: dict[str, np.dtype[Any]] = {
    "F16": np.dtype("<f2"),
    "F32": np.dtype("<f4"),
    "I64": np.dtype("<i8"),
    "U8": np.dtype("u1"),
}
"""Tensor types that feature files and shards use, by their name in safetensors headers."""

MAX_HEADER = 1 << 20


class DamagedError(ValueError):
    """Bytes are not the tensors that they should be."""


def parse(data: NDArray[np.uint8]) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Tensors, as views into ``data``, and the metadata of a safetensors file.

    Raises:
        DamagedError: it is cut short, or its header is not one.
    """
    if len(data) < 8:
        raise DamagedError("it is cut short")
    length = int.from_bytes(data[:8].tobytes(), "little")
    start = 8 + length
    if length > MAX_HEADER or start > len(data):
        raise DamagedError("it is cut short or no safetensors file")
    tensors: dict[str, NDArray[Any]] = {}
    used = start
    try:
        header: dict[str, Any] = json.loads(data[8:start].tobytes())
        metadata: dict[str, str] = dict(header.pop("__metadata__", {}))
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            dtype, shape = CODES[entry["dtype"]], tuple(entry["shape"])
            if not 0 <= begin <= end <= len(data) - start or min(shape, default=1) < 0:
                raise DamagedError("it is cut short")
            if math.prod(shape) * dtype.itemsize != end - begin:
                raise DamagedError(f"{name} has another size than its header says")
            used = max(used, start + end)
            tensors[name] = data[start + begin : start + end].view(dtype).reshape(shape)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        if isinstance(error, DamagedError):
            raise
        raise DamagedError("its header is not that of a safetensors file") from error
    if used != len(data):
        raise DamagedError("it is longer than its header says")
    return tensors, metadata


def header(
    tensors: Mapping[str, tuple[str, tuple[int, ...]]], metadata: Mapping[str, str]
) -> tuple[bytes, dict[str, int]]:
    """The first bytes of a safetensors file that is written piece by piece.

    Args:
        tensors: type code and shape by name, in the order of their bytes.
        metadata: texts for the header.

    Returns:
        The bytes, and where in the file each tensor begins.
    """
    entries: dict[str, Any] = {"__metadata__": dict(metadata)}
    position = 0
    begins = {}
    for name, (code, shape) in tensors.items():
        size = math.prod(shape) * CODES[code].itemsize
        entries[name] = {
            "dtype": code,
            "shape": list(shape),
            "data_offsets": [position, position + size],
        }
        begins[name] = position
        position += size
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    start = 8 + len(text)
    first = len(text).to_bytes(8, "little") + text
    return first, {name: start + begin for name, begin in begins.items()}


def digest(values: NDArray[Any], times: NDArray[np.float32]) -> str:
    """sha256 over the bytes of the values and the times."""
    sha = hashlib.sha256(np.ascontiguousarray(values).data)
    sha.update(np.ascontiguousarray(times).data)
    return sha.hexdigest()


def as_stored(sequence: FeatureSequence, precision: Precision) -> NDArray[Any]:
    """The values in a store's precision.

    Raises:
        ValueError: a value is too large for float16.
    """
    with np.errstate(over="ignore"):
        values: NDArray[Any] = sequence.values.astype(precision)
    if not np.isfinite(values).all():
        largest = float(np.abs(sequence.values).max())
        raise ValueError(f"{sequence.made_by} has values up to {largest:.3g}, beyond {precision}")
    return values


def encode(sequence: FeatureSequence, precision: Precision, about: Mapping[str, str]) -> bytes:
    """A feature file.

    Args:
        sequence: what to store.
        precision: of the values; times are always float32.
        about: facts on the video, for people and for repairing a manifest.

    Raises:
        ValueError: a value is too large for float16.
    """
    values = as_stored(sequence, precision)
    metadata = {
        **about,
        "made_by": sequence.made_by,
        "sha256": digest(values, sequence.times),
    }
    tensors = {
        "values": np.ascontiguousarray(values),
        "times": np.ascontiguousarray(sequence.times),
    }
    return save(tensors, metadata)


def decode(data: bytes) -> tuple[NDArray[Any], NDArray[np.float32], dict[str, str]]:
    """Values as stored [T, D], times [T, 2] and metadata of a feature file, its hash checked.

    Raises:
        DamagedError: the bytes are not a whole, unchanged feature file.
    """
    tensors, metadata = parse(np.frombuffer(data, np.uint8))
    if tensors.keys() != {"values", "times"}:
        raise DamagedError("it does not hold values and times")
    values, times = tensors["values"], tensors["times"]
    if digest(values, times) != metadata.get("sha256"):
        raise DamagedError("its contents do not match its hash")
    if values.ndim != 2 or times.shape != (len(values), 2):
        raise DamagedError("its tensors do not have the shapes of features")
    return values, times, metadata
