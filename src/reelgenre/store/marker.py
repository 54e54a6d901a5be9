"""``store.json``: what makes a folder a feature store, and which kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast, get_args

from reelgenre.errors import StoreError
from reelgenre.files import atomic_write
from reelgenre.store import manifest
from reelgenre.store.layout import FEATURES, FORMAT, MARKER, VERSION
from reelgenre.store.storage import Storage
from reelgenre.store.tensors import Precision


def create_marker(folder: Path, precision: Precision, *, exist_ok: bool) -> None:
    """Make a folder a store; several processes may do it at once.

    Raises:
        StoreError: see :meth:`FeatureStore.create`.
    """
    if precision not in get_args(Precision):
        raise StoreError(f"{precision!r} is no precision", "Use float16 or float32")
    marker = folder / MARKER
    try:
        if marker.exists():
            if not exist_ok:
                raise StoreError(f"there is a store in {folder} already", "Open it instead")
            return
        folder.mkdir(parents=True, exist_ok=True)
        # Another process that creates the same store may be somewhere in between.
        ours = {manifest.FOLDER, FEATURES, MARKER}
        if any(
            entry.name not in ours and not entry.name.startswith(f".{MARKER}.")
            for entry in folder.iterdir()
        ):
            raise StoreError(f"{folder} holds other files", "Name a new or empty folder")
        (folder / manifest.FOLDER).mkdir(exist_ok=True)
        (folder / FEATURES).mkdir(exist_ok=True)
        about = {"format": FORMAT, "version": VERSION, "precision": precision}
        with atomic_write(marker) as file:
            file.write(json.dumps(about, indent=2).encode() + b"\n")
    except OSError as error:
        raise StoreError(
            f"{folder} cannot be written ({error.strerror})", "Check the path and its permissions"
        ) from error


def read_marker(storage: Storage) -> Precision:
    """The precision of a store.

    Raises:
        StoreError: there is no store, or one that this version cannot read.
    """
    try:
        marker = json.loads(storage.read(MARKER))
    except FileNotFoundError:
        raise StoreError(
            f"there is no feature store at {storage.address}",
            "Check the address, or create one there first",
        ) from None
    except (OSError, ValueError) as error:
        raise StoreError(
            f"{MARKER} of {storage.address} cannot be read ({error})",
            "Check the address and its permissions",
        ) from error
    if not isinstance(marker, dict) or marker.get("format") != FORMAT:
        raise StoreError(f"{storage.address} is no feature store", "Check the address")
    version, precision = marker.get("version"), marker.get("precision")
    if version != VERSION:
        raise StoreError(
            f"the store at {storage.address} has version {version}, this reelgenre reads {VERSION}",
            "Update reelgenre",
        )
    if precision not in get_args(Precision):
        raise StoreError(f"{storage.address} has unknown precision {precision!r}", "Restore it")
    return cast("Precision", precision)
