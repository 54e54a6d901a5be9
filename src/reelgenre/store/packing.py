"""Bringing a store's features into shards, and finding them there."""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from reelgenre.errors import StoreError
from reelgenre.hooks import Hook
from reelgenre.store.layout import SHARDS, SUFFIX, extractor_folder
from reelgenre.store.manifest import Outcome
from reelgenre.store.packs import Packed, Shard, write_shard
from reelgenre.store.storage import Storage
from reelgenre.store.tensors import DamagedError

if TYPE_CHECKING:
    from reelgenre.store.store import FeatureStore

Location = tuple[Shard, int, slice]
"""A shard, when the features in it were written, and their rows."""


def pack(
    store: FeatureStore, extractors: Sequence[str], shard_bytes: int, hook: Hook
) -> tuple[Path, ...]:
    """Write what is not in shards yet; see :meth:`FeatureStore.pack`."""
    folder = store.writable_folder()
    work = {
        fingerprint: [
            (content_hash, outcome)
            for content_hash, outcome in store.outcomes(fingerprint).items()
            if outcome.status == "stored" and store.locate(content_hash, fingerprint) is None
        ]
        for fingerprint in extractors
    }
    total = sum(map(len, work.values()))
    count = itertools.count(1)

    def contents(
        fingerprint: str, videos: Iterable[Packed]
    ) -> Iterator[tuple[NDArray[Any], NDArray[np.float32], str]]:
        for video in videos:
            yield store.read(video.content_hash, fingerprint)
            hook("pack", next(count), total)

    made = []
    for fingerprint, outcomes in work.items():
        place = folder / SHARDS / extractor_folder(fingerprint)
        for dim, videos in _groups(outcomes, shard_bytes // np.dtype(store.precision).itemsize):
            path = place / f"{time.time_ns():020d}-{secrets.token_hex(4)}{SUFFIX}"
            try:
                place.mkdir(parents=True, exist_ok=True)
                write_shard(
                    path,
                    videos,
                    contents(fingerprint, videos),
                    dim=dim,
                    precision=store.precision,
                    made_by=fingerprint,
                )
            except OSError as error:
                raise StoreError(
                    f"{place} cannot be written ({error.strerror})",
                    "Free space or check its permissions; shards made before are complete",
                ) from error
            made.append(path)
    return tuple(made)


def index(storage: Storage, extractors: Iterable[str]) -> dict[str, dict[str, Location]]:
    """Where packed videos are, by fingerprint and content hash; nothing for remote stores.

    Raises:
        StoreError: a shard is damaged.
    """
    if storage.local is None:
        return {}
    found: dict[str, dict[str, Location]] = {}
    for fingerprint in extractors:
        place = f"{SHARDS}/{extractor_folder(fingerprint)}"
        entries = found[fingerprint] = {}
        for name in shard_names(storage, place):
            path = storage.local / place / name
            try:
                shard = Shard(path)
            except (DamagedError, OSError) as error:
                raise StoreError(
                    f"the shard {path} is damaged: {error}",
                    "`reelgenre store verify --repair` sets it aside; then pack again",
                ) from error
            for content_hash, written_ns, rows in shard.index():
                entries[content_hash] = shard, written_ns, rows
    return found


def shard_names(storage: Storage, place: str) -> list[str]:
    """Names of the complete shards in a folder, oldest first."""
    return [
        name for name in storage.names(place) if name.endswith(SUFFIX) and not name.startswith(".")
    ]


def _groups(
    outcomes: Iterable[tuple[str, Outcome]], limit: int
) -> Iterator[tuple[int, list[Packed]]]:
    """Runs of videos whose values stay within ``limit`` numbers, at least one video each."""
    group: list[Packed] = []
    width = size = 0
    for content_hash, outcome in outcomes:
        dim, steps = cast("int", outcome.dim), cast("int", outcome.steps)
        if group and (dim != width or size + steps * dim > limit):
            yield width, group
            group, size = [], 0
        width = dim
        size += steps * dim
        group.append(Packed(content_hash, steps, outcome.written_ns))
    if group:
        yield width, group
