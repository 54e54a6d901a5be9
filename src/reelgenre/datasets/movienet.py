"""MovieNet's trailers as the paper uses them: labels, splits, durations, and the files' faults.

The list (imdb_id, youtube_id, genres, title, duration) and the splits were published with the
paper (Sulun et al., 2024, §3.1). Genres stand there as the text of a Python list, which is taken
apart here, never evaluated.
"""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from reelgenre.datasets.labels import Fault, LabelledVideo, LabelTable
from reelgenre.errors import StoreError
from reelgenre.genres import GENRES

TRAILERS = 26_412
SPLITS = {"trn": 18_488, "val": 2_642, "tst": 5_282}
"""As in the published file; the paper's text has 2,641 and 5,283."""
FENCE_S = (19.6, 214.4)
"""Inner fence of the durations of all 32,647 videos (§3.1), which are not published."""

_COLUMNS = {"youtube_id", "genres", "duration"}
_LIST = re.compile(r"\[(?:'[^'\\]*'(?:, '[^'\\]*')*)?\]")
_YOUTUBE_ID = re.compile(r"[A-Za-z0-9_-]{11}")


def read_movienet(
    trailers: str | os.PathLike[str], splits: str | os.PathLike[str] | None = None
) -> LabelTable:
    """The paper's trailers, cleaned.

    Args:
        trailers: the published CSV.
        splits: the published JSON of YouTube ids by split; without it the sorted-id rule, which
            gives the same (:func:`~reelgenre.datasets.labels.sorted_id_split`).

    Returns:
        Labels by YouTube id, the 21 genres as classes. ``faults`` lists what was wrong with the
        files and everything in which they are not as published: counts and durations included.

    Raises:
        StoreError: a file cannot be read, or a row makes no sense.
    """
    from reelgenre.datasets.labels import sorted_id_split

    file = Path(trailers)
    videos: dict[str, LabelledVideo] = {}
    faults: list[Fault] = []
    for line, row in _rows(file):
        name = row["youtube_id"]
        if not _YOUTUBE_ID.fullmatch(name):
            raise _wrong(file, line, f"{name!r} is no YouTube id")
        if name in videos:
            faults.append(Fault(name, f"line {line} repeats its id", "left out"))
            continue
        genres = _genres(file, line, name, row["genres"], faults)
        try:
            duration = float(row["duration"])
        except ValueError:
            raise _wrong(file, line, "its duration is no number") from None
        low, high = FENCE_S
        if not low <= duration <= high:
            faults.append(Fault(name, f"it lasts {duration} s, outside {low} to {high} s", "kept"))
        videos[name] = LabelledVideo(name, genres, None, duration)
    table = LabelTable(tuple(videos.values()), GENRES)
    chosen = sorted_id_split(list(videos)) if splits is None else _read_splits(Path(splits))
    table = table.with_splits(chosen)
    faults.extend(_deviations(table))
    return LabelTable(table.videos, GENRES, tuple(faults))


def inner_fence(durations: Sequence[float]) -> tuple[float, float]:
    """Q1 - 1.5 IQR and Q3 + 1.5 IQR: the paper's rule for leaving videos out (§3.1).

    Raises:
        ValueError: there are no durations, or not all are finite.
    """
    values = np.asarray(durations, np.float64)
    if not len(values) or not np.isfinite(values).all():
        raise ValueError("durations must be finite numbers, at least one")
    first, third = np.percentile(values, [25, 75])
    reach = 1.5 * (third - first)
    return float(first - reach), float(third + reach)


def _genres(file: Path, line: int, name: str, text: str, faults: list[Fault]) -> tuple[str, ...]:
    if not _LIST.fullmatch(text):
        raise _wrong(file, line, f"its genres are no list: {text!r}")
    genres = []
    for genre in re.findall(r"'([^']*)'", text):
        if genre in GENRES:
            genres.append(genre)
            continue
        # A YouTube id, or the end of one, stuck to the front of a genre.
        ending = [known for known in GENRES if genre.endswith(known)]
        meant = max(ending, key=len, default=None)
        done = f"read as {meant!r}" if meant else "left out"
        faults.append(Fault(name, f"its genre {genre!r} does not exist", done))
        if meant:
            genres.append(meant)
    if not genres:
        faults.append(Fault(name, "it has no genre", "kept, without labels"))
    return tuple(dict.fromkeys(genres))


def _deviations(table: LabelTable) -> list[Fault]:
    found = []
    if len(table.videos) != TRAILERS:
        what = f"there are {len(table.videos)} trailers, published were {TRAILERS}"
        found.append(Fault("", what, "taken as they are"))
    for split, count in SPLITS.items():
        if table.counts.get(split, 0) != count:
            what = f"{split} has {table.counts.get(split, 0)} trailers, published were {count}"
            found.append(Fault("", what, "taken as it is"))
    homeless = sum(video.split is None for video in table.videos)
    if homeless:
        found.append(Fault("", f"{homeless} trailers are in no split", "not used"))
    return found


def _rows(file: Path) -> list[tuple[int, dict[str, str]]]:
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            reader = csv.DictReader(lines, strict=True)
            if not set(reader.fieldnames or ()) >= _COLUMNS:
                raise _wrong(file, 1, f"the columns {', '.join(sorted(_COLUMNS))} are not there")
            rows: list[tuple[int, dict[Any, Any]]] = [(reader.line_num, row) for row in reader]
    except OSError as error:
        raise _unreadable(file, error.strerror) from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise _unreadable(file, "it is no CSV in UTF-8") from error
    for line, row in rows:
        if None in row or None in row.values():
            raise _wrong(file, line, "it has another number of columns")
    return rows


def _read_splits(file: Path) -> dict[str, list[str]]:
    try:
        splits = json.loads(file.read_bytes())
    except OSError as error:
        raise _unreadable(file, error.strerror) from error
    except (ValueError, RecursionError) as error:
        raise _unreadable(file, "it is no JSON") from error
    if not isinstance(splits, dict) or not all(
        isinstance(names, list) and all(isinstance(name, str) for name in names)
        for names in splits.values()
    ):
        raise _unreadable(file, "it is no object of lists of YouTube ids")
    return splits


def _unreadable(file: Path, why: str | None) -> StoreError:
    return StoreError(f"{file} cannot be read ({why})", "Get the file published with the paper")


def _wrong(file: Path, line: int, what: str) -> StoreError:
    return StoreError(
        f"{file} is wrong in line {line}: {what}", "Get the file published with the paper"
    )
