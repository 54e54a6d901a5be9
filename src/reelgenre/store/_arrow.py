"""The one place that imports pyarrow, so that its absence is one clear error."""

from __future__ import annotations

from reelgenre.errors import StoreError

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ModuleNotFoundError as error:  # pragma: no cover - exercised in a process of its own
    raise StoreError(
        "feature stores need pyarrow, which is not installed",
        "Install the training extra: pip install 'reelgenre[train]'",
    ) from error

__all__ = ["pa", "pq"]
