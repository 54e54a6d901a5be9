"""Which video is in which file, found out in a thread of its own, ahead of the extraction."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from os import PathLike, fsencode
from pathlib import Path
from stat import S_ISREG
from typing import TypeVar

from reelgenre.errors import StoreError
from reelgenre.files import shown
from reelgenre.store import FeatureStore, FileStamp, Video

P = TypeVar("P", bound=str | PathLike[str])


@dataclass(frozen=True)
class Identified:
    """One file of the list.

    Attributes:
        path: as given.
        video: what is in it; None where it cannot be read.
        stamp: of the file before it was read; None likewise.
        cause: why it cannot be.
    """

    path: str
    video: Video | None = None
    stamp: FileStamp | None = None
    cause: str = ""


def identify_ahead(paths: Sequence[str], store: FeatureStore) -> Connection:
    """Identify files in their order, as far ahead as a pipe holds.

    Args:
        paths: of the files.
        store: that may know them; nothing may be added through this object meanwhile.

    Returns:
        Where one :class:`Identified` after the other comes, until it ends. Closing it ends the
        thread.
    """
    receiver, sender = Pipe(duplex=False)
    threading.Thread(
        target=_identify_all, args=(paths, store, sender), name="identify", daemon=True
    ).start()
    return receiver


def _identify_all(paths: Sequence[str], store: FeatureStore, sender: Connection) -> None:
    with sender:
        for path in paths:
            try:
                sender.send(identify(path, store))
            except OSError:  # The other end is closed: nobody wants to know any more.
                return


def identify(path: str, store: FeatureStore) -> Identified:
    """The video in a file, or why it cannot be told."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return Identified(path, cause=f"the name of {shown(path)} is not UTF-8; rename it")
    try:
        status = Path(path).stat()
        if not S_ISREG(status.st_mode):  # Reading a named pipe might never end.
            return Identified(path, cause=f"{path} is no file")
        stamp = FileStamp(status.st_size, status.st_mtime_ns)
        return Identified(path, store.identify(path), stamp)
    except StoreError as error:
        return Identified(path, cause=error.cause)
    except OSError as error:
        return Identified(path, cause=f"{path} cannot be read ({error.strerror})")
    except ValueError as error:  # A path that no system has, such as one with a null byte.
        return Identified(path, cause=f"{path!r} is no path ({error})")


def shard(paths: Iterable[P], index: int, count: int) -> list[P]:
    """The paths that fall to one of several runs that divide a list between them.

    Whatever else is in the list, a path always falls to the same run, and every path to exactly
    one; what decides is the path as it is written.

    Args:
        paths: the whole list, written in the same way for all runs.
        index: of the run, from 1 to ``count``.
        count: of runs.

    Raises:
        ValueError: the index is out of range.
    """
    if not 1 <= index <= count:
        raise ValueError(f"a shard is one of 1 to {count}, not {index}")
    return [path for path in paths if _number(path) % count == index - 1]


def _number(path: str | PathLike[str]) -> int:
    return int.from_bytes(hashlib.sha256(fsencode(path)).digest()[:8], "big")
