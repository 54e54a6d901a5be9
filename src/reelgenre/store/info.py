"""Numbers on a store, for people and scripts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from reelgenre.store.tensors import Precision

if TYPE_CHECKING:
    from reelgenre.store.reader import StoreReader


@dataclass(frozen=True)
class ExtractorInfo:
    """What a store has of one extractor.

    Attributes:
        fingerprint: of the extractor.
        dim: D; None where nothing is stored.
        stored, absent, failed: numbers of videos.
        steps: sum of T over the stored videos.
        packed: how many of the stored videos are in shards.
    """

    fingerprint: str
    dim: int | None
    stored: int
    absent: int
    failed: int
    steps: int
    packed: int


@dataclass(frozen=True)
class StoreInfo:
    """What a store has.

    Attributes:
        address: where it is.
        precision: of the values on disk.
        videos: how many it knows.
        labelled: of how many the labels are known.
        splits: number of videos by split; those in none are not counted.
        extractors: in the order in which they came.
        value_bytes: size of all stored values.
    """

    address: str
    precision: Precision
    videos: int
    labelled: int
    splits: dict[str, int]
    extractors: tuple[ExtractorInfo, ...]
    value_bytes: int


def summarise(store: StoreReader) -> StoreInfo:
    """Numbers on the whole store; reads no features."""
    extractors = []
    value_bytes = 0
    for fingerprint in store.extractors:
        outcomes = store.outcomes(fingerprint)
        stored = {key: o for key, o in outcomes.items() if o.status == "stored"}
        statuses = Counter(o.status for o in outcomes.values())
        steps = sum(cast("int", o.steps) for o in stored.values())
        dim = next((o.dim for o in stored.values()), None)
        packed = sum(store.locate(key, fingerprint) is not None for key in stored)
        value_bytes += steps * (dim or 0) * np.dtype(store.precision).itemsize
        extractors.append(
            ExtractorInfo(
                fingerprint, dim, len(stored), statuses["absent"], statuses["failed"], steps, packed
            )
        )
    videos = store.videos.values()
    splits = Counter(video.split for video in videos if video.split is not None)
    return StoreInfo(
        store.storage.address,
        store.precision,
        len(videos),
        sum(video.labels is not None for video in videos),
        dict(sorted(splits.items())),
        tuple(extractors),
        value_bytes,
    )
