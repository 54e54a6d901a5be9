"""Everything one can ask of a feature store without changing it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from reelgenre.errors import StoreError
from reelgenre.sequences import FeatureSequence
from reelgenre.store import manifest, packing
from reelgenre.store.info import StoreInfo, summarise
from reelgenre.store.layout import feature_path, name_of
from reelgenre.store.manifest import Outcome
from reelgenre.store.marker import read_marker
from reelgenre.store.packs import Shard
from reelgenre.store.storage import Storage, storage_at
from reelgenre.store.tensors import DamagedError, Precision, decode
from reelgenre.store.videos import FileStamp, Video


class StoreReader:
    """The reading half of :class:`~reelgenre.store.FeatureStore`.

    Attributes:
        storage: where it lies.
        precision: of the values on disk.
        videos: the known videos by content hash.
    """

    def __init__(self, storage: Storage, precision: Precision) -> None:
        self.storage = storage
        self.precision = precision
        self.refresh()

    @classmethod
    def open(cls, address: str | os.PathLike[str]) -> Self:
        """Open a store.

        Args:
            address: a local folder, or any address of fsspec (for reading only).

        Raises:
            StoreError: there is none, it is damaged, or was made by a newer version.
        """
        storage = storage_at(address)
        return cls(storage, read_marker(storage))

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return type(self).open, (self.storage.address,)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({self.storage.address!r}, {len(self.videos)} videos, "
            f"extractors={list(self._outcomes)})"
        )

    def refresh(self) -> None:
        """See what other processes have added since.

        Raises:
            StoreError: the manifest cannot be read.
        """
        state = manifest.read(self.storage)
        self.videos: dict[str, Video] = state.videos
        self._outcomes: dict[str, dict[str, Outcome]] = state.outcomes
        for index in ("_packed", "_by_id", "_by_source"):
            self.__dict__.pop(index, None)

    @property
    def extractors(self) -> tuple[str, ...]:
        """Fingerprints of all extractors with any outcome, in the order in which they came."""
        return tuple(self._outcomes)

    def extractor(self, name: str) -> str:
        """The fingerprint meant by a fingerprint or by an extractor's name.

        Raises:
            StoreError: the store has none of that name, or several.
        """
        if name in self._outcomes:
            return name
        found = [fingerprint for fingerprint in self._outcomes if name_of(fingerprint) == name]
        if len(found) == 1:
            return found[0]
        if found:
            raise StoreError(
                f"{self.storage.address} has several extractors called {name}",
                f"Name one of {', '.join(found)}",
            )
        raise StoreError(
            f"{self.storage.address} has nothing of an extractor {name}",
            f"It has {', '.join(self._outcomes) or 'no features yet'}",
        )

    def outcomes(self, extractor: str) -> Mapping[str, Outcome]:
        """What became of each video with this extractor, by content hash."""
        return self._outcomes[self.extractor(extractor)]

    def find(self, video_id: str) -> Video:
        """The video of this identifier.

        Raises:
            StoreError: there is none, or several with different contents.
        """
        found = self._by_id.get(video_id, ())
        if len(found) != 1:
            raise StoreError(
                f"{self.storage.address} has {len(found) or 'no'} videos called {video_id!r}",
                "Look it up by its content hash" if found else "See `store.videos`",
            )
        return self.videos[found[0]]

    def identify(self, path: str | os.PathLike[str]) -> Video:
        """The video in a file: known or new.

        A file that has the size and modification time it had when the store learned of it is not
        read again; any other is hashed.

        Raises:
            StoreError: the file cannot be read.
        """
        file = Path(path).absolute()
        for content_hash in self._by_source.get(str(file), ()):
            known = self.videos[content_hash]
            try:
                if known.stamp == FileStamp.of(file):
                    return known
            except OSError:
                break  # Hashing says what is wrong with the file.
        video = Video.from_file(file)
        return self.videos.get(video.content_hash, video)

    def missing(
        self,
        extractors: Iterable[str],
        videos: Iterable[str] | None = None,
        *,
        retry_failed: bool = False,
    ) -> dict[str, tuple[str, ...]]:
        """What is still to be extracted.

        Args:
            extractors: fingerprints of those wanted; they may be new to the store.
            videos: content hashes, which may be new to the store; all known videos if not given.
            retry_failed: count failures as missing, too. What is absent from a video is not
                missing.

        Returns:
            Fingerprints by content hash; nothing for complete videos.
        """
        outcomes = {fingerprint: self._outcomes.get(fingerprint, {}) for fingerprint in extractors}

        def lacks(content_hash: str, fingerprint: str) -> bool:
            outcome = outcomes[fingerprint].get(content_hash)
            return outcome is None or (retry_failed and outcome.status == "failed")

        wanted = self.videos if videos is None else videos
        lacking = {key: tuple(f for f in outcomes if lacks(key, f)) for key in wanted}
        return {content_hash: f for content_hash, f in lacking.items() if f}

    def info(self) -> StoreInfo:
        """Numbers on the whole store; reads no features."""
        return summarise(self)

    def get(self, video: Video | str, extractor: str) -> FeatureSequence | None:
        """One video's features of one extractor.

        Args:
            video: or its content hash.
            extractor: its fingerprint, or its name where that is enough.

        Returns:
            float32, whatever the store keeps; None where the video does not have the modality.

        Raises:
            StoreError: it was not extracted, or failed, or the file is missing or damaged.
        """
        content_hash = video if isinstance(video, str) else video.content_hash
        fingerprint = self.extractor(extractor)
        if self._stored(content_hash, fingerprint) is None:
            return None
        values, times, _ = self.read(content_hash, fingerprint)
        return FeatureSequence(values.astype(np.float32), times.copy(), fingerprint)

    def values(self, video: Video | str, extractor: str) -> NDArray[Any] | None:
        """The values alone, as stored [T, D] and read-only, as fast as possible: for training.

        A view into a memory-mapped shard where the video is packed, which costs no memory and
        is not checked against its hash (:meth:`pack` and :meth:`verify` check); else as
        :meth:`get`.

        Raises:
            StoreError: as :meth:`get`.
        """
        content_hash = video if isinstance(video, str) else video.content_hash
        fingerprint = self.extractor(extractor)
        if self._stored(content_hash, fingerprint) is None:
            return None
        packed = self.locate(content_hash, fingerprint)
        if packed is None:
            return self.read(content_hash, fingerprint)[0]
        shard, rows = packed
        return shard.values[rows]

    def locate(self, video: str, extractor: str) -> tuple[Shard, slice] | None:
        """The shard and the rows in it of a video's features; None where they are not packed."""
        fingerprint = self.extractor(extractor)
        found = self._packed.get(fingerprint, {}).get(video)
        outcome = self._outcomes[fingerprint].get(video)
        if found is None or outcome is None or found[1] != outcome.written_ns:
            return None
        return found[0], found[2]

    def read(self, video: str, extractor: str) -> tuple[NDArray[Any], NDArray[np.float32], str]:
        """Values as stored, times and their hash from the video's own file, checked.

        Raises:
            StoreError: nothing is stored, or the file is missing or damaged.
        """
        fingerprint = self.extractor(extractor)
        outcome = self._stored(video, fingerprint)
        path = feature_path(fingerprint, video)
        if outcome is None:
            raise StoreError(f"{fingerprint} is absent from {video}", "Ask `get` first")
        try:
            values, times, about = decode(self.storage.read(path))
            if about.get("made_by") != fingerprint or about.get("content_hash") != video:
                raise DamagedError("it belongs to another video or extractor")
            if values.shape != (outcome.steps, outcome.dim):
                raise DamagedError(f"it is {list(values.shape)}, not as the manifest says")
        except (DamagedError, OSError) as error:
            why = "it is missing" if isinstance(error, FileNotFoundError) else str(error)
            raise StoreError(
                f"the feature file {path} of {self.storage.address} is damaged: {why}",
                "`reelgenre store verify --repair` forgets it; then extract again",
            ) from error
        return values, times, about["sha256"]

    def _stored(self, video: str, fingerprint: str) -> Outcome | None:
        outcome = self._outcomes[fingerprint].get(video)
        if outcome is None:
            raise StoreError(
                f"{self.storage.address} has no {fingerprint} of {video}", "Extract it first"
            )
        if outcome.status == "failed":
            raise StoreError(
                f"{fingerprint} failed on {self.videos[video].source or video}: {outcome.error}",
                "Extract it again, or leave the video out",
            )
        return outcome if outcome.status == "stored" else None

    @cached_property
    def _packed(self) -> dict[str, dict[str, tuple[Shard, int, slice]]]:
        return packing.index(self.storage, self._outcomes)

    @cached_property
    def _by_id(self) -> dict[str, list[str]]:
        return _group((video.video_id, key) for key, video in self.videos.items())

    @cached_property
    def _by_source(self) -> dict[str, list[str]]:
        return _group((video.source, key) for key, video in self.videos.items() if video.source)

    def _learn(self, video: Video) -> None:
        """Take over what is new of a video, in the indexes that are there as well.

        Building those anew for each video costs the more the larger the store is.
        """
        key = video.content_hash
        known = self.videos.get(key)
        new = self.videos[key] = manifest.update(known, video)
        for index, fact in (("_by_id", "video_id"), ("_by_source", "source")):
            groups: dict[str, list[str]] | None = self.__dict__.get(index)
            before, now = getattr(known, fact, None), getattr(new, fact)
            if groups is None or now == before:
                continue
            if before:
                groups[before].remove(key)
            if now:
                groups.setdefault(now, []).append(key)


def _group(pairs: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name, key in pairs:
        groups.setdefault(name, []).append(key)
    return groups
