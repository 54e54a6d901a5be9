"""Writing files so that a reader never sees half of one, whatever happens to the writer."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary neighbour of ``path`` for writing; it takes the name when the block ends.

    The data is flushed to the disk before the rename. When the block raises, ``path`` is as it
    was and the temporary file is gone.

    Args:
        path: the final name; its folder must exist.

    Yields:
        The open binary file.

    Raises:
        OSError: the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def flush_folder(folder: Path) -> None:
    """Bring a folder's own entries to the disk; without it a power cut may undo a rename.

    Where folders cannot be opened (Windows) or flushed (some network disks), nothing is done.

    Raises:
        OSError: the disk fails.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def shown(path: str | os.PathLike[str]) -> str:
    """The path as text that can always be printed and written."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
