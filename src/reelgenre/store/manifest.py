"""The manifest: a set of small immutable Parquet files that merge into one table.

Every writer adds *segments* under names of their own; nothing is ever changed in place. A reader
takes the rows of all segments together: of several rows on the same video and extractor the newest
counts, and a video's facts are each the newest that is not null. Merging the same row twice
changes nothing, so a *compaction*, which replaces many segments by one, may run while others read
and write, may be killed at any moment, and may even run twice at once: at worst some rows are
there twice until the next one. Its lock saves work; no correctness hangs on it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reelgenre.errors import StoreError
from reelgenre.files import atomic_write, flush_folder
from reelgenre.store._arrow import pa, pq
from reelgenre.store.storage import Storage
from reelgenre.store.videos import HASH, FileStamp, Video

FOLDER = "manifest"
SUFFIX = ".parquet"
COMPACT = "compact-"
"""Names of compacted segments begin so; a new one tells readers that their listing is outdated."""
MAX_SEGMENTS = 64
"""A writer that finds more than this many compacts them; opening reads at most about as many."""
ATTEMPTS = 50

Status = Literal["stored", "absent", "failed"]
"""``absent``: the extractor ran and the video does not have the modality."""

SCHEMA = pa.schema(
    [
        pa.field("content_hash", pa.string(), nullable=False),
        pa.field("video_id", pa.string(), nullable=False),
        pa.field("source", pa.string()),
        pa.field("source_size", pa.int64()),
        pa.field("source_mtime_ns", pa.int64()),
        pa.field("duration_s", pa.float64()),
        pa.field("labels", pa.list_(pa.string())),
        pa.field("split", pa.string()),
        pa.field("updated_ns", pa.int64(), nullable=False),
        pa.field("extractor", pa.string()),
        pa.field("dim", pa.int32()),
        pa.field("steps", pa.int32()),
        pa.field("status", pa.string()),
        pa.field("error", pa.string()),
        pa.field("written_ns", pa.int64()),
    ]
)
"""Rows of a video and an extractor; newer facts stand over older ones. Merged, it is one row per
video and extractor; a video without any extractor has one row of its own.

``updated_ns`` and ``written_ns`` are the Unix times in nanoseconds at which the video's facts and
the extractor's outcome became known.
"""
_VIDEO = ("video_id", "source", "source_size", "source_mtime_ns", "duration_s", "labels", "split")
_OUTCOME = ("dim", "steps", "status", "error", "written_ns")


class Outcome(NamedTuple):
    """What became of one video and extractor.

    Attributes:
        dim, steps: D and T; None unless stored.
        status: ``stored``, ``absent`` or ``failed``.
        error: why it failed.
        written_ns: Unix time in nanoseconds.
    """

    dim: int | None
    steps: int | None
    status: Status
    error: str | None
    written_ns: int


@dataclass(frozen=True)
class Manifest:
    """The merged state of all segments.

    Attributes:
        videos: by content hash.
        outcomes: one column per extractor fingerprint: outcomes by content hash.
        segments: names of the files this was read from.
    """

    videos: dict[str, Video]
    outcomes: dict[str, dict[str, Outcome]]
    segments: tuple[str, ...]


def rows_of(
    video: Video, outcomes: dict[str, Outcome], updated_ns: int
) -> Iterator[dict[str, Any]]:
    """The manifest's rows on one video."""
    facts = {
        "content_hash": video.content_hash,
        "video_id": video.video_id,
        "source": video.source,
        "source_size": video.stamp.size if video.stamp else None,
        "source_mtime_ns": video.stamp.mtime_ns if video.stamp else None,
        "duration_s": video.duration_s,
        "labels": None if video.labels is None else list(video.labels),
        "split": video.split,
        "updated_ns": updated_ns,
    }
    if not outcomes:
        yield facts
    for extractor, outcome in outcomes.items():
        yield {**facts, "extractor": extractor, **outcome._asdict()}


def update(known: Video | None, video: Video) -> Video:
    """What is known of a video after newer facts came; None among them changes nothing."""
    if known is None:
        return video
    facts: dict[str, Any] = {
        field.name: getattr(video, field.name)
        for field in dataclasses.fields(video)
        if getattr(video, field.name) is not None
    }
    return dataclasses.replace(known, **facts)


def news(video: Video, known: Video | None) -> Video:
    """Only the facts that are new, so that a fact passed through never undoes a later one."""
    if known is None:
        return video
    old: dict[str, Any] = {
        field.name: None
        for field in dataclasses.fields(video)
        if field.name not in ("content_hash", "video_id")
        and getattr(video, field.name) == getattr(known, field.name)
    }
    return dataclasses.replace(video, **old)


