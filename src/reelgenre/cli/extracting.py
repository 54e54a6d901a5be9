"""What `reelgenre extract` does: lists, signals, lines of JSON and the summary around the room."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, Any

from reelgenre.cli.exits import FAILED, OK, SOME_FAILED, USAGE
from reelgenre.cli.progress import CountProgress
from reelgenre.datasets import LabelTable, label_store, read_labels
from reelgenre.errors import RecipeError
from reelgenre.extraction import (
    ExtractionOptions,
    ExtractionReport,
    ExtractorFactory,
    VideoResult,
    extract_videos,
    shard,
    survey_videos,
)
from reelgenre.files import shown
from reelgenre.media.collecting import collect_media
from reelgenre.store import FeatureStore, Precision
from reelgenre.store.layout import MARKER


@dataclass(frozen=True)
class Request:
    """The command's options, checked."""

    paths: tuple[Path, ...]
    list_file: Path | None
    shard: tuple[int, int] | None
    store: Path
    precision: Precision | None
    extractors: ExtractorFactory
    options: ExtractionOptions
    labels: Path | None
    jsonl: Path | None
    json: bool
    dry_run: bool


def extract_all(request: Request) -> int:
    """Extract every video and tell what became of it.

    Returns:
        The exit code: 0, 1 (all failed), 2 (nothing to do), 3 (some failed), 130 or 143.
    """
    collected = collect_media((*request.paths, *_listed(request.list_file)))
    if not collected.files and not collected.unreadable:
        sys.stderr.write(
            "reelgenre: no media files in what was given. Name the files themselves if their "
            "endings are unusual.\n"
        )
        return USAGE
    files: Sequence[Path] = collected.files
    if request.jsonl in files:
        raise RecipeError(f"{request.jsonl} is one of the videos", "Name another file for --jsonl")
    table = None if request.labels is None else read_labels(request.labels)
    if request.shard is not None:
        files = shard(files, *request.shard)
    unreadable = {
        str(error.filename): f"the folder cannot be read ({error.strerror})"
        for error in collected.unreadable
    }
    if request.dry_run:
        return _survey(request, files, unreadable)
    failures = tuple(VideoResult(path, error=cause) for path, cause in unreadable.items())
    store = _store(request)
    with (
        CountProgress("extract", len(files)) as progress,
        _Lines(request.jsonl) as lines,
        _stop_at_signals() as stopped,
    ):
        for result in failures:
            lines.tell(result)

        def hook(step: str, completed: float, total: float | None, artifact: Any = None) -> None:
            progress.hook(step, completed, total)
            if isinstance(artifact, VideoResult):
                lines.tell(artifact)

        logging.getLogger("reelgenre.extraction").setLevel(logging.WARNING)
        report = extract_videos(
            files,
            store,
            request.extractors,
            options=request.options,
            hook=hook,
            stop=stopped.event,
        )
    report = dataclasses.replace(
        report,
        videos=report.videos + len(failures),
        failures=(*failures, *report.failures),
    )
    sys.stdout.write(
        json.dumps(_printable(report.to_dict()), indent=2) if request.json else _summary(report)
    )
    sys.stdout.write("\n")
    if table is not None and stopped.by is None:
        _label(store, table, request)
    return 128 + stopped.by if stopped.by is not None else _code(report)


def _listed(file: Path | None) -> Iterator[Path]:
    """The paths in a list, one a line, whatever bytes they have."""
    if file is None:
        return
    content = sys.stdin.buffer.read() if file == Path("-") else file.read_bytes()
    for line in content.split(b"\n"):
        name = line.removesuffix(b"\r")
        if name.strip():
            yield Path(os.fsdecode(name))


def _store(request: Request) -> FeatureStore:
    if request.precision is None and (request.store / MARKER).exists():
        return FeatureStore.open(request.store)
    precision = request.precision or "float16"
    return FeatureStore.create(request.store, precision=precision, exist_ok=True)


