"""The feature store: feature sequences of many videos on disk, safe against kills and races."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from reelgenre.errors import StoreError
from reelgenre.hooks import Hook, no_hook
from reelgenre.sequences import FeatureSequence
from reelgenre.store import export as exporting
from reelgenre.store import manifest, packing, verification
from reelgenre.store.layout import SHARD_BYTES
from reelgenre.store.manifest import Outcome
from reelgenre.store.marker import create_marker, read_marker
from reelgenre.store.reader import StoreReader
from reelgenre.store.storage import storage_at
from reelgenre.store.tensors import Precision
from reelgenre.store.verification import VerifyReport
from reelgenre.store.videos import Video
from reelgenre.store.writing import unwritable, write_features


class FeatureStore(StoreReader):
    """A folder of feature sequences with a manifest; make one with :meth:`create` or :meth:`open`.

    Any number of processes may add to one store at a time, others may read meanwhile. What a
    process sees is what there was when it opened the store or last called :meth:`refresh`, and
    what it added itself.
    """

    @classmethod
    def create(
        cls,
        folder: str | os.PathLike[str],
        *,
        precision: Precision = "float16",
        exist_ok: bool = False,
    ) -> FeatureStore:
        """Make a store in a new or empty folder.

        Args:
            folder: a local path.
            precision: of the values on disk. float16 halves the size and costs about three
                decimal digits, below what dropout and the models' own float16 training do.
            exist_ok: open the store that may already be there instead.

        Raises:
            StoreError: the folder holds something else, cannot be written, or the store in it
                has another precision.
        """
        path = Path(folder).absolute()
        create_marker(path, precision, exist_ok=exist_ok)
        store = cls.open(path)
        if store.precision != precision:
            raise StoreError(
                f"the store in {path} keeps {store.precision}, not {precision}",
                "Use its precision or another folder",
            )
        return store

    def add(
        self,
        video: Video,
        features: Mapping[str, FeatureSequence | None] | None = None,
        *,
        failures: Mapping[str, str] | None = None,
    ) -> None:
        """Store what is known of one video; durable and visible to others when this returns.

        Facts on the video that are None keep what the store knows.

        Args:
            video: may be new or known.
            features: by extractor fingerprint; None where the video does not have the modality.
            failures: causes by fingerprint, of the extractors that failed on it.

        Raises:
            StoreError: the store can only be read, the disk cannot be written, or the features
                do not fit the store.
        """
        self.add_many([(video, features or {}, failures or {})])

    def add_many(
        self,
        entries: Iterable[tuple[Video, Mapping[str, FeatureSequence | None], Mapping[str, str]]],
        *,
        batch: int = 512,
    ) -> int:
        """Store many videos; as :meth:`add`, but each ``batch`` of them becomes visible at once.

        When ``entries`` or a write raises, what came before it is kept.

        Returns:
            How many.
        """
        folder = self.writable_folder()
        count = 0
        pending: list[tuple[Video, dict[str, Outcome]]] = []
        try:
            for video, features, failures in entries:
                pending.append(
                    (video, write_features(folder, self.precision, video, features, failures))
                )
                count += 1
                if len(pending) == batch:
                    self._commit(folder, pending)
                    pending = []
        finally:
            if pending:
                self._commit(folder, pending)
        return count

    def pack(
        self,
        extractors: Iterable[str] | None = None,
        *,
        shard_bytes: int = SHARD_BYTES,
        hook: Hook = no_hook,
    ) -> tuple[Path, ...]:
        """Copy what is not yet in shards into large files that training maps into memory.

        Args:
            extractors: names or fingerprints; all if not given.
            shard_bytes: a shard is closed when its values reach this size.
            hook: told ``pack`` with the number of videos done and their total.

        Returns:
            The new shards.

        Raises:
            StoreError: the store can only be read, a feature file is damaged, or the disk cannot
                be written.
        """
        made = packing.pack(self, self._chosen(extractors), shard_bytes, hook)
        self.__dict__.pop("_packed", None)
        return made

    def verify(self, *, repair: bool = False, hook: Hook = no_hook) -> VerifyReport:
        """Read everything and compare it with the manifest and the hashes.

        Args:
            repair: as :meth:`repair`, which also works where the store does not open.
            hook: told ``verify`` with the number of files done and their total.

        Raises:
            StoreError: the disk cannot be read, or ``repair`` on a store that can only be read.
        """
        report = verification.verify(self.storage, self.precision, repair=repair, hook=hook)
        if repair:
            self.refresh()
        return report

    @staticmethod
    def repair(address: str | os.PathLike[str], *, hook: Hook = no_hook) -> VerifyReport:
        """Verify a store that may be too damaged to open, and mend what can be.

        Damaged files are set aside under a name with ``.damaged`` at its end. Features whose rows
        were lost are listed again from their own files (their labels and splits are not in them);
        damaged ones count as failed, so that they can be extracted again. What killed writers
        left is removed.

        Raises:
            StoreError: there is no store, or it can only be read.
        """
        storage = storage_at(address)
        return verification.verify(storage, read_marker(storage), repair=True, hook=hook)

    def export(
        self,
        path: str | os.PathLike[str],
        *,
        extractors: Iterable[str] | None = None,
        split: str | None = None,
        hook: Hook = no_hook,
    ) -> int:
        """Write videos and features into one Parquet file for other tools.

        One row per video: its facts, and per extractor a column of steps (lists of D float32
        numbers) and one of their times; null where the modality is absent. Row by row from disk,
        so memory stays small.

        Args:
            path: of the file.
            extractors: names or fingerprints; all if not given. Their names must differ.
            split: only its videos; all if not given.
            hook: told ``export`` with the number of videos done and their total.

        Returns:
            The number of rows.

        Raises:
            StoreError: nothing is selected, features are damaged, or the file cannot be written.
        """
        videos = [v for v in self.videos.values() if split is None or v.split == split]
        if not videos:
            raise StoreError(
                f"{self.storage.address} has no video to export",
                "Choose one of the splits that `reelgenre store info` lists",
            )
        return exporting.export(self, Path(path), self._chosen(extractors), videos, hook)

    def writable_folder(self) -> Path:
        if self.storage.local is None:
            raise StoreError(
                f"{self.storage.address} can only be read", "Copy the store to a local folder"
            )
        return self.storage.local

    def _chosen(self, extractors: Iterable[str] | None) -> list[str]:
        return list(self._outcomes if extractors is None else map(self.extractor, extractors))

    def _commit(self, folder: Path, entries: Sequence[tuple[Video, dict[str, Outcome]]]) -> None:
        """Make the videos visible: in the manifest, then in this process."""
        now = time.time_ns()
        rows: list[dict[str, Any]] = []
        for video, outcomes in entries:
            known = self.videos.get(video.content_hash)
            news = manifest.news(video, known)
            if outcomes or known is None or news != Video(known.content_hash, known.video_id):
                rows.extend(manifest.rows_of(news, outcomes, now))
        if not rows:
            return
        place = folder / manifest.FOLDER
        try:
            manifest.append(place, rows)
            if len(manifest.segment_names(self.storage)) > manifest.MAX_SEGMENTS:
                manifest.compact(place, self.storage)
        except OSError as error:
            raise unwritable(folder, error) from error
        for video, outcomes in entries:
            self._learn(video)
            for fingerprint, outcome in outcomes.items():
                self._outcomes.setdefault(fingerprint, {})[video.content_hash] = outcome
