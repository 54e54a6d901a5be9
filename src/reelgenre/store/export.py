"""A store, or a part of it, as one Parquet file for tools that know nothing of this package."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from reelgenre.errors import StoreError
from reelgenre.files import atomic_write
from reelgenre.hooks import Hook
from reelgenre.store._arrow import pa, pq
from reelgenre.store.layout import name_of
from reelgenre.store.videos import Video

if TYPE_CHECKING:
    from reelgenre.store.reader import StoreReader

ROWS = 64
"""Videos per row group: what is held in memory at a time."""


def export(
    store: StoreReader, path: Path, extractors: Sequence[str], videos: Sequence[Video], hook: Hook
) -> int:
    """See :meth:`FeatureStore.export`."""
    dims = _dims(store, extractors)
    schema = _schema(dims)
    try:
        with (
            atomic_write(path.absolute()) as file,
            pq.ParquetWriter(file, schema, compression="zstd") as out,
        ):
            for start in range(0, len(videos), ROWS):
                group = videos[start : start + ROWS]
                out.write_table(_table(store, dims, group, schema))
                hook("export", start + len(group), len(videos))
    except OSError as error:
        raise StoreError(
            f"{path} cannot be written ({error.strerror or error})",
            "Check its folder, free space and permissions",
        ) from error
    return len(videos)


def _dims(store: StoreReader, extractors: Sequence[str]) -> dict[str, int]:
    """D by fingerprint, without extractors that stored nothing."""
    names = [name_of(fingerprint) for fingerprint in extractors]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise StoreError(
            f"several extractors called {', '.join(sorted(twice))} would share a column",
            "Choose one of each by its fingerprint",
        )
    dims = {}
    for fingerprint in extractors:
        found = {o.dim for o in store.outcomes(fingerprint).values() if o.dim is not None}
        if found:
            (dims[fingerprint],) = found
    return dims


def _schema(dims: dict[str, int]) -> Any:
    fields = [
        pa.field("content_hash", pa.string()),
        pa.field("video_id", pa.string()),
        pa.field("source", pa.string()),
        pa.field("duration_s", pa.float64()),
        pa.field("labels", pa.list_(pa.string())),
        pa.field("split", pa.string()),
    ]
    for fingerprint, dim in dims.items():
        about = {"made_by": fingerprint}
        name = name_of(fingerprint)
        fields.append(pa.field(name, _steps_type(dim), metadata=about))
        fields.append(pa.field(f"{name}_times", _steps_type(2), metadata=about))
    return pa.schema(fields)


def _table(store: StoreReader, dims: dict[str, int], videos: Sequence[Video], schema: Any) -> Any:
    columns: list[Any] = [
        [v.content_hash for v in videos],
        [v.video_id for v in videos],
        [v.source for v in videos],
        [v.duration_s for v in videos],
        [None if v.labels is None else list(v.labels) for v in videos],
        [v.split for v in videos],
    ]
    arrays = [pa.array(c, f.type) for c, f in zip(columns, schema, strict=False)]
    for fingerprint, dim in dims.items():
        stored = store.outcomes(fingerprint)
        found = [
            store.get(v, fingerprint)
            if v.content_hash in stored and stored[v.content_hash].status == "stored"
            else None
            for v in videos
        ]
        arrays.append(_steps([None if s is None else s.values for s in found], dim))
        arrays.append(_steps([None if s is None else s.times for s in found], 2))
    return pa.Table.from_arrays(arrays, schema=schema)


def _steps_type(width: int) -> Any:
    return pa.list_(pa.list_(pa.float32(), width))


def _steps(sequences: Sequence[NDArray[np.float32] | None], width: int) -> Any:
    """One list of rows per sequence, null for None."""
    lengths = [0 if s is None else len(s) for s in sequences]
    offsets = pa.array(
        np.cumsum([0, *lengths]).astype(np.int32),
        mask=np.array([*(s is None for s in sequences), False]),
    )
    present = [s for s in sequences if s is not None]
    flat = np.concatenate(present).ravel() if present else np.empty(0, np.float32)
    rows = pa.FixedSizeListArray.from_arrays(pa.array(flat), width)
    return pa.ListArray.from_arrays(offsets, rows, type=_steps_type(width))
