"""What is to be done with each file: nothing, or the extractors that its video lacks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from os import PathLike, fspath
from typing import Any

from reelgenre.extraction.identifying import identify
from reelgenre.extractors import ExtractorSpec
from reelgenre.hooks import Hook, no_hook
from reelgenre.store import FeatureStore, Video


@dataclass(frozen=True)
class Plan:
    """What is to be done with one file.

    Attributes:
        duplicate_of: an earlier path with the same content; then nothing is.
        missing: names of the extractors whose features the store lacks.
        failed: something failed in an earlier run and is not tried again.
        stored: something is in the store.
    """

    duplicate_of: str | None = None
    missing: tuple[str, ...] = ()
    failed: bool = False
    stored: bool = False


class Planner:
    """Compares files with what a store had when it was opened.

    Args:
        store: which.
        specs: of the extractors wanted.
        retry_failed: what failed is missing.
    """

    def __init__(
        self, store: FeatureStore, specs: Sequence[ExtractorSpec], *, retry_failed: bool
    ) -> None:
        self._store = store
        self._names = {spec.fingerprint: spec.name for spec in specs}
        self._retry_failed = retry_failed
        self._paths: dict[str, str] = {}

    def plan(self, path: str, video: Video) -> Plan:
        """What is to be done with a file in which this video is."""
        key = video.content_hash
        first = self._paths.setdefault(key, path)
        if first != path:
            return Plan(duplicate_of=first)
        missing = self._store.missing(self._names, [key], retry_failed=self._retry_failed)
        names = tuple(self._names[fingerprint] for fingerprint in missing.get(key, ()))
        known = {
            outcome.status == "failed"
            for fingerprint in self._names.keys() & set(self._store.extractors)
            if (outcome := self._store.outcomes(fingerprint).get(key)) is not None
        }
        return Plan(None, names, not self._retry_failed and True in known, False in known)


@dataclass(frozen=True)
class Survey:
    """What an extraction would do; every path is counted once.

    Attributes:
        videos: paths given.
        complete: everything is in the store.
        failed_before: nothing is missing, but something failed and would not be tried again.
        to_extract: something is missing.
        new: of these, how many the store does not know at all.
        duplicates: another path has the same content.
        unreadable: causes by path.
        missing: number of videos that lack each modality.
    """

    videos: int
    complete: int
    failed_before: int
    to_extract: int
    new: int
    duplicates: int
    unreadable: Mapping[str, str]
    missing: Mapping[str, int]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def survey_videos(
    paths: Iterable[str | PathLike[str]],
    store: FeatureStore,
    specs: Sequence[ExtractorSpec],
    *,
    retry_failed: bool = False,
    hook: Hook = no_hook,
) -> Survey:
    """What :func:`~reelgenre.extraction.extract_videos` would do.

    Files that the store does not recognise by their size and time are read to the end, since
    only their content tells which videos they are.

    Args:
        paths: of the files.
        store: nothing is written to it.
        specs: of the extractors.
        retry_failed: as :class:`~reelgenre.extraction.ExtractionOptions` has it.
        hook: told ``identify`` with the number of files done and their total.
    """
    planner = Planner(store, specs, retry_failed=retry_failed)
    files = list(dict.fromkeys(fspath(path) for path in paths))
    counts: Counter[str] = Counter()
    missing: Counter[str] = Counter()
    unreadable: dict[str, str] = {}
    for done, path in enumerate(files, start=1):
        found = identify(path, store)
        if found.video is None:
            unreadable[path] = found.cause
        else:
            plan = planner.plan(path, found.video)
            missing.update(plan.missing)
            if plan.duplicate_of is not None:
                counts["duplicates"] += 1
            elif plan.missing:
                counts["to_extract"] += 1
                counts["new"] += found.video.content_hash not in store.videos
            else:
                counts["failed_before" if plan.failed else "complete"] += 1
        hook("identify", done, len(files))
    return Survey(
        videos=len(files),
        complete=counts["complete"],
        failed_before=counts["failed_before"],
        to_extract=counts["to_extract"],
        new=counts["new"],
        duplicates=counts["duplicates"],
        unreadable=unreadable,
        missing={spec.name: missing[spec.name] for spec in specs},
    )