def append(folder: Path, rows: Sequence[dict[str, Any]]) -> str:
    """Write one segment; a reader sees all of its rows or none.

    Returns:
        Its name.
    """
    return _write(folder, "", pa.Table.from_pylist(list(rows), schema=SCHEMA))


def read(storage: Storage, *, damaged: list[str] | None = None) -> Manifest:
    """The merged manifest of a store, consistent even while others write and compact.

    Args:
        storage: of the store.
        damaged: where given, names of unreadable segments are put here instead of raised.

    Raises:
        StoreError: a segment is damaged, or the manifest never stood still.
    """
    tables, names = _read_tables(storage, damaged)
    return _objects(_merge(tables), names)


def compact(folder: Path, storage: Storage) -> None:
    """Replace all segments by one; returns at once where another process is at it."""
    with _try_lock(folder) as locked:
        if not locked:
            return
        tables, names = _read_tables(storage, None)
        if len(names) < 2:
            return
        _write(folder, COMPACT, _without_outdated(tables))
        flush_folder(folder)  # The new file must be safe on disk before the old ones go.
        for name in names:
            (folder / name).unlink(missing_ok=True)


def segment_names(storage: Storage) -> list[str]:
    """Names of the segments there are now."""
    return [
        name for name in storage.names(FOLDER) if name.endswith(SUFFIX) and not name.startswith(".")
    ]


def _write(folder: Path, prefix: str, table: Any) -> str:
    name = f"{prefix}{time.time_ns():020d}-{os.getpid()}-{secrets.token_hex(4)}{SUFFIX}"
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    with atomic_write(folder / name) as file:
        file.write(buffer.getbuffer())
    return name


def _read_tables(storage: Storage, damaged: list[str] | None) -> tuple[list[Any], tuple[str, ...]]:
    """All segments' tables, read so that a compaction meanwhile cannot hide any row.

    A listing made while a compaction runs may miss its new file and the old ones alike. But that
    new file is there for good before the first old one goes, so a second listing shows it: rows
    are complete once a listing names no compacted file that the listing before it did not.
    """
    names = segment_names(storage)
    for _ in range(ATTEMPTS):
        tables = []
        unreadable = []
        gone = False
        for name in names:
            try:
                tables.append(_table(storage.read(f"{FOLDER}/{name}")))
            except FileNotFoundError:
                gone = True
                break
            except (pa.ArrowException, KeyError, ValueError, OSError) as error:
                if damaged is None:
                    raise StoreError(
                        f"the manifest segment {name} of {storage.address} is damaged",
                        "`reelgenre store verify --repair` sets it aside and lists the features "
                        "it named again from their own files",
                    ) from error
                unreadable.append(name)
        later = segment_names(storage)
        new = set(later) - set(names)
        if not gone and not any(name.startswith(COMPACT) for name in new):
            if damaged is not None:
                damaged.extend(unreadable)
            return tables, tuple(names)
        names = later
    raise StoreError(
        f"the manifest of {storage.address} changes faster than it can be read", "Try again"
    )


def _table(content: bytes) -> Any:
    table = pq.ParquetFile(pa.BufferReader(content)).read(SCHEMA.names, use_threads=False)
    table = table.select(SCHEMA.names).cast(SCHEMA)
    table.validate(full=True)
    return table


def _merge(tables: Sequence[Any]) -> Any:
    """One row per video and extractor, in order of first appearance."""
    if not tables:
        return SCHEMA.empty_table()
    rows = pa.concat_tables(tables).combine_chunks()
    if not len(rows):
        return rows
    hashes, video_of = _videos(rows)
    count = len(hashes)
    facts = {
        name: _take(rows[name], newest) for name, newest in _newest_facts(rows, video_of).items()
    }
    facts["content_hash"] = hashes
    kept = _newest_outcomes(rows, video_of)
    # A video without any outcome still has a row, with nulls.
    bare = np.setdiff1d(np.arange(count), video_of[kept])
    video_rows = np.concatenate([video_of[kept], bare])
    outcome_rows = np.concatenate([kept, np.full(len(bare), -1)])
    merged = {name: _take(column, video_rows) for name, column in facts.items()}
    merged |= {name: _take(rows[name], outcome_rows) for name in ("extractor", *_OUTCOME)}
    return pa.table({name: merged[name] for name in SCHEMA.names}, schema=SCHEMA)


