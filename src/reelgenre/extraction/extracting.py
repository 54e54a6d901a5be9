"""Many videos into a feature store."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from os import PathLike, fspath

from reelgenre.extraction.loading import ExtractorFactory
from reelgenre.extraction.supervisor import Supervisor
from reelgenre.extraction.types import ExtractionOptions, ExtractionReport
from reelgenre.hooks import Hook, no_hook
from reelgenre.store import FeatureStore


def extract_videos(
    paths: Iterable[str | PathLike[str]],
    store: FeatureStore,
    extractors: ExtractorFactory,
    *,
    options: ExtractionOptions | None = None,
    hook: Hook = no_hook,
    stop: threading.Event | None = None,
) -> ExtractionReport:
    """Extract what a store lacks of many videos, in processes of their own.

    A video is known by its content: what the store has of it is not extracted again, and of
    several paths with the same content one is extracted. What cannot be read, decoded or extracted
    is recorded with its cause, and the rest goes on; so it does when a process dies. Starting again
    after anything, a power cut included, continues where the store stands.

    The processes are started by multiprocessing's ``spawn``: a script that calls this does so under
    ``if __name__ == "__main__":``.

    Args:
        paths: of the files, read in their order.
        store: on a local or shared disk; others may add to it at the same time, but not through
            this object before this function returns.
        extractors: makes each process's extractors, such as
            :class:`~reelgenre.extraction.ProfileExtractors`.
        options: how many at a time, and how patiently.
        hook: told ``extract`` with the number of paths done and their total, and the
            :class:`~reelgenre.extraction.VideoResult` as the artefact where something was done;
            also hears of weights being fetched.
        stop: when set, nothing new is begun, what is in flight has
            :attr:`ExtractionOptions.grace_s` to finish, and the report tells what was done.

    Returns:
        What was done; ``store`` shows it, too.

    Raises:
        WeightsError, RecipeError: the extractors cannot be loaded.
        StoreError: the store cannot be written.
        ExtractionError: the processes die, whichever video they have.
        ReelgenreError: whatever else would meet every video. After any of these, what was stored
            before is in the store, and no video is recorded as failed because of it.
    """
    store.writable_folder()
    files = list(dict.fromkeys(fspath(path) for path in paths))
    supervisor = Supervisor(
        store, extractors, options or ExtractionOptions(), hook, stop or threading.Event()
    )
    try:
        return supervisor.run(files)
    finally:
        store.refresh()
