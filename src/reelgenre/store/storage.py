"""Where a store's files lie: a local folder, or any address that fsspec can read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol

from reelgenre.errors import StoreError


class Storage(Protocol):
    """Read access to a folder tree; paths are relative, with ``/``."""

    @property
    def address(self) -> str: ...

    @property
    def local(self) -> Path | None:
        """The folder where it is local; None where files can only be read whole."""
        ...

    def names(self, folder: str) -> list[str]:
        """Names of what lies in a folder, sorted; none where there is no such folder."""
        ...

    def read(self, path: str) -> bytes:
        """A whole file.

        Raises:
            FileNotFoundError: there is none.
            OSError: it cannot be read.
        """
        ...


class LocalStorage:
    """A folder on this machine."""

    def __init__(self, folder: Path) -> None:
        self.local = folder

    @property
    def address(self) -> str:
        return str(self.local)

    def names(self, folder: str) -> list[str]:
        try:
            return sorted(entry.name for entry in (self.local / folder).iterdir())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def read(self, path: str) -> bytes:
        return (self.local / path).read_bytes()


class FsspecStorage:
    """Anything with an fsspec address: ``s3://…``, ``https://…``, ``zip://*::archive.zip``…"""

    local = None

    def __init__(self, address: str) -> None:
        try:
            from fsspec.core import url_to_fs  # type: ignore[import-untyped]
        except ModuleNotFoundError as error:
            raise StoreError(
                f"reading {address} needs fsspec, which is not installed",
                "Install the training extra: pip install 'reelgenre[train]'",
            ) from error
        self.address = address
        self._fs: Any
        self._root: str
        try:
            self._fs, self._root = url_to_fs(address)
        except (ImportError, ValueError, OSError) as error:
            raise StoreError(
                f"{address} cannot be reached ({error})",
                "Check the address and that fsspec's package for its protocol is installed",
            ) from error

    def names(self, folder: str) -> list[str]:
        # Other processes may be writing there: a remembered listing would hide what they add.
        self._fs.invalidate_cache()
        try:
            found: list[str] = self._fs.ls(self._path(folder), detail=False)
        except FileNotFoundError:
            return []
        return sorted(name.rstrip("/").rsplit("/", 1)[-1] for name in found)

    def read(self, path: str) -> bytes:
        content: bytes = self._fs.cat_file(self._path(path))
        return content

    def _path(self, path: str) -> str:
        root = self._root.rstrip("/")
        return f"{root}/{path}" if root else path


def storage_at(address: str | os.PathLike[str]) -> Storage:
    """The storage for a path or an address with ``://``."""
    text = os.fspath(address)
    return FsspecStorage(text) if "://" in text else LocalStorage(Path(text).absolute())