def _without_outdated(tables: Sequence[Any]) -> Any:
    """The rows that :func:`_merge` takes anything from, each as it was written.

    Merged rows would not do: their facts are of different times, and a row that another process
    wrote between those times may still come.
    """
    if not tables:
        return SCHEMA.empty_table()
    rows = pa.concat_tables(tables).combine_chunks()
    if not len(rows):
        return rows
    _, video_of = _videos(rows)
    needed = np.concatenate(
        [*_newest_facts(rows, video_of).values(), _newest_outcomes(rows, video_of)]
    )
    return rows.take(pa.array(np.unique(needed[needed >= 0])))


def _videos(rows: Any) -> tuple[Any, NDArray[Any]]:
    """The distinct content hashes, and which of them each row has."""
    hashes = rows["content_hash"].combine_chunks().dictionary_encode()
    return hashes.dictionary, hashes.indices.to_numpy()


def _newest_facts(rows: Any, video_of: NDArray[Any]) -> dict[str, NDArray[np.int64]]:
    """Per fact and video the row that has it newest, -1 where none has it."""
    count = int(video_of.max()) + 1
    return {
        name: _newest(rows["updated_ns"], video_of, count, _valid(rows[name]))
        for name in (*_VIDEO, "updated_ns")
    }


def _newest_outcomes(rows: Any, video_of: NDArray[Any]) -> NDArray[np.int64]:
    """The row of the newest outcome of every video and extractor that have one."""
    extractors = rows["extractor"].combine_chunks().dictionary_encode()
    width = max(len(extractors.dictionary), 1)
    pair = video_of * width + extractors.indices.fill_null(0).to_numpy()
    written = rows["written_ns"].fill_null(0)
    groups = (int(video_of.max()) + 1) * width
    newest = _newest(written, pair, groups, _valid(rows["extractor"]))
    return newest[newest >= 0]


def _valid(column: Any) -> NDArray[np.bool_]:
    valid: NDArray[np.bool_] = column.is_valid().to_numpy()
    return valid


def _newest(
    times: Any, group: NDArray[Any], groups: int, valid: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Row of the newest valid entry of each group, -1 where there is none."""
    order = np.argsort(times.to_numpy(), kind="stable")
    order = order[valid[order]]
    newest = np.full(groups, -1, np.int64)
    newest[group[order]] = order  # Of repeated groups the last assignment stands.
    return newest


def _take(column: Any, rows: NDArray[np.int64]) -> Any:
    """Rows of a column, null where the row is -1."""
    return column.take(pa.array(rows, mask=rows < 0))


def _objects(table: Any, names: tuple[str, ...]) -> Manifest:
    if not len(table):
        return Manifest({}, {}, names)
    encoded = table["content_hash"].combine_chunks().dictionary_encode()
    hashes: list[str] = encoded.dictionary.to_pylist()
    if not all(map(HASH.fullmatch, hashes)):
        raise StoreError(
            "the manifest has keys that are no content hashes", "It was not made by reelgenre"
        )
    video_of = encoded.indices.to_numpy()
    _, first = np.unique(video_of, return_index=True)
    facts = table.take(pa.array(first))
    videos = {
        content_hash: Video(
            content_hash,
            video_id,
            source,
            duration,
            None if labels is None else tuple(labels),
            split,
            None if size is None or mtime is None else FileStamp(size, mtime),
        )
        for content_hash, video_id, source, size, mtime, duration, labels, split in zip(
            hashes, *(facts[name].to_pylist() for name in _VIDEO), strict=True
        )
    }
    outcomes: dict[str, dict[str, Outcome]] = {}
    extractors = table["extractor"].combine_chunks().dictionary_encode()
    extractor_of = extractors.indices.fill_null(-1).to_numpy()
    for number, extractor in enumerate(extractors.dictionary.to_pylist()):
        where = np.flatnonzero(extractor_of == number)
        part = table.take(pa.array(where))
        keys = map(hashes.__getitem__, video_of[where].tolist())
        values = zip(*(part[name].to_pylist() for name in _OUTCOME), strict=True)
        outcomes[extractor] = dict(zip(keys, map(Outcome._make, values), strict=True))
    return Manifest(videos, outcomes, names)


@contextlib.contextmanager
def _try_lock(folder: Path) -> Iterator[bool]:
    """A lock that dies with its process; where the system has none, everyone gets it."""
    try:
        import fcntl
    except ModuleNotFoundError:
        yield True
        return
    with (folder / ".lock").open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        yield True
