"""Which video it is: known by its content, so that renames, copies and equal names do no harm."""

from __future__ import annotations

import hashlib
import math
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

from reelgenre.errors import StoreError

HASH = re.compile(r"[0-9a-f]{64}")
SETTLED_NS = 2_000_000_000
"""A file changed less than this before it was hashed may change again within the same tick of the
clock that stamps it, so its stamp is not kept (the problem of git's index, "racily clean")."""


@dataclass(frozen=True)
class FileStamp:
    """Size and modification time of a file when it was hashed: unchanged, it need not be again."""

    size: int
    mtime_ns: int

    @classmethod
    def of(cls, path: Path) -> FileStamp:
        """The stamp of a file now."""
        status = path.stat()
        return cls(status.st_size, status.st_mtime_ns)


@dataclass(frozen=True)
class Video:
    """One video as a store knows it.

    Attributes:
        content_hash: its key: 64 hexadecimal digits, see :func:`hash_file` and :func:`hash_name`.
        video_id: its name for people and label files; need not be unique.
        source: where it came from: an absolute path, or ``youtube:ID`` and the like.
        duration_s: seconds; None where unknown.
        labels: its labels; empty where it has none, None where they are not known.
        split: ``trn``, ``val``, ``tst`` or any other name; None where it is in none.
        stamp: of the file when it was hashed; None where there was no file or it was too fresh.

    Raises:
        ValueError: the hash, the identifier or the duration cannot be one.
    """

    content_hash: str
    video_id: str
    source: str | None = None
    duration_s: float | None = None
    labels: tuple[str, ...] | None = None
    split: str | None = None
    stamp: FileStamp | None = None

    def __post_init__(self) -> None:
        if not HASH.fullmatch(self.content_hash):
            raise ValueError(f"content_hash must be 64 hexadecimal digits: {self.content_hash!r}")
        if not self.video_id:
            raise ValueError("video_id must not be empty")
        if self.duration_s is not None and not (
            math.isfinite(self.duration_s) and self.duration_s >= 0
        ):
            raise ValueError(f"duration_s must be finite and not negative, not {self.duration_s}")

    @classmethod
    def from_file(
        cls,
        path: str | os.PathLike[str],
        *,
        video_id: str | None = None,
        duration_s: float | None = None,
        labels: tuple[str, ...] | None = None,
        split: str | None = None,
    ) -> Video:
        """Hash a file; ``video_id`` is the file's name without its ending unless given.

        Raises:
            StoreError: the file cannot be read, or changes while it is.
        """
        file = Path(path).absolute()
        try:
            before = FileStamp.of(file)
            settled = time.time_ns() - before.mtime_ns > SETTLED_NS
            content_hash = hash_file(file)
            if FileStamp.of(file) != before:
                raise StoreError(
                    f"{file} changed while it was read", "Wait until it is complete, then try again"
                )
        except OSError as error:
            raise StoreError(
                f"{file} cannot be read ({error.strerror})", "Check the path and its permissions"
            ) from error
        return cls(
            content_hash,
            video_id or file.stem,
            str(file),
            duration_s,
            labels,
            split,
            before if settled else None,
        )

    @classmethod
    def from_name(
        cls,
        collection: str,
        name: str,
        *,
        duration_s: float | None = None,
        labels: tuple[str, ...] | None = None,
        split: str | None = None,
    ) -> Video:
        """A video whose file is not at hand, such as one of YouTube known by its identifier."""
        return cls(
            hash_name(collection, name), name, f"{collection}:{name}", duration_s, labels, split
        )


def hash_file(path: Path) -> str:
    """The sha256 of the whole file.

    Hashing parts of it would be cheaper still, but two trailers that differ only in the middle (a
    changed title card, another sound track) share their head, tail and size; and with the SHA
    instructions of today's processors the whole costs about a millisecond per 2 MB, far below 1 %
    of what extraction takes.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_name(collection: str, name: str) -> str:
    """The key of a video without a file: the sha256 of a text that no video file begins with."""
    return hashlib.sha256(f"reelgenre video name\0{collection}\0{name}".encode()).hexdigest()
