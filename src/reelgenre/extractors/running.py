"""One video through its extractors: decoded once, all of them at work meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from os import PathLike
from typing import cast

from reelgenre.extractors.base import Extraction, Extractor, Text, TextExtractor
from reelgenre.hooks import Hook, no_hook
from reelgenre.media import Frames, MediaOptions, MediaReport, MediaView, Sound, open_media


@dataclass(frozen=True)
class Read:
    """What the extractors made of one video; each dictionary is by name, in their order.

    Attributes:
        found: of those that did not fail; None where a modality is absent.
        failed: what the others raised. One that reads what a failed one would have found has
            failed with it.
        seconds: wall time of each that ran.
        report: what decoding found.
        decoding_s: wall time of the decode pass, waiting for the models included.
    """

    found: dict[str, Extraction | None]
    failed: dict[str, Exception]
    seconds: dict[str, float]
    report: MediaReport
    decoding_s: float

    @property
    def extractions(self) -> dict[str, Extraction]:
        """Of the modalities that are there."""
        return {name: found for name, found in self.found.items() if found is not None}

    def raise_first_failure(self) -> None:
        """For callers to whom a video without one of its modalities is of no use.

        Raises:
            Exception: what the first extractor that failed raised; nothing if none did.
        """
        for error in self.failed.values():
            raise error


@dataclass(frozen=True)
class _Outcome:
    """Of one extractor; its error, or else what it found."""

    extraction: Extraction | None
    error: Exception | None
    seconds: float


def read_video(
    path: str | PathLike[str],
    extractors: Sequence[Extractor | TextExtractor],
    options: MediaOptions,
    hook: Hook = no_hook,
) -> Read:
    """Decode a file once and run every extractor on it.

    Those that look or listen are at work while it is decoded, each in a thread of its own; where
    one fails, the others go on. Those that read text follow. Several threads may read videos with
    the same extractors at once, which then share batches.

    Args:
        path: of the file.
        extractors: at least one of them looks or listens.
        options: how the file is decoded.
        hook: hears of the decoding (``decode``, in seconds of the video) and of every extractor
            that did not fail, with what it found as the artefact.

    Raises:
        MediaError: the file gives nothing.
        ValueError: no extractor looks or listens.
    """
    readers, derived = _by_need(extractors)
    if not readers:
        raise ValueError("no extractor looks or listens")
    outcomes: dict[str, _Outcome] = {}

    def note(name: str, outcome: _Outcome) -> None:
        outcomes[name] = outcome
        if outcome.error is None:
            hook(name, 1, 1, outcome.extraction)

    with (
        open_media(path, options) as media,
        ThreadPoolExecutor(len(readers), thread_name_prefix="extract") as pool,
    ):
        views = [media.view(needs) for _, needs in readers]
        futures = [
            pool.submit(_timed, partial(_extract, extractor, view))
            for (extractor, _), view in zip(readers, views, strict=True)
        ]
        started = time.perf_counter()
        try:
            report = media.run(lambda done, total: hook("decode", done, total))
        except BaseException:
            for view in views:
                view.close()
            raise
        decoding = time.perf_counter() - started
        for (extractor, _), future in zip(readers, futures, strict=True):
            note(extractor.spec.name, future.result())
    for deriver, text in derived:
        note(deriver.spec.name, _timed(partial(_derive, deriver, text, outcomes)))
    in_order = {e.spec.name: outcomes[e.spec.name] for e in extractors}
    return Read(
        {name: one.extraction for name, one in in_order.items() if one.error is None},
        {name: one.error for name, one in in_order.items() if one.error is not None},
        {name: one.seconds for name, one in in_order.items()},
        report,
        decoding,
    )


def _by_need(
    extractors: Sequence[Extractor | TextExtractor],
) -> tuple[list[tuple[Extractor, Frames | Sound]], list[tuple[TextExtractor, Text]]]:
    """Those that look or listen, and those that take the text which others found."""
    readers: list[tuple[Extractor, Frames | Sound]] = []
    derived: list[tuple[TextExtractor, Text]] = []
    for extractor in extractors:
        needs = extractor.spec.needs
        if isinstance(needs, Text):
            derived.append((cast(TextExtractor, extractor), needs))
        else:
            readers.append((cast(Extractor, extractor), needs))
    return readers, derived


def _timed(run: Callable[[], Extraction | None]) -> _Outcome:
    started = time.perf_counter()
    extraction, failure = None, None
    try:
        extraction = run()
    except Exception as error:  # noqa: BLE001 - models raise anything; the others' work is kept
        failure = error
    return _Outcome(extraction, failure, time.perf_counter() - started)


def _extract(extractor: Extractor, view: MediaView) -> Extraction | None:
    # Whatever happens, the decoder must not wait for this consumer any more.
    with view:
        return extractor.extract(view)


def _derive(
    extractor: TextExtractor, text: Text, outcomes: Mapping[str, _Outcome]
) -> Extraction | None:
    there: dict[str, Extraction] = {}
    for name, outcome in outcomes.items():
        if outcome.error is not None and name in text.of:
            raise outcome.error
        if outcome.extraction is not None:
            there[name] = outcome.extraction
    return extractor.derive(there)
