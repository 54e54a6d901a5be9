"""Processes that die, hang or cannot begin: only what is guilty is recorded."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.extraction.fakes import Fakes, alive, pids, ran, write_sound

from reelgenre.errors import ReelgenreError, StoreError, WeightsError
from reelgenre.extraction import (
    ExtractionError,
    ExtractionOptions,
    extract_videos,
    supervisor,
)
from reelgenre.store import FeatureStore

ROOT = Path(__file__).parent.parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
RUN = """
import sys
from pathlib import Path
from tests.extraction.fakes import Fakes
from reelgenre.extraction import ExtractionOptions, extract_videos
from reelgenre.store import FeatureStore

folder = Path(sys.argv[1])
store = FeatureStore.create(folder / "store", exist_ok=True)
report = extract_videos(
    sorted((folder / "videos").iterdir()), store, Fakes(log=folder / "log"),
    options=ExtractionOptions(videos_at_once=2),
)
print(report.extracted, report.failed)
"""


@pytest.fixture(name="store")
def _store(tmp_path: Path) -> FeatureStore:
    return FeatureStore.create(tmp_path / "store")


def start(folder: Path) -> subprocess.Popen[str]:
    """A run in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-c", RUN, str(folder)],
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )


def wait_until(condition: Callable[[], object], seconds: float = 120.0) -> None:
    """Return as soon as it holds; fail if it never does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_videos_that_kill_their_process_are_recorded_and_all_others_come_through(
    tmp_path: Path, store: FeatureStore, caplog: pytest.LogCaptureFixture
) -> None:
    names = ["a", "b", "segfault-1", "c", "d"]
    paths = [write_sound(tmp_path / "videos", name) for name in names]
    options = ExtractionOptions(workers=1, videos_at_once=3)
    report = extract_videos(paths, store, Fakes(), options=options)
    assert (report.extracted, report.failed, report.unfinished) == (4, 1, 0)
    assert report.workers_lost == 2  # Once in company and once alone.
    for name in names:
        outcome = store.outcomes("calm")[store.find(name).content_hash]
        guilty = name == "segfault-1"
        assert outcome.status == ("failed" if guilty else "stored")
        assert outcome.error == (
            "the process that extracted it was killed by SIGSEGV" if guilty else None
        )
    assert "killed by SIGSEGV; in flight: " in caplog.text


def test_a_worker_that_is_killed_from_outside_costs_no_video(
    tmp_path: Path, store: FeatureStore
) -> None:
    log = tmp_path / "log"
    paths = [write_sound(tmp_path / "videos", f"slow-{n}") for n in range(4)]

    def kill() -> None:
        wait_until(lambda: ("loud", "slow-1") in ran(log))
        (worker,) = pids(log)
        os.kill(worker, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    options = ExtractionOptions(videos_at_once=1)
    report = extract_videos(paths, store, Fakes(log=log), options=options)
    killer.join()
    assert (report.extracted, report.failed, report.workers_lost) == (4, 0, 1)
    assert store.missing(["loud:0123456789abcdef", "calm:0123456789abcdef"]) == {}
    assert store.verify().problems == ()


def test_a_process_that_hangs_is_ended_and_its_video_recorded(
    tmp_path: Path, store: FeatureStore
) -> None:
    # It holds Python's lock, too, so that nothing inside the process could end it.
    paths = [write_sound(tmp_path / "videos", name) for name in ("seize-1", "a")]
    options = ExtractionOptions(videos_at_once=2, timeout_s=4)
    report = extract_videos(paths, store, Fakes(), options=options)
    assert (report.extracted, report.failed, report.workers_lost) == (1, 1, 2)
    outcome = store.outcomes("calm")[store.find("seize-1").content_hash]
    assert outcome.error == "it took longer than 4 s"


def test_where_every_process_dies_no_video_is_blamed(
    tmp_path: Path,
    store: FeatureStore,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(supervisor, "MOST_VERDICTS", 2)
    paths = [write_sound(tmp_path / "videos", f"{name}-1") for name in ("device", "memory")]
    options = ExtractionOptions(videos_at_once=2)
    with pytest.raises(ExtractionError, match="none of them is recorded"):
        extract_videos(paths, store, Fakes(), options=options)
    assert store.videos == {}
    assert "ended itself (RuntimeError: CUDA error: an illegal memory access" in caplog.text
    assert "ended itself (MemoryError: no room)" in caplog.text


@pytest.mark.parametrize(
    ("loading", "error", "said"),
    [
        ("weights", WeightsError, "the weights are missing"),
        ("bug", ExtractionError, "KeyError: 'layer.0'"),
        ("crash", ExtractionError, "2 worker processes in a row .* SIGSEGV"),
        ("small disk", StoreError, "cannot be written"),
        ("deadly disk", ExtractionError, "nothing stored; .* SIGXFSZ"),
    ],
)
def test_what_concerns_the_run_ends_it_and_no_video_is_blamed(
    tmp_path: Path,
    store: FeatureStore,
    monkeypatch: pytest.MonkeyPatch,
    loading: str,
    error: type[ReelgenreError],
    said: str,
) -> None:
    monkeypatch.setattr(supervisor, "MOST_IDLE_DEATHS", 2)
    path = write_sound(tmp_path / "videos", "good")
    with pytest.raises(error, match=said):
        extract_videos([path], store, Fakes(loading=loading))
    assert store.videos == {}


def test_an_extractor_that_says_that_the_run_is_over_ends_it(
    tmp_path: Path, store: FeatureStore
) -> None:
    paths = [write_sound(tmp_path / "videos", name) for name in ("disk-1", "slow-1")]
    with pytest.raises(StoreError, match="the disk is full"):
        extract_videos(paths, store, Fakes(), options=ExtractionOptions(videos_at_once=2))
    assert "disk-1" not in {video.video_id for video in store.videos.values()}


def test_a_stopped_run_finishes_what_is_in_flight_and_the_next_one_the_rest(
    tmp_path: Path, store: FeatureStore
) -> None:
    paths = [write_sound(tmp_path / "videos", f"slow-{n}") for n in range(12)]
    paths.insert(1, write_sound(tmp_path / "videos", "hang-1"))
    stop = threading.Event()

    def hook(step: str, completed: float, total: float | None, artifact: Any = None) -> None:
        if artifact is not None:
            stop.set()

    options = ExtractionOptions(videos_at_once=2, grace_s=1)
    report = extract_videos(paths, store, Fakes(), options=options, hook=hook, stop=stop)
    assert 1 <= report.extracted < 12
    assert report.unfinished == 13 - report.extracted
    assert report.failed == 0
    assert store.verify().problems == ()
    before = report.extracted
    options = ExtractionOptions(videos_at_once=12)
    report = extract_videos([paths[0], *paths[2:]], store, Fakes(), options=options)
    assert report.complete >= before  # The last thing that was stored may not have been told.
    assert report.complete + report.extracted == 12


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_no_worker_outlives_its_supervisor(tmp_path: Path) -> None:
    write_sound(tmp_path / "videos", "seize-1")  # It could not even see the closed pipe.
    log = tmp_path / "log"
    with start(tmp_path) as process:
        try:
            wait_until(lambda: ("loud", "seize-1") in ran(log))
        finally:
            process.kill()
    (worker,) = pids(log)
    wait_until(lambda: not alive(worker), 60)


def test_two_runs_on_one_store_at_the_same_time(tmp_path: Path) -> None:
    for n in range(12):
        write_sound(tmp_path / "videos", f"{n}")
    runs = [start(tmp_path) for _ in range(2)]
    assert [run.wait() for run in runs] == [0, 0]
    store = FeatureStore.open(tmp_path / "store")
    assert len(store.videos) == 12
    assert store.missing(["loud:0123456789abcdef", "calm:0123456789abcdef"]) == {}
    assert store.verify().problems == ()
