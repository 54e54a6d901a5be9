"""A data set held in memory, for generated and small data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reelgenre.errors import StoreError
from reelgenre.training.data import FeatureInfo, Split


@dataclass(frozen=True, eq=False)
class MemorySplit:
    """One split; see :class:`reelgenre.training.Split`.

    Attributes:
        ids: N names.
        truth: [N, C].
        values: per feature N arrays [T, D], None where a video does not have it.
    """

    ids: Sequence[str]
    truth: NDArray[np.bool_]
    values: Mapping[str, Sequence[NDArray[Any] | None]]

    @cached_property
    def lengths(self) -> Mapping[str, NDArray[np.int64]]:
        return {
            name: np.array([0 if v is None else len(v) for v in videos], dtype=np.int64)
            for name, videos in self.values.items()
        }

    def read(self, row: int, feature: str) -> NDArray[Any]:
        values = self.values[feature][row]
        if values is None:
            raise StoreError(f"{self.ids[row]} has no {feature}", "Read what lengths name")
        return values


@dataclass(frozen=True, eq=False)
class MemorySource:
    """Named splits; see :class:`reelgenre.training.Source`."""

    labels: tuple[str, ...]
    features: Mapping[str, FeatureInfo]
    splits: Mapping[str, MemorySplit]

    def split(self, name: str) -> Split:
        if name not in self.splits:
            raise StoreError(f"There is no split {name!r}", f"There are {', '.join(self.splits)}")
        return self.splits[name]
