"""`reelgenre classify`: many files through one pipeline; what fails is told, the rest goes on."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import IO, Any

from reelgenre.cli.exits import FAILED, INTERRUPTED, OK, SOME_FAILED, USAGE
from reelgenre.cli.progress import Progress
from reelgenre.cli.render import render_result
from reelgenre.errors import MediaError, RecipeError
from reelgenre.files import shown
from reelgenre.media.collecting import collect_media
from reelgenre.pipeline import GenrePipeline
from reelgenre.results import GenreResult

_log = logging.getLogger("reelgenre.cli")


@dataclass(frozen=True)
class Request:
    """The command's options, checked."""

    paths: tuple[Path, ...]
    top: int
    threshold: float | None
    json: bool
    jsonl: Path | None
    resume: bool
    profile: str
    model: Path | None
    modalities: tuple[str, ...] | None
    threads: int | None
    device: str
    offline: bool | None


@dataclass(frozen=True)
class Failure:
    """A file that gave nothing, and why."""

    path: str
    cause: str
    remedy: str

    def to_dict(self) -> dict[str, str]:
        """The JSON of a failed file: it has `error` where others have genres."""
        return {"path": self.path, "error": self.cause, "remedy": self.remedy}


def classify_all(request: Request) -> int:
    """Classify every file and print or write the results.

    Returns:
        The exit code: 0, 1 (all failed), 2 (nothing to do), 3 (some failed) or 130.
    """
    collected = collect_media(request.paths)
    files = collected.files
    failures = [
        Failure(str(error.filename), f"{error.filename}: {error.strerror}", "Allow reading")
        for error in collected.unreadable
    ]
    if request.jsonl in files:
        raise RecipeError(f"{request.jsonl} is one of the videos", "Name another file for --jsonl")
    done = _already_done(request.jsonl) if request.resume and request.jsonl else set()
    todo = [path for path in files if shown(path) not in done]
    if not files and not failures:
        folders = ", ".join(map(shown, request.paths))
        sys.stderr.write(
            f"reelgenre: no media files in {folders}. Name the files themselves if their "
            "endings are unusual.\n"
        )
        return USAGE
    single = len(request.paths) == 1 and not request.paths[0].is_dir()
    with Progress(len(todo)) as progress:
        # Before the output is opened: what cannot start must not replace an earlier result.
        pipeline = _pipeline(request, progress) if todo else None
        with _Output(request, single) as output, _interrupts() as pressed:
            for failure in failures:
                output.failure(failure)
            try:
                for path in todo:
                    assert pipeline is not None
                    progress.start(shown(path))
                    outcome = _classify(pipeline, path, request, progress)
                    if isinstance(outcome, Failure):
                        failures.append(outcome)
                        output.failure(outcome)
                    else:
                        output.result(outcome.to_dict(), render_result(outcome, request.top))
                    progress.finish()
                    if pressed.is_set():
                        raise KeyboardInterrupt
            except KeyboardInterrupt:
                progress.close()
                sys.stderr.write("reelgenre: interrupted; the files before this one are done.\n")
                return INTERRUPTED
    return _summary(len(files), len(files) - len(todo), failures)


@contextmanager
def _interrupts() -> Iterator[threading.Event]:
    """Remember Ctrl-C as well as raise it: Python drops what is raised in a destructor's call."""
    pressed = threading.Event()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a script's background
        yield pressed
        return

    def handle(_: int, __: FrameType | None) -> None:
        pressed.set()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, before)


def _pipeline(request: Request, progress: Progress) -> GenrePipeline:
    return GenrePipeline.from_pretrained(
        request.profile,
        model=request.model,
        modalities=request.modalities,
        threads=request.threads,
        device=request.device,
        offline=request.offline,
        hook=progress.hook,
    )


def _classify(
    pipeline: GenrePipeline, path: Path, request: Request, progress: Progress
) -> GenreResult | Failure:
    try:
        return pipeline(path, threshold=request.threshold, hook=progress.hook)
    except MediaError as error:
        return Failure(shown(path), error.cause, error.remedy)
    except Exception as error:  # noqa: BLE001 - one file must not cost the night's other files
        _log.debug("%s failed", shown(path), exc_info=True)
        return Failure(
            shown(path),
            f"{shown(path)}: unexpected {type(error).__name__}: {error}",
            "This is a fault of reelgenre: report it with what `reelgenre --verbose` prints",
        )


def _already_done(jsonl: Path) -> set[str]:
    """Paths that the file has results for; a torn last line, left by a kill, is cut off.

    Raises:
        RecipeError: the file holds something else; it is left alone.
    """
    if not jsonl.exists():
        return set()
    done: set[str] = set()
    intact = 0
    with jsonl.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            try:
                entry = json.loads(line)
                path = entry["path"]
            except (ValueError, TypeError, KeyError) as error:
                raise RecipeError(
                    f"{jsonl} is not a file of results", "Name another file for --jsonl"
                ) from error
            intact += len(line)
            if "error" not in entry:
                done.add(path)
    os.truncate(jsonl, intact)
    return done


class _Output:
    """Where results go: a table, JSON on standard output, or lines of a file."""

    def __init__(self, request: Request, single: bool) -> None:
        self._request = request
        self._single = single
        self._first = True
        self._file: IO[str] | None = None

    def __enter__(self) -> _Output:
        if self._request.jsonl is not None:
            # A line at a time and each flushed whole, not a file at the end: a run over a
            # hundred thousand files is followed while it runs and resumed after a kill.
            mode = "a" if self._request.resume else "w"
            self._file = self._request.jsonl.open(mode, encoding="utf-8")
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()
        if self._request.json and not self._single:
            sys.stdout.write("[]\n" if self._first else "\n]\n")
            sys.stdout.flush()

    def result(self, entry: dict[str, Any], table: str) -> None:
        """Put out one file's result."""
        if not self._write(entry):
            sys.stdout.write(table + "\n")
            sys.stdout.flush()

    def failure(self, failure: Failure) -> None:
        """Put out that one file failed; people hear of it on standard error in any case."""
        self._write(failure.to_dict())
        sys.stderr.write(f"reelgenre: {failure.cause}. {failure.remedy}.\n")

    def _write(self, entry: dict[str, Any]) -> bool:
        if self._file is not None:
            self._file.write(_json(entry) + "\n")
            self._file.flush()
        elif self._request.json:
            if not self._single:
                sys.stdout.write("[\n" if self._first else ",\n")
            sys.stdout.write(_json(entry, indent=2) + ("\n" if self._single else ""))
            sys.stdout.flush()
        else:
            return False
        self._first = False
        return True


def _json(entry: dict[str, Any], indent: int | None = None) -> str:
    return json.dumps(entry, ensure_ascii=False, allow_nan=False, indent=indent)


def _summary(count: int, skipped: int, failures: list[Failure]) -> int:
    if count > 1 and (failures or skipped):
        before = f", {skipped} done before" if skipped else ""
        sys.stderr.write(f"reelgenre: {count} files{before}, {len(failures)} failed")
        sys.stderr.write(":\n" if failures else ".\n")
        for failure in failures:
            sys.stderr.write(f"  {failure.path}: {failure.cause}\n")
    if not failures:
        return OK
    return FAILED if len(failures) >= count else SOME_FAILED
