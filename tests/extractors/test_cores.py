from __future__ import annotations

import os
from pathlib import Path

import pytest

from reelgenre.extractors.cores import side_by_side
from reelgenre.extractors.whisper import Whisper


@pytest.mark.parametrize(
    ("cores", "threads", "expected"),
    [(1, 1, 1), (8, 1, 8), (8, 3, 2), (8, 16, 1), (8, None, 1), (96, 1, 16), (96, 32, 3)],
)
def test_as_many_as_there_are_cores_for(
    cores: int, threads: int | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    assert side_by_side(threads) == expected


def test_whisper_reads_as_many_pieces_at_a_time(
    whisper_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)), raising=False)
    assert Whisper(whisper_folder, threads=2)._model.num_workers == 3
    assert Whisper(whisper_folder)._model.num_workers == 1
