"""What an extraction is told and what it tells."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from reelgenre.errors import ReelgenreError
from reelgenre.store.manifest import Status


class ExtractionError(ReelgenreError):
    """The processes that extract cannot do their work, whichever video it is."""


@dataclass(frozen=True)
class ExtractionOptions:
    """How many videos are extracted at a time, and how patiently.

    Attributes:
        workers: processes, each with its own models; None for one per CUDA device where the
            models run on CUDA, else one per 16 cores.
        videos_at_once: in flight in each process, sharing its models; None for one per core of
            the process's share, on CUDA at most 8.
        timeout_s: longest time in seconds that one video may take; None for ten minutes and
            twenty times its length.
        retry_failed: extract again what is recorded as failed.
        grace_s: seconds that videos in flight are given to finish when the run is stopped.

    Raises:
        ValueError: a number is out of range.
    """

    workers: int | None = None
    videos_at_once: int | None = None
    timeout_s: float | None = None
    retry_failed: bool = False
    grace_s: float = 8.0

    def __post_init__(self) -> None:
        if any(number is not None and number < 1 for number in (self.workers, self.videos_at_once)):
            raise ValueError("workers and videos_at_once must be at least 1")
        if self.timeout_s is not None and not 0 < self.timeout_s < math.inf:
            raise ValueError("timeout_s must be a positive number of seconds")
        if not 0 <= self.grace_s < math.inf:
            raise ValueError("grace_s must be a number of seconds")


@dataclass(frozen=True)
class ModalityResult:
    """What became of one modality of one video.

    Attributes:
        extractor: its fingerprint.
        status: ``stored``, ``absent`` (the video does not have it) or ``failed``.
        steps: T; None unless stored.
        error: why it failed.
        seconds: wall time; None where it did not come to run.
    """

    extractor: str
    status: Status
    steps: int | None = None
    error: str | None = None
    seconds: float | None = None


@dataclass(frozen=True)
class VideoResult:
    """What this run did with one file.

    Attributes:
        path: as given.
        content_hash, video_id: see :class:`reelgenre.store.Video`; None where the file could not
            be read.
        duplicate_of: another path of this run with the same content, which stands for it.
        duration_s: seconds; None where unknown.
        seconds: wall time of its extraction.
        modalities: what was extracted just now, by name; others were in the store already.
        error: why the whole file failed.
    """

    path: str
    content_hash: str | None = None
    video_id: str | None = None
    duplicate_of: str | None = None
    duration_s: float | None = None
    seconds: float = 0.0
    modalities: Mapping[str, ModalityResult] = field(default_factory=dict)
    error: str | None = None

    @property
    def failures(self) -> dict[str, str]:
        """Causes by modality; under the empty name where it is one for the whole file."""
        if self.error is not None:
            return {"": self.error}
        return {
            name: one.error or "" for name, one in self.modalities.items() if one.status == "failed"
        }

    def to_dict(self) -> dict[str, Any]:
        """For JSON; keys that mean nothing for this file are left out."""
        whole = _telling(asdict(self))
        if self.modalities:
            whole["modalities"] = {
                name: _telling(asdict(one)) for name, one in self.modalities.items()
            }
        return whole


@dataclass(frozen=True)
class ExtractionReport:
    """What an extraction did.

    Every path is counted once.

    Attributes:
        videos: paths given.
        extracted: something was extracted just now, and nothing of it failed, now or before.
        complete: everything was in the store before.
        failed_before: nothing failed just now, but something did in an earlier run and was not
            tried again.
        duplicates: another path has the same content.
        failures: the results of those of which something failed just now, or everything.
        unfinished: not reached, or broken off, because the run was stopped.
        modalities: numbers of videos by modality and status, of what was extracted just now.
        fruitless: nothing of any video is in the store, now or from before.
        workers_lost: processes that died or were killed for taking too long.
        seconds: wall time.
    """

    videos: int
    extracted: int
    complete: int
    failed_before: int
    duplicates: int
    failures: tuple[VideoResult, ...]
    unfinished: int
    modalities: Mapping[str, Mapping[Status, int]]
    fruitless: bool
    workers_lost: int
    seconds: float

    @property
    def failed(self) -> int:
        """Number of files of which something failed just now, or everything."""
        return len(self.failures)

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        numbers = asdict(self) | {"failed": self.failed}
        return numbers | {"failures": [failure.to_dict() for failure in self.failures]}


def _telling(values: dict[str, Any]) -> dict[str, Any]:
    """Without what says nothing, and seconds to the millisecond."""
    return {
        key: round(value, 3) if isinstance(value, float) else value
        for key, value in values.items()
        if value is not None and value != {}
    }


class Tally:
    """Counts a run's results as they come.

    Args:
        videos: paths given.
    """

    def __init__(self, videos: int) -> None:
        self.videos = videos
        self.workers_lost = 0
        self.fruitless = True
        self._extracted = self._complete = self._failed_before = self._duplicates = 0
        self._failures: list[VideoResult] = []
        self._modalities: dict[str, Counter[Status]] = {}

    @property
    def done(self) -> int:
        """Paths of which all is known."""
        return (
            self._extracted
            + self._complete
            + self._failed_before
            + self._duplicates
            + len(self._failures)
        )

    def stored_before(self, *, failed: bool) -> None:
        """A video of which nothing is to be extracted."""
        if failed:
            self._failed_before += 1
        else:
            self._complete += 1

    def add(self, result: VideoResult, *, failed_before: bool = False) -> None:
        """A video that this run did something with.

        Args:
            result: what.
            failed_before: something else of it failed in an earlier run.
        """
        for name, one in result.modalities.items():
            self._modalities.setdefault(name, Counter())[one.status] += 1
            self.fruitless &= one.status == "failed"
        if result.failures:
            self._failures.append(result)
        elif result.duplicate_of is not None:
            self._duplicates += 1
        elif failed_before:
            self._failed_before += 1
        else:
            self._extracted += 1

    def report(self, seconds: float) -> ExtractionReport:
        """The numbers as they are now."""
        return ExtractionReport(
            videos=self.videos,
            extracted=self._extracted,
            complete=self._complete,
            failed_before=self._failed_before,
            duplicates=self._duplicates,
            failures=tuple(self._failures),
            unfinished=self.videos - self.done,
            modalities={name: dict(counts) for name, counts in self._modalities.items()},
            fruitless=self.fruitless,
            workers_lost=self.workers_lost,
            seconds=seconds,
        )
