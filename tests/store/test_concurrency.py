"""Several processes at once, and processes that are killed in the middle of their work."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reelgenre.store import FeatureStore

WRITER = """
import sys
import numpy as np
from reelgenre.sequences import FeatureSequence
from reelgenre.store import FeatureStore, Video

folder, worker, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
store = FeatureStore.create(folder, precision="float32", exist_ok=True)
for n in range(count):
    values = np.full((2 + n % 3, 4), n, np.float32)
    times = np.zeros((len(values), 2), np.float32)
    video = Video.from_name(worker, str(n), labels=(worker,), split="trn")
    store.add(video, {"clip:1": FeatureSequence(values, times, "clip:1"), "asr:2": None})
    print(n, flush=True)
"""
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def writer(folder: Path, worker: str, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), worker, str(count)],
        stdout=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )


def test_processes_add_to_one_store_while_others_read_and_nothing_is_lost(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    processes = [writer(folder, f"worker{w}", 60) for w in range(3)]
    seen = 0
    while any(process.poll() is None for process in processes):
        if (folder / "store.json").exists():
            reader = FeatureStore.open(folder)
            # What was once visible stays visible, and all of it can be read.
            assert len(reader.videos) >= seen
            seen = len(reader.videos)
            assert all(o.status == "stored" for o in reader._outcomes.get("clip:1", {}).values())
            assert set(reader.extractors) <= {"clip:1", "asr:2"}
        time.sleep(0.02)
    assert [process.wait() for process in processes] == [0, 0, 0]
    store = FeatureStore.open(folder)
    assert len(store.videos) == 180
    assert store.missing(["clip:1", "asr:2"]) == {}
    assert store.verify().problems == ()
    for content_hash, video in store.videos.items():
        sequence = store.get(content_hash, "clip")
        assert sequence is not None
        assert (sequence.values == int(video.video_id)).all()


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_a_killed_writer_leaves_a_store_that_opens_lists_what_it_has_and_goes_on(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "s"
    generator = random.Random(0)
    promised: set[tuple[str, str]] = set()
    for round_ in range(3):
        worker = f"round{round_}"
        process = writer(folder, worker, 100_000)
        assert process.stdout is not None
        for _ in range(generator.randint(5, 60)):
            promised.add((worker, process.stdout.readline().strip()))
        time.sleep(generator.random() * 0.01)
        process.send_signal(signal.SIGKILL)
        promised.update((worker, line.strip()) for line in process.stdout if line.strip())
        process.wait()
        store = FeatureStore.open(folder)
        listed = {
            (video.labels[0], video.video_id) for video in store.videos.values() if video.labels
        }
        assert promised <= listed
        assert all(store.get(key, "clip") is not None for key in store.videos)
    # What the kills left behind is not in the way and can be swept up.
    report = FeatureStore.open(folder).verify(repair=True)
    assert report.ok
    assert FeatureStore.open(folder).verify().problems == ()
    assert writer(folder, "last", 3).wait() == 0


def test_a_reader_is_not_misled_by_a_compaction_between_its_listings(tmp_path: Path) -> None:
    """The race of listing a folder while files in it are replaced, played out exactly."""
    from reelgenre.store import Video, manifest
    from reelgenre.store.storage import LocalStorage

    folder = tmp_path / "s"
    store = FeatureStore.create(folder)
    for n in range(4):
        store.add(Video.from_name("test", str(n)))

    class Racing(LocalStorage):
        """Its first listing sees neither the old segments nor the new one."""

        calls = 0
        mode = ""

        def names(self, folder: str) -> list[str]:
            self.calls += 1
            if self.calls == 1:
                seen = super().names(folder)[:2]
                manifest.compact(self.local / "manifest", LocalStorage(self.local))
                return [] if self.mode == "nothing" else seen
            return super().names(folder)

    for mode in ("nothing", "some"):
        racing = Racing(folder)
        racing.mode = mode
        assert len(manifest.read(racing).videos) == 4
        assert racing.calls > 1
        store.add(Video.from_name("test", "0"))
