"""Which files are meant by a list of files and folders."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

MEDIA_SUFFIXES = frozenset(
    {
        *("3g2", "3gp", "asf", "avi", "flac", "flv", "gif", "m2ts", "m2v", "m4a", "m4v", "mka"),
        *("mkv", "mov", "mp3", "mp4", "mpeg", "mpg", "mts", "mxf", "oga", "ogg", "ogm", "ogv"),
        *("opus", "rm", "rmvb", "ts", "vob", "wav", "webm", "wma", "wmv", "y4m"),
    }
)
"""In a folder only files with these endings are taken."""


@dataclass(frozen=True)
class Collected:
    """Files that were found.

    Attributes:
        files: each once.
        unreadable: one error, with its ``filename``, for every folder that cannot be read.
    """

    files: tuple[Path, ...]
    unreadable: tuple[OSError, ...]


def collect_media(paths: Iterable[Path]) -> Collected:
    """Files as they are named, whether or not they are there, and those in folders.

    Folders are walked in sorted order, hidden files left out, links to folders not followed.
    """
    files: dict[Path, None] = {}
    unreadable: list[OSError] = []
    for path in paths:
        if not os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises where it may not look
            files[path] = None
            continue
        for folder, subfolders, names in os.walk(path, onerror=unreadable.append):
            subfolders.sort()
            for name in sorted(names):
                file = Path(folder, name)
                if file.suffix[1:].lower() in MEDIA_SUFFIXES and not name.startswith("."):
                    files[file] = None
    return Collected(tuple(files), tuple(unreadable))
