"""Labels and splits of any data set: reading your own, and putting them in a store."""

from __future__ import annotations

import csv
import io
import json
import logging
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reelgenre.errors import StoreError
from reelgenre.store import FeatureStore, Video

_log = logging.getLogger("reelgenre.datasets")

SEPARATOR = "|"
KNOWN_COLUMNS = ("video", "labels", "split", "duration")


@dataclass(frozen=True)
class LabelledVideo:
    """One video of a data set.

    Attributes:
        video: its identifier, or the path of its file.
        labels: its labels; may be empty.
        split: ``trn``, ``val``, ``tst`` or any other name; None where it is in none.
        duration_s: seconds; None where unknown.
    """

    video: str
    labels: tuple[str, ...]
    split: str | None = None
    duration_s: float | None = None


@dataclass(frozen=True)
class Fault:
    """Something wrong in a published or given file.

    Attributes:
        video: whose row it is in; empty where it concerns the whole file.
        what: what is wrong.
        done: what was done about it.
    """

    video: str
    what: str
    done: str


@dataclass(frozen=True)
class LabelTable:
    """The videos of a data set.

    Attributes:
        videos: each once, in the order of the file.
        classes: all labels there are, in the order of multi-hot vectors.
        faults: what was wrong with the file.
    """

    videos: tuple[LabelledVideo, ...]
    classes: tuple[str, ...]
    faults: tuple[Fault, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """Number of videos by split; those in none are not counted."""
        return dict(Counter(video.split for video in self.videos if video.split is not None))

    def targets(self) -> NDArray[np.float32]:
        """Multi-hot labels [N, C]."""
        column = {label: i for i, label in enumerate(self.classes)}
        targets = np.zeros((len(self.videos), len(self.classes)), np.float32)
        for row, video in enumerate(self.videos):
            targets[row, [column[label] for label in video.labels]] = 1
        return targets

    def with_splits(self, splits: Mapping[str, Sequence[str]]) -> LabelTable:
        """The same videos, split as given; those that no split names are in none.

        Args:
            splits: identifiers by split.

        Raises:
            StoreError: a video is in two splits, or one of a split is not in the table.
        """
        split_of: dict[str, str] = {}
        for split, names in splits.items():
            for name in names:
                if split_of.setdefault(name, split) != split:
                    raise StoreError(
                        f"{name} is in the splits {split_of[name]} and {split}",
                        "Put every video in one split only",
                    )
        unknown = split_of.keys() - {video.video for video in self.videos}
        if unknown:
            raise StoreError(
                f"the splits name {len(unknown)} videos without labels, such as {min(unknown)}",
                "Use labels and splits of the same data set",
            )
        videos = tuple(replace(v, split=split_of.get(v.video)) for v in self.videos)
        return replace(self, videos=videos)


def read_labels(path: str | os.PathLike[str]) -> LabelTable:
    """Your own labels, from CSV or JSON lines.

    CSV has a header and the columns ``video`` and ``labels`` (separated by ``|``), JSON lines
    have objects with the keys ``video`` and ``labels`` (a list). ``split`` and ``duration`` (in
    seconds) are optional, other columns are ignored. The classes are the labels found, sorted.

    Raises:
        StoreError: the file cannot be read or a row is not as above; the row's number is named.
    """
    file = Path(path)
    try:
        text = file.read_text("utf-8-sig")
    except OSError as error:
        raise StoreError(
            f"{file} cannot be read ({error.strerror})", "Check the path and its permissions"
        ) from error
    except UnicodeDecodeError as error:
        raise StoreError(f"{file} is not UTF-8 text", "Save it as UTF-8") from error
    rows = _json_rows(file, text) if file.suffix in (".jsonl", ".ndjson") else _csv_rows(file, text)
    videos: dict[str, LabelledVideo] = {}
    faults = []
    for line, row in rows:
        video = _video(file, line, row)
        known = videos.setdefault(video.video, video)
        if known is video:
            continue
        if known != video:
            raise _wrong(file, line, f"it contradicts an earlier row on {video.video}")
        faults.append(Fault(video.video, f"line {line} repeats an earlier one", "left out"))
    if not videos:
        raise StoreError(f"{file} names no video", "Give it one row per video")
    classes = sorted({label for video in videos.values() for label in video.labels})
    return LabelTable(tuple(videos.values()), tuple(classes), tuple(faults))


def sorted_id_split(names: Sequence[str]) -> dict[str, list[str]]:
    """The paper's split (Sulun et al., 2024, §3.2.6): sorted, then 70 % trn, 10 % val, 20 % tst.

    The published splits follow from this with trn and tst rounded and val the rest.
    """
    ordered = sorted(names)
    train, test = round(0.7 * len(ordered)), round(0.2 * len(ordered))
    end = len(ordered) - test
    return {"trn": ordered[:train], "val": ordered[train:end], "tst": ordered[end:]}


@dataclass(frozen=True)
class LabelReport:
    """What putting labels into a store did.

    Attributes:
        labelled: number of videos of the store that now have labels.
        unknown: videos of the table that the store does not have.
        ambiguous: names that several videos of the store have.
        contradictory: files of the same content that the table labels differently.
    """

    labelled: int
    unknown: tuple[str, ...]
    ambiguous: tuple[str, ...]
    contradictory: tuple[str, ...]


def label_store(
    store: FeatureStore, table: LabelTable, *, base: str | os.PathLike[str] = "."
) -> LabelReport:
    """Put labels, splits and durations into a store that has the videos already.

    A ``video`` that is a file is known by its content, wherever it lies now; any other is an
    identifier.

    Args:
        store: to be labelled.
        table: the labels.
        base: folder that relative paths start from.

    Raises:
        StoreError: the store cannot be written, or a file not be read.
    """
    by_name: dict[str, list[str]] = {}
    for content_hash, video in store.videos.items():
        by_name.setdefault(video.video_id, []).append(content_hash)
    found: dict[str, LabelledVideo] = {}
    unknown: list[str] = []
    ambiguous: list[str] = []
    contradictory: list[str] = []
    for entry in table.videos:
        path = Path(base) / entry.video
        if path.is_file():
            content_hash = store.identify(path).content_hash
            keys = [content_hash] if content_hash in store.videos else []
        else:
            keys = by_name.get(entry.video, [])
        if len(keys) != 1:
            (ambiguous if keys else unknown).append(entry.video)
            continue
        known = found.setdefault(keys[0], entry)
        if (known.labels, known.split) != (entry.labels, entry.split):
            contradictory.append(entry.video)
    store.add_many(
        (
            replace(
                Video(key, store.videos[key].video_id),
                labels=entry.labels,
                split=entry.split,
                duration_s=entry.duration_s,
            ),
            {},
            {},
        )
        for key, entry in found.items()
    )
    return LabelReport(len(found), tuple(unknown), tuple(ambiguous), tuple(contradictory))


def _csv_rows(file: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        if not {"video", "labels"} <= set(reader.fieldnames or ()):
            raise _wrong(file, 1, "the header does not have the columns video and labels")
        for row in reader:
            if None in row or None in row.values():
                raise _wrong(file, reader.line_num, "it has another number of columns")
            yield (
                reader.line_num,
                {
                    "video": row["video"],
                    "labels": [part for part in row["labels"].split(SEPARATOR) if part.strip()],
                    "split": row.get("split") or None,
                    "duration": row.get("duration") or None,
                },
            )
    except csv.Error as error:
        raise _wrong(file, reader.line_num, str(error)) from error


def _json_rows(file: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    # Not `splitlines`: JSON strings may hold the other characters that it takes for line ends.
    for line, part in enumerate(text.split("\n"), start=1):
        if not part.strip():
            continue
        try:
            row = json.loads(part)
        except (ValueError, RecursionError) as error:
            raise _wrong(file, line, "it is not JSON") from error
        if not isinstance(row, dict):
            raise _wrong(file, line, "it is not an object")
        yield line, row


def _video(file: Path, line: int, row: dict[str, Any]) -> LabelledVideo:
    name, labels, split = row.get("video"), row.get("labels"), row.get("split")
    if not isinstance(name, str) or not name.strip():
        raise _wrong(file, line, "video is not a name or path")
    if not isinstance(labels, list) or not all(isinstance(x, str) and x.strip() for x in labels):
        raise _wrong(file, line, "labels are not a list of names")
    if split is not None and (not isinstance(split, str) or not split.strip()):
        raise _wrong(file, line, "split is not a name")
    duration = row.get("duration")
    try:
        seconds = None if duration is None else float(duration)
    except (TypeError, ValueError):
        seconds = -1.0
    if seconds is not None and not 0 <= seconds < float("inf"):
        raise _wrong(file, line, "duration is not a number of seconds")
    unique = dict.fromkeys(label.strip() for label in labels)
    return LabelledVideo(name.strip(), tuple(unique), split and split.strip(), seconds)


def _wrong(file: Path, line: int, what: str) -> StoreError:
    return StoreError(
        f"{file} is wrong in line {line}: {what}",
        f"See the documentation of labels: {', '.join(KNOWN_COLUMNS)}",
    )