def _survey(request: Request, files: Sequence[Path], unreadable: Mapping[str, str]) -> int:
    """Say what would be done; of unreadable folders the cause."""
    with ExitStack() as stack:
        if (request.store / MARKER).exists():
            store = FeatureStore.open(request.store)
        else:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            store = FeatureStore.create(folder)
        progress = stack.enter_context(CountProgress("identify", len(files)))
        loaded = request.extractors(None, progress.hook)
        survey = survey_videos(
            files,
            store,
            [extractor.spec for extractor in loaded.extractors],
            retry_failed=request.options.retry_failed,
            hook=progress.hook,
        )
    survey = dataclasses.replace(
        survey,
        videos=survey.videos + len(unreadable),
        unreadable={**unreadable, **survey.unreadable},
    )
    if request.json:
        sys.stdout.write(json.dumps(_printable(survey.to_dict()), indent=2) + "\n")
        return OK
    for path, cause in survey.unreadable.items():
        sys.stderr.write(f"reelgenre: {_sentence(path, cause)}\n")
    missing = ", ".join(f"{name} {count}" for name, count in survey.missing.items())
    sys.stdout.write(
        f"{survey.videos} files: {survey.complete} done, {survey.to_extract} to extract "
        f"({survey.new} of them new), {survey.failed_before} failed before, "
        f"{survey.duplicates} duplicates, {len(survey.unreadable)} cannot be read\n"
        f"missing: {missing}\n"
    )
    return OK


class _Lines:
    """A line of JSON per video, and failures for people."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: IO[bytes] | None = None

    def __enter__(self) -> _Lines:
        if self._path is not None:
            _cut_torn_line(self._path)
            # Unbuffered: a line is written whole or, where the machine dies, cut off next time.
            self._file = self._path.open("ab", buffering=0)
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def tell(self, result: VideoResult) -> None:
        """Write one video's line; failures go to standard error as well."""
        if self._file is not None:
            line = json.dumps(_printable(result.to_dict()), ensure_ascii=False, allow_nan=False)
            self._file.write(line.encode() + b"\n")
        for modality, cause in result.failures.items():
            text = f"{modality}: {cause}" if modality else cause
            sys.stderr.write(f"reelgenre: {_sentence(result.path, text)}\n")


def _cut_torn_line(path: Path) -> None:
    """Remove what a kill left of a last line."""
    if not path.is_file():  # Nor anything to cut off a pipe.
        return
    with path.open("r+b") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            start = max(0, end - 4096)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                end = start + found + 1
                break
            end = start
        file.truncate(end)


@dataclass
class _Stopped:
    """Whether the run was told to stop, and by which signal."""

    event: threading.Event
    by: int | None = None


@contextmanager
def _stop_at_signals() -> Iterator[_Stopped]:
    """Take the first SIGINT or SIGTERM as a wish to stop; a second one ends all at once."""
    stopped = _Stopped(threading.Event())

    def handle(number: int, frame: FrameType | None) -> None:
        if stopped.by is not None:
            raise SystemExit(128 + number)
        stopped.by = number
        stopped.event.set()
        sys.stderr.write("reelgenre: stopping; once more to stop at once.\n")

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _label(store: FeatureStore, table: LabelTable, request: Request) -> None:
    assert request.labels is not None
    report = label_store(store, table, base=request.labels.parent)
    for what, names in (
        ("not in the store", report.unknown),
        ("the name of several videos", report.ambiguous),
        ("labelled differently elsewhere in the file", report.contradictory),
    ):
        if names:
            sys.stderr.write(f"reelgenre: {request.labels}: {len(names)} {what}: {names[0]}")
            sys.stderr.write(" and others\n" if len(names) > 1 else "\n")


def _summary(report: ExtractionReport) -> str:
    parts = [f"{report.videos} files: {report.extracted} extracted"]
    for count, what in (
        (report.complete, "done before"),
        (report.duplicates, "duplicates"),
        (report.failed, "failed"),
        (report.failed_before, "failed before (--retry-failed tries again)"),
        (report.unfinished, "not finished"),
        (report.workers_lost, "processes lost"),
    ):
        if count:
            parts.append(f"{count} {what}")
    hours, rest = divmod(round(report.seconds), 3600)
    worked = report.extracted + report.failed
    rate = worked * 3600 / report.seconds if report.seconds else 0.0
    return f"{', '.join(parts)}; {hours}:{rest // 60:02}:{rest % 60:02}, {rate:.0f} videos/h"


def _code(report: ExtractionReport) -> int:
    """Of the state that the given videos are in, so that the same run again gives the same."""
    if not (report.failed or report.failed_before or report.unfinished):
        return OK
    return FAILED if report.fruitless else SOME_FAILED


def _sentence(path: str, cause: str) -> str:
    """What is wrong with which file; many causes name it already."""
    return shown(cause if path in cause else f"{path}: {cause}")


def _printable(value: Any) -> Any:
    """The same with every text such that it can be written as UTF-8."""
    if isinstance(value, str):
        return shown(value)
    if isinstance(value, dict):
        return {key: _printable(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_printable(one) for one in value]
    return value
