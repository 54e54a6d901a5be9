"""The one thing that extractors hand to classifiers and stores: a timed sequence of features."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class FeatureSequence:
    """Features of one modality of one video, one row per step.

    A modality that is not there has no ``FeatureSequence``; it is never a sequence of zeros.

    Attributes:
        values: float32 [T, D], T and D at least 1, all finite.
        times: float32 [T, 2], start and end of each step in seconds of presentation time,
            start <= end. Steps are in order of their start.
        made_by: fingerprint of the extractor (see :class:`reelgenre.extractors.ExtractorSpec`).

    Raises:
        ValueError: shapes, types or order are not as above.
    """

    values: NDArray[np.float32]
    times: NDArray[np.float32]
    made_by: str

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or 0 in self.values.shape or self.values.dtype != np.float32:
            raise ValueError(
                f"values must be float32 [T, D] with T, D >= 1, "
                f"not {self.values.dtype} {list(self.values.shape)}"
            )
        if self.times.shape != (len(self.values), 2) or self.times.dtype != np.float32:
            raise ValueError(
                f"times must be float32 [{len(self.values)}, 2], "
                f"not {self.times.dtype} {list(self.times.shape)}"
            )
        if not np.isfinite(self.values).all() or not np.isfinite(self.times).all():
            raise ValueError("values and times must be finite")
        if (self.times[:, 0] > self.times[:, 1]).any() or (np.diff(self.times[:, 0]) < 0).any():
            raise ValueError("steps must be in order, each with start <= end")
        if not self.made_by:
            raise ValueError("made_by must name the extractor's fingerprint")
        self.values.setflags(write=False)
        self.times.setflags(write=False)

    @property
    def steps(self) -> int:
        """T."""
        return int(self.values.shape[0])

    @property
    def dim(self) -> int:
        """D."""
        return int(self.values.shape[1])

    def __repr__(self) -> str:
        span = f"{self.times[0, 0]:.2f}-{self.times[:, 1].max():.2f} s"
        return f"FeatureSequence([{self.steps}, {self.dim}], {span}, made_by={self.made_by!r})"
