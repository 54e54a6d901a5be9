"""Reading a whole store and comparing it with what it says of itself; mending what can be."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from reelgenre.errors import StoreError
from reelgenre.hooks import Hook
from reelgenre.store import manifest
from reelgenre.store.layout import (
    FEATURES,
    SHARDS,
    SUFFIX,
    extractor_folder,
    feature_path,
)
from reelgenre.store.manifest import Manifest, Outcome
from reelgenre.store.packing import shard_names
from reelgenre.store.packs import Shard
from reelgenre.store.storage import Storage
from reelgenre.store.tensors import DamagedError, Precision, decode
from reelgenre.store.videos import HASH, Video

ABANDONED_S = 3600
"""A temporary file older than this belongs to a writer that is gone."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        path: of the file, relative to the store.
        cause: what is wrong with it.
        repaired: whether it was mended just now.
    """

    path: str
    cause: str
    repaired: bool


@dataclass(frozen=True)
class VerifyReport:
    """What a look at every file found.

    Attributes:
        features: number of feature files that are whole.
        shards: number of shards that are whole.
        problems: everything that is wrong.
    """

    features: int
    shards: int
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Nothing is wrong, or nothing any more."""
        return all(problem.repaired for problem in self.problems)


def verify(storage: Storage, precision: Precision, *, repair: bool, hook: Hook) -> VerifyReport:
    """See :meth:`FeatureStore.verify`."""
    if repair and storage.local is None:
        raise StoreError(f"{storage.address} can only be read", "Repair the original")
    folder = storage.local if repair else None
    problems: list[Problem] = []
    damaged: list[str] = []
    state = manifest.read(storage, damaged=damaged)
    for name in damaged:
        path = f"{manifest.FOLDER}/{name}"
        problems.append(Problem(path, "the manifest segment is damaged", repair))
        if folder is not None:
            _set_aside(folder / path)
    on_disk = set(_feature_files(storage))
    listed = {
        feature_path(fingerprint, content_hash): (fingerprint, content_hash, outcome)
        for fingerprint, outcomes in state.outcomes.items()
        for content_hash, outcome in outcomes.items()
        if outcome.status == "stored"
    }
    total = len(listed.keys() | on_disk)
    whole = done = 0
    for path, (fingerprint, content_hash, outcome) in listed.items():
        cause = _fault(storage, path, fingerprint, content_hash, outcome, precision)
        if cause is None:
            whole += 1
        else:
            problems.append(Problem(path, cause, repair))
            if folder is not None:
                _forget(folder, state.videos[content_hash], fingerprint, cause)
        done += 1
        hook("verify", done, total)
    for path in sorted(on_disk - listed.keys()):
        problems.append(_adopt(storage, state, path, precision, folder))
        done += 1
        hook("verify", done, total)
    shards, broken = _verify_shards(storage, folder)
    if storage.local is not None:
        broken.extend(_leftovers(storage.local, folder is not None))
    return VerifyReport(whole, shards, (*problems, *broken))


def _fault(
    storage: Storage,
    path: str,
    fingerprint: str,
    content_hash: str,
    outcome: Outcome,
    precision: Precision,
) -> str | None:
    try:
        values, _, about = decode(storage.read(path))
    except FileNotFoundError:
        return "the file is missing"
    except (DamagedError, OSError) as error:
        return f"the file is damaged: {error}"
    if about.get("made_by") != fingerprint or about.get("content_hash") != content_hash:
        return "the file belongs to another video or extractor"
    if values.dtype != np.dtype(precision) or values.shape != (outcome.steps, outcome.dim):
        return f"the file has {values.dtype} {list(values.shape)}, not what the manifest says"
    return None


def _feature_files(storage: Storage) -> Iterator[str]:
    for extractor in storage.names(FEATURES):
        for prefix in storage.names(f"{FEATURES}/{extractor}"):
            place = f"{FEATURES}/{extractor}/{prefix}"
            for name in storage.names(place):
                if name.endswith(SUFFIX) and not name.startswith("."):
                    yield f"{place}/{name}"


def _adopt(
    storage: Storage, state: Manifest, path: str, precision: Precision, folder: Path | None
) -> Problem:
    """A feature file that the manifest does not list: its writer was killed just before."""
    try:
        values, _, about = decode(storage.read(path))
        fingerprint, content_hash = about["made_by"], about["content_hash"]
        right_place = HASH.fullmatch(content_hash) and feature_path(fingerprint, content_hash)
        if right_place != path or values.dtype != np.dtype(precision):
            raise DamagedError("it does not belong here")
        video = state.videos.get(content_hash) or Video(
            content_hash, about["video_id"], about.get("source")
        )
    except (DamagedError, KeyError, ValueError, OSError, StoreError) as error:
        if folder is not None:
            _set_aside(folder / path)
        return Problem(path, f"the file is not listed and damaged: {error}", folder is not None)
    if folder is not None:
        steps, dim = values.shape
        # Not newer than any outcome that was written since, hence the file's own time.
        written = (folder / path).stat().st_mtime_ns
        outcome = Outcome(dim, steps, "stored", None, written)
        rows = manifest.rows_of(video, {fingerprint: outcome}, written)
        manifest.append(folder / manifest.FOLDER, list(rows))
    return Problem(path, "the file is whole but not listed", folder is not None)


def _forget(folder: Path, video: Video, fingerprint: str, cause: str) -> None:
    """Make the manifest say that the features failed, so that they can be extracted anew."""
    path = folder / feature_path(fingerprint, video.content_hash)
    if path.exists():
        _set_aside(path)
    outcome = Outcome(None, None, "failed", cause, time.time_ns())
    facts = Video(video.content_hash, video.video_id)
    rows = manifest.rows_of(facts, {fingerprint: outcome}, time.time_ns())
    manifest.append(folder / manifest.FOLDER, list(rows))


def _verify_shards(storage: Storage, folder: Path | None) -> tuple[int, list[Problem]]:
    whole = 0
    problems: list[Problem] = []
    if storage.local is None:
        return whole, problems
    for extractor in storage.names(SHARDS):
        place = f"{SHARDS}/{extractor}"
        for name in shard_names(storage, place):
            path = PurePosixPath(place, name)
            try:
                shard = Shard(storage.local / path)
                if extractor_folder(shard.metadata.get("made_by", "")) != extractor:
                    raise DamagedError("it belongs to another extractor")
                bad = shard.damaged()
                if bad:
                    raise DamagedError(f"{len(bad)} of its videos do not match their hash")
                whole += 1
            except (DamagedError, OSError, StoreError) as error:
                problems.append(
                    Problem(str(path), f"the shard is damaged: {error}", folder is not None)
                )
                if folder is not None:
                    _set_aside(folder / path)
    return whole, problems


def _leftovers(local: Path, repair: bool) -> Iterator[Problem]:
    oldest = time.time() - ABANDONED_S
    for path in local.rglob(".*.part"):
        try:
            if path.stat().st_mtime > oldest:
                continue
            if repair:
                path.unlink()
        except FileNotFoundError:
            continue
        relative = path.relative_to(local).as_posix()
        yield Problem(relative, "a killed writer left this temporary file", repair)


def _set_aside(path: Path) -> None:
    """Keep a damaged file for people, under a name that no reader takes for a good one."""
    path.replace(path.with_name(f"{path.name}.damaged"))
