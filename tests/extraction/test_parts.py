"""Sharding, identifying and committing by themselves."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.extraction.fakes import Fakes, write_sound

from reelgenre.extraction import ExtractionOptions, VideoResult, shard
from reelgenre.extraction.committing import VIDEOS, Committer
from reelgenre.extraction.crew import crew_size
from reelgenre.extraction.identifying import identify, identify_ahead
from reelgenre.extraction.messages import Finished, Length, Message, Stored, Task
from reelgenre.extraction.one_video import Entry
from reelgenre.extraction.worker import _Worker
from reelgenre.sequences import FeatureSequence
from reelgenre.store import FeatureStore, FileStamp, Video


@given(
    paths=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0")), unique=True),
    count=st.integers(1, 9),
)
def test_shards_are_a_partition_that_no_other_path_changes(paths: list[str], count: int) -> None:
    parts = [shard(paths, index, count) for index in range(1, count + 1)]
    assert sorted(path for part in parts for path in part) == sorted(paths)
    for index, part in enumerate(parts, start=1):
        assert shard(reversed(paths), index, count) == part[::-1]
        assert shard(part, index, count) == part
        assert shard([Path(path) for path in part if path == str(Path(path))], index, count) == [
            Path(path) for path in part if path == str(Path(path))
        ]


def test_shards_are_of_like_size_and_the_same_on_every_machine() -> None:
    paths = [f"/videos/{n:05d}.mp4" for n in range(8000)]
    sizes = [len(shard(paths, index, 8)) for index in range(1, 9)]
    assert max(abs(size - 1000) for size in sizes) < 120
    assert shard(paths[:10], 1, 8) == [f"/videos/0000{n}.mp4" for n in (2, 4, 9)]
    with pytest.raises(ValueError, match="1 to 8"):
        shard(paths, 0, 8)


def test_identifying_ends_when_nobody_listens_and_says_what_is_no_path(tmp_path: Path) -> None:
    store = FeatureStore.create(tmp_path / "store")
    os.mkfifo(tmp_path / "pipe")
    paths = [str(write_sound(tmp_path, "a")), "with\0null", str(tmp_path / "pipe")]
    receiver = identify_ahead(paths, store)
    found = [receiver.recv() for _ in paths]
    assert [one.path for one in found] == paths
    assert found[0].video == Video.from_file(paths[0])
    assert found[1].video is None
    assert found[2].video is None
    with pytest.raises(EOFError):
        receiver.recv()
    assert identify(paths[0], store) == found[0]

    endless = identify_ahead([paths[0]] * 100_000, store)
    endless.recv()
    endless.close()
    until = time.monotonic() + 60
    while any(thread.name == "identify" for thread in threading.enumerate()):
        assert time.monotonic() < until
        time.sleep(0.01)


def entry(number: int) -> Entry:
    made_by = "clip:1"
    sequence = FeatureSequence(
        np.full((1, 2), number, np.float32), np.zeros((1, 2), np.float32), made_by
    )
    video = Video.from_name("test", str(number))
    return Entry(number, video, {made_by: sequence}, {}, VideoResult(str(number)))


def test_commits_are_few_while_there_is_more_to_come_and_at_once_when_there_is_not(
    tmp_path: Path,
) -> None:
    store = FeatureStore.create(tmp_path / "store")
    commits: list[list[int]] = []
    busy = True

    def stored(entries: list[Entry]) -> None:
        seen = FeatureStore.open(tmp_path / "store")
        assert {e.video.content_hash for e in entries} <= seen.videos.keys()
        commits.append([e.number for e in entries])

    def broken(error: Exception) -> None:
        raise AssertionError(error)

    committer = Committer(store, lambda: busy, stored, broken)
    for number in range(VIDEOS + 3):
        committer.put(entry(number))
    until = time.monotonic() + 60
    while not commits:
        assert time.monotonic() < until
        time.sleep(0.01)
    assert commits == [list(range(VIDEOS))]
    busy = False
    while len(commits) < 2:
        assert time.monotonic() < until
        time.sleep(0.01)
    assert commits[1] == [VIDEOS, VIDEOS + 1, VIDEOS + 2]
    committer.put(entry(99))
    committer.finish()
    while not committer.finished:
        assert time.monotonic() < until
        time.sleep(0.01)
    assert commits[2:] == [[99]]


def test_whatever_ends_the_commits_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FeatureStore.create(tmp_path / "store")
    errors: list[Exception] = []

    def add_many(entries: object) -> int:
        raise MemoryError("no room")

    monkeypatch.setattr(store, "add_many", add_many)
    committer = Committer(store, lambda: False, lambda entries: None, errors.append)
    committer.put(entry(1))
    until = time.monotonic() + 60
    while not committer.finished:
        assert time.monotonic() < until
        time.sleep(0.01)
    assert [str(error) for error in errors] == ["no room"]


def test_that_a_video_is_finished_is_told_before_it_is_stored(tmp_path: Path) -> None:
    path = write_sound(tmp_path, "a")
    store = FeatureStore.create(tmp_path / "store")
    task = Task(7, str(path), store.identify(path), FileStamp.of(path), ("loud", "calm"))

    class Heard:
        def __init__(self) -> None:
            self.tasks = iter([task])
            self.messages: list[Message] = []

        def task(self) -> Task | None:
            return next(self.tasks, None)

        def stay(self) -> None:
            time.sleep(0.01)

        def tell(self, message: Message) -> None:
            if isinstance(message, Finished):
                time.sleep(0.3)  # As a thread may be held up on a busy machine.
            self.messages.append(message)

    heard = Heard()
    _Worker(cast(Any, heard), Fakes()(), store).run()
    assert [type(m) for m in heard.messages if not isinstance(m, Length)] == [Finished, Stored]


@pytest.mark.parametrize(
    ("options", "cores", "devices", "threads", "expected"),
    [
        ({}, 2, 0, 1, (1, 2)),
        ({}, 16, 0, 1, (1, 16)),
        ({}, 64, 0, 1, (4, 16)),
        ({}, 16, 0, 4, (1, 4)),
        ({}, 2, 0, 8, (1, 1)),
        ({}, 64, 8, 1, (8, 8)),
        ({}, 64, 1, 1, (1, 8)),
        ({}, 4, 8, 1, (8, 1)),
        ({"workers": 3}, 16, 0, 1, (3, 5)),
        ({"workers": 2, "videos_at_once": 9}, 4, 1, 1, (2, 9)),
    ],
)
def test_cores_and_devices_are_shared_out(
    options: dict[str, Any], cores: int, devices: int, threads: int, expected: tuple[int, int]
) -> None:
    assert crew_size(ExtractionOptions(**options), cores, devices, threads) == expected


@pytest.mark.parametrize(
    "wrong",
    [
        {"workers": 0},
        {"videos_at_once": -1},
        {"timeout_s": 0.0},
        {"timeout_s": float("inf")},
        {"grace_s": -1.0},
    ],
)
def test_options_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        ExtractionOptions(**wrong)  # type: ignore[arg-type]
