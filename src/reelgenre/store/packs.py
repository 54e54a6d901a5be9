"""Shards: many videos' features of one extractor in one file that is memory-mapped for training.

A shard is a safetensors file with the tensors ``offsets`` [n + 1] and ``written_ns`` [n] int64,
``content_hash`` and ``sha256`` [n, 32] uint8, ``times`` [N, 2] float32 and ``values`` [N, D]: video
i has the rows ``offsets[i]`` to ``offsets[i + 1]``, which ``sha256[i]`` is the hash of. Shards
are complete in themselves and never change; a video whose features were written anew after the
shard was made is recognised by ``written_ns`` and read from its own file.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reelgenre.files import atomic_write
from reelgenre.store.tensors import CODES, DamagedError, Precision, digest, header, parse

_CODE: Mapping[Precision, str] = {"float16": "F16", "float32": "F32"}


@dataclass(frozen=True)
class Packed:
    """One video's features to be packed.

    Attributes:
        content_hash: of the video.
        steps: T.
        written_ns: when the features were written.
    """

    content_hash: str
    steps: int
    written_ns: int


class Shard:
    """One open shard; its tensors are views into a read-only memory map.

    Raises:
        DamagedError: the file is not a whole shard.
        OSError: it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            if path.stat().st_size == 0:
                raise DamagedError("it is empty")
            # The map stays open as long as any view into it lives, and no longer.
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        tensors, self.metadata = parse(np.frombuffer(mapped, np.uint8))
        try:
            self.values: NDArray[Any] = tensors["values"]
            self.times: NDArray[np.float32] = tensors["times"]
            self._hashes: NDArray[np.uint8] = tensors["content_hash"]
            self._digests: NDArray[np.uint8] = tensors["sha256"]
            self._offsets: list[int] = tensors["offsets"].tolist()
            self._written: list[int] = tensors["written_ns"].tolist()
        except KeyError as error:
            raise DamagedError(f"it has no tensor {error}") from error
        count = len(self._written)
        if (
            len(self._offsets) != count + 1
            or self._hashes.shape != (count, 32)
            or self._digests.shape != (count, 32)
            or self.values.ndim != 2
            or self.times.shape != (len(self.values), 2)
            or self._offsets != sorted(self._offsets)
            or self._offsets[0] != 0
            or self._offsets[-1] != len(self.values)
        ):
            raise DamagedError("its tensors do not fit each other")

    def index(self) -> Iterator[tuple[str, int, slice]]:
        """Content hash, time of writing and rows of every video in it."""
        hashes = self._hashes.tobytes().hex()
        for i, written_ns in enumerate(self._written):
            rows = slice(self._offsets[i], self._offsets[i + 1])
            yield hashes[64 * i : 64 * i + 64], written_ns, rows

    def damaged(self) -> list[str]:
        """Content hashes of the videos whose rows do not match their hash; reads everything."""
        return [
            content_hash
            for i, (content_hash, _, rows) in enumerate(self.index())
            if digest(self.values[rows], self.times[rows]) != self._digests[i].tobytes().hex()
        ]


def write_shard(
    path: Path,
    videos: Sequence[Packed],
    contents: Iterator[tuple[NDArray[Any], NDArray[np.float32], str]],
    *,
    dim: int,
    precision: Precision,
    made_by: str,
) -> None:
    """Write a shard, holding one video in memory at a time.

    Args:
        path: its name; takes it when complete.
        videos: what goes in, in order.
        contents: values [T, D] in ``precision``, times [T, 2] and their sha256, in that order.
        dim: D.
        precision: of the values.
        made_by: the extractor's fingerprint.

    Raises:
        DamagedError: a video's contents have another shape than announced.
    """
    count, total = len(videos), sum(video.steps for video in videos)
    layout: dict[str, tuple[str, tuple[int, ...]]] = {
        "offsets": ("I64", (count + 1,)),
        "written_ns": ("I64", (count,)),
        "content_hash": ("U8", (count, 32)),
        "sha256": ("U8", (count, 32)),
        "times": ("F32", (total, 2)),
        "values": (_CODE[precision], (total, dim)),
    }
    first, begins = header(layout, {"made_by": made_by})
    offsets = np.cumsum([0] + [video.steps for video in videos]).astype(CODES["I64"])
    small = {
        "offsets": offsets.tobytes(),
        "written_ns": np.array([video.written_ns for video in videos], CODES["I64"]).tobytes(),
        "content_hash": bytes.fromhex("".join(video.content_hash for video in videos)),
    }
    with atomic_write(path) as file:
        file.write(first)
        for name, content in small.items():
            file.seek(begins[name])
            file.write(content)
        # Values come last in the file, so they are written in one go; the two tensors before
        # them are known only when all values are.
        file.seek(begins["values"])
        times = np.empty((total, 2), CODES["F32"])
        digests = []
        start = 0
        for video, (values, spans, sha256) in zip(videos, contents, strict=True):
            if values.shape != (video.steps, dim) or values.dtype != CODES[_CODE[precision]]:
                raise DamagedError(f"features of {video.content_hash} have another shape")
            file.write(np.ascontiguousarray(values).data)
            times[start : start + video.steps] = spans
            start += video.steps
            digests.append(sha256)
        file.seek(begins["sha256"])
        file.write(bytes.fromhex("".join(digests)))
        file.seek(begins["times"])
        file.write(times.tobytes())
