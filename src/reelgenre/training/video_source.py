"""Video files as a data set for training, without a store.

Backbones are frozen and extraction is deterministic, so a video's features are the same in every
epoch. They are extracted once, when their split is first asked for, and kept in memory: training
gives the same weights as from a store that was filled by the same extractors.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reelgenre.datasets import LabelTable
from reelgenre.errors import MediaError, RecipeError, StoreError
from reelgenre.extractors import Extraction, Extractor, Text, TextExtractor
from reelgenre.extractors.running import read_video
from reelgenre.hooks import Hook, no_hook
from reelgenre.media import MediaOptions
from reelgenre.store import Precision, Video
from reelgenre.store.tensors import as_stored
from reelgenre.training.data import FeatureInfo, Split
from reelgenre.training.memory import MemorySplit
from reelgenre.training.store_source import label_order

logger = logging.getLogger("reelgenre.training")


class VideoSource:
    """The labelled files of a table; see :class:`reelgenre.training.Source`.

    A file that cannot be decoded has no feature, and a warning is logged.

    Args:
        table: paths of files, their labels and splits.
        extractors: what to take from each file, loaded once.
        base: folder that relative paths start from.
        options: how files are decoded.
        precision: of the values in memory; equal to that of a store, training is equal, too.
        hook: told ``extract`` with the number of videos of a split done and their total.

    Raises:
        StoreError: the table has no labels.
        RecipeError: there is no extractor, or one reads what others found.
    """

    def __init__(
        self,
        table: LabelTable,
        extractors: Sequence[Extractor | TextExtractor],
        *,
        base: Path = Path(),
        options: MediaOptions | None = None,
        precision: Precision = "float16",
        hook: Hook = no_hook,
    ) -> None:
        self._labels = label_order(set(table.classes), "The table")
        self._table = table
        for extractor in extractors:
            if isinstance(extractor.spec.needs, Text):
                raise RecipeError(
                    f"{extractor.spec.name} reads what other extractors found, not videos",
                    "Fill a store first, and train on that",
                )
        if not extractors:
            raise RecipeError("There is no extractor to read videos with", "Name a feature")
        self._extractors = tuple(extractors)
        self._base = base
        self._options = options or MediaOptions()
        self._precision: Precision = precision
        self._hook = hook
        self._splits: dict[str, MemorySplit] = {}

    @property
    def labels(self) -> tuple[str, ...]:
        return self._labels

    @property
    def features(self) -> Mapping[str, FeatureInfo]:
        specs = [extractor.spec for extractor in self._extractors]
        return {spec.name: FeatureInfo(spec.dim, spec.fingerprint) for spec in specs}

    def split(self, name: str) -> Split:
        """The videos of a split; decodes and extracts them all when first called.

        Raises:
            StoreError: the table has no such split, a file is missing, or a value is too large
                for the precision.
        """
        if name not in self._splits:
            self._splits[name] = self._extract_split(name)
        return self._splits[name]

    def _extract_split(self, name: str) -> MemorySplit:
        # Known by content and sorted as in a store, on which order and batches depend.
        found: dict[str, Video] = {}
        for entry in self._table.videos:
            if entry.split == name:
                video = Video.from_file(self._base / entry.video, labels=entry.labels)
                if video.labels != found.setdefault(video.content_hash, video).labels:
                    raise StoreError(
                        f"{entry.video} has the content of another file and other labels",
                        "Correct the labels",
                    )
        if not found:
            raise StoreError(
                f"The table has no video in the split {name!r}",
                f"It has the splits {', '.join(sorted(self._table.counts)) or '(none)'}",
            )
        videos = sorted(found.values(), key=lambda video: (video.video_id, video.content_hash))
        values: dict[str, list[NDArray[Any] | None]] = {n: [] for n in self.features}
        for done, video in enumerate(videos):
            self._hook("extract", done, len(videos))
            extracted = self._extract(Path(str(video.source)))
            for feature, sequences in values.items():
                sequences.append(extracted.get(feature))
        self._hook("extract", len(videos), len(videos))
        truth = np.array([[label in (v.labels or ()) for label in self._labels] for v in videos])
        return MemorySplit([video.video_id for video in videos], truth, values)

    def _extract(self, path: Path) -> dict[str, NDArray[Any]]:
        """Values by name of what a file has."""
        try:
            read = read_video(path, self._extractors, self._options)
        except MediaError as error:
            logger.warning("%s has no features: %s", path, error)
            return {}
        read.raise_first_failure()
        return {name: self._rounded(path, found) for name, found in read.extractions.items()}

    def _rounded(self, path: Path, extraction: Extraction) -> NDArray[Any]:
        try:
            return as_stored(extraction.sequence, self._precision)
        except ValueError as error:
            raise StoreError(
                f"{path} has values of {extraction.sequence.made_by} beyond {self._precision}",
                "Use float32",
            ) from error
