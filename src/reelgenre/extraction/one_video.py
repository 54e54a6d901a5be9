"""One video through the extractors that it lacks, and what to store and to tell of it."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from reelgenre.errors import MediaError, ReelgenreError
from reelgenre.extraction.loading import Loaded
from reelgenre.extraction.messages import Task
from reelgenre.extraction.types import ModalityResult, VideoResult
from reelgenre.extractors import Extraction, Extractor, Text, TextExtractor
from reelgenre.extractors.running import read_video
from reelgenre.hooks import Hook
from reelgenre.sequences import FeatureSequence
from reelgenre.store import FileStamp, Precision, Video
from reelgenre.store.tensors import as_stored

CAUSE_CHARACTERS = 500
# Of torch and its CUDA libraries; by name, because looking must not import them.
_PROCESS_ERRORS = ("AcceleratorError", "OutOfMemoryError", "MemoryError")
_PROCESS_TEXTS = ("CUDA error", "CUDA failed with error", "CUBLAS_STATUS_", "CUDNN_STATUS_")


@dataclass(frozen=True)
class Entry:
    """One video's features on their way into the store.

    Attributes:
        number: of its task.
        video: what of it is new to the store.
        features, failures: by fingerprint; see :meth:`reelgenre.store.FeatureStore.add`.
        result: to be told once they are stored.
    """

    number: int
    video: Video
    features: Mapping[str, FeatureSequence | None]
    failures: Mapping[str, str]
    result: VideoResult


class ProcessError(Exception):
    """After this the process is of no use to any video, which may be this video's fault or not."""


def extract_video(task: Task, loaded: Loaded, precision: Precision, hook: Hook) -> Entry:
    """Extract what a video lacks; what fails is part of what is found.

    Args:
        task: which video, and what it lacks.
        loaded: the extractors.
        precision: of the store.
        hook: see :func:`reelgenre.extractors.running.read_video`.

    Raises:
        ReelgenreError: it would meet every other video, too.
        ProcessError: the device is lost, or memory has run out.
    """
    started = time.perf_counter()
    extractors = with_sources(loaded.extractors, task.missing)
    found: Mapping[str, Extraction | None] = {}
    seconds: Mapping[str, float] = {}
    duration: float | None = None
    whole: str | None = None
    causes: dict[str, str] = {}
    try:
        read = read_video(task.path, extractors, loaded.media, hook)
    except Exception as error:  # noqa: BLE001 - a decoder's fault costs its video, not the run
        whole = _cause_in_video(error)
        causes = dict.fromkeys(task.missing, whole)
    else:
        found, seconds, duration = read.found, read.seconds, read.report.duration_s
        causes = {name: _cause_in_video(error) for name, error in read.failed.items()}
    if not _unchanged(task):
        return _nothing(task, "it changed or vanished while it was extracted")
    features: dict[str, FeatureSequence | None] = {}
    failures: dict[str, str] = {}
    results: dict[str, ModalityResult] = {}
    for spec in (extractor.spec for extractor in extractors):
        if spec.name not in task.missing:
            continue
        extraction = found.get(spec.name)
        sequence = None if extraction is None else extraction.sequence
        cause = causes.get(spec.name) or _unstorable(sequence, precision)
        took = seconds.get(spec.name)
        if cause is not None:
            failures[spec.fingerprint] = cause
            one = ModalityResult(spec.fingerprint, "failed", error=cause, seconds=took)
        elif sequence is None:
            features[spec.fingerprint] = None
            one = ModalityResult(spec.fingerprint, "absent", seconds=took)
        else:
            features[spec.fingerprint] = sequence
            one = ModalityResult(spec.fingerprint, "stored", sequence.steps, seconds=took)
        results[spec.name] = one
    result = VideoResult(
        path=task.path,
        content_hash=task.video.content_hash,
        video_id=task.video.video_id,
        duration_s=duration,
        seconds=time.perf_counter() - started,
        modalities=results,
        error=whole,
    )
    return Entry(task.number, replace(task.video, duration_s=duration), features, failures, result)


def _unchanged(task: Task) -> bool:
    """Whether the file is still the one whose content is known."""
    try:
        return FileStamp.of(Path(task.path)) == task.stamp
    except OSError:
        return False


def _nothing(task: Task, cause: str) -> Entry:
    """Nothing to store: the next run will see what there is then."""
    return Entry(task.number, task.video, {}, {}, VideoResult(task.path, error=cause))


def with_sources(
    extractors: Sequence[Extractor | TextExtractor], names: Collection[str]
) -> list[Extractor | TextExtractor]:
    """The extractors of these names and those whose text they read, in order."""
    wanted = set(names)
    while True:
        chosen = [extractor for extractor in extractors if extractor.spec.name in wanted]
        needs = [extractor.spec.needs for extractor in chosen]
        sources = {name for need in needs if isinstance(need, Text) for name in need.of}
        if sources <= wanted:
            return chosen
        wanted |= sources


def cause_of(error: Exception) -> str:
    """One line that says what happened, and that can be written as UTF-8."""
    if isinstance(error, ReelgenreError):
        return error.cause
    text = " ".join(f"{type(error).__name__}: {error}".split())
    text = text.encode(errors="backslashreplace").decode()
    return text if len(text) <= CAUSE_CHARACTERS else f"{text[:CAUSE_CHARACTERS]}…"


def _cause_in_video(error: Exception) -> str:
    """The cause, where the error concerns this video alone.

    Raises:
        ReelgenreError, ProcessError: see :func:`extract_video`.
    """
    if isinstance(error, ReelgenreError) and not isinstance(error, MediaError):
        raise error
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if not kinds.isdisjoint(_PROCESS_ERRORS) or any(text in str(error) for text in _PROCESS_TEXTS):
        raise ProcessError(cause_of(error)) from error
    return cause_of(error)


def _unstorable(sequence: FeatureSequence | None, precision: Precision) -> str | None:
    """Why the store cannot keep the features; None where it can."""
    try:
        if sequence is not None:
            as_stored(sequence, precision)
    except ValueError as error:
        return f"{error}; a store of float32 could keep them"
    return None
