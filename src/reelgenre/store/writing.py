"""Writing a video's feature files."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from reelgenre.errors import StoreError
from reelgenre.files import atomic_write
from reelgenre.sequences import FeatureSequence
from reelgenre.store.layout import extractor_folder, feature_path
from reelgenre.store.manifest import Outcome
from reelgenre.store.tensors import Precision, encode
from reelgenre.store.videos import Video


def write_features(
    folder: Path,
    precision: Precision,
    video: Video,
    features: Mapping[str, FeatureSequence | None],
    failures: Mapping[str, str],
) -> dict[str, Outcome]:
    """Write a video's feature files and return what the manifest is to say of them.

    Raises:
        StoreError: the features do not fit the store, or the disk cannot be written.
    """
    about = {"content_hash": video.content_hash, "video_id": video.video_id}
    if video.source is not None:
        about["source"] = video.source
    outcomes = {}
    for fingerprint, sequence in features.items():
        path = folder / feature_path(fingerprint, video.content_hash)
        now = time.time_ns()
        if sequence is None:
            outcomes[fingerprint] = Outcome(None, None, "absent", None, now)
            continue
        if sequence.made_by != fingerprint:
            raise StoreError(
                f"features made by {sequence.made_by} were to be stored as {fingerprint}",
                "Use each sequence's `made_by` as its key",
            )
        try:
            content = encode(sequence, precision, about)
        except ValueError as error:
            raise StoreError(str(error), "Create the store with float32") from error
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(path) as file:
                file.write(content)
        except OSError as error:
            raise unwritable(folder, error) from error
        outcomes[fingerprint] = Outcome(sequence.dim, sequence.steps, "stored", None, now)
    for fingerprint, cause in failures.items():
        extractor_folder(fingerprint)
        outcomes[fingerprint] = Outcome(None, None, "failed", cause, time.time_ns())
    return outcomes


def unwritable(folder: Path, error: OSError) -> StoreError:
    """The error of a disk that is full or protected."""
    return StoreError(
        f"{folder} cannot be written ({error.strerror})",
        "Free space or check its permissions; what was stored before is safe",
    )
