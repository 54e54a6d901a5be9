"""`reelgenre extract` as an operator runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.clips import plain, title, write_clip
from tests.extraction.fakes import alive, pids, write_sound

from reelgenre import GenrePipeline
from reelgenre.cli import run
from reelgenre.store import FeatureStore

ROOT = Path(__file__).parent.parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
EXTRACT = """
import sys
from pathlib import Path
from tests.extraction.fakes import Fakes
from reelgenre.cli.extracting import Request, extract_all
from reelgenre.extraction import ExtractionOptions

folder = Path(sys.argv[1])
sys.exit(extract_all(Request(
    paths=(folder / "videos",), list_file=None, shard=None, store=folder / "store",
    precision=None, extractors=Fakes(log=folder / "log"),
    options=ExtractionOptions(videos_at_once=2, grace_s=float(sys.argv[2])),
    labels=None, jsonl=folder / "lines.jsonl", json=False, dry_run=False,
)))
"""


def test_a_list_of_videos_from_end_to_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    videos, store = tmp_path / "videos", tmp_path / "store"
    videos.mkdir()
    first = write_clip(videos / "first.mp4", [(plain(40), 1.0), (title("SOON"), 1.0)])
    write_clip(videos / "second.mkv", [(plain(200), 1.0)])
    (videos / "broken.mp4").write_bytes(b"no film" * 99)
    (videos / "notes.txt").write_text("no video")
    listed = tmp_path / "more.txt"
    listed.write_bytes(os.fsencode(first) + b"\r\n\n" + b"x" * 300 + b".mp4\n")
    labels = tmp_path / "labels.csv"
    labels.write_text("video,labels,split\nvideos/first.mp4,Drama|War,trn\nthird,Comedy,tst\n")
    lines = tmp_path / "lines.jsonl"
    lines.write_bytes(b'{"path": "earlier"}\n{"path": "torn')
    command = [
        *("extract", str(videos), "--list", str(listed), "--store", str(store)),
        *("--modalities", "frames", "--offline", "--precision", "float32", "--json"),
        *("--labels", str(labels), "--jsonl", str(lines)),
    ]

    assert run([*command, "--dry-run"]) == 0
    survey = json.loads(capsys.readouterr().out)
    assert not store.exists()
    assert (survey["to_extract"], survey["new"], survey["missing"]) == (3, 3, {"frames": 3})

    assert run(command) == 3
    out, err = capsys.readouterr()
    report = json.loads(out)
    assert (report["videos"], report["extracted"], report["failed"]) == (4, 2, 2)
    assert "broken.mp4" in err
    assert "too long" in err
    assert "1 not in the store: third" in err
    assert "first.mp4" not in err
    kept = FeatureStore.open(store)
    assert (kept.precision, len(kept.videos)) == ("float32", 3)
    known = kept.find("first")
    assert (known.labels, known.split) == (("Drama", "War"), "trn")
    pipeline = GenrePipeline.from_pretrained("embedded", modalities=["frames"], threads=1)
    expected = pipeline.extract(first).extractions["frames"].sequence
    sequence = kept.get(known, "frames")
    assert sequence is not None
    np.testing.assert_allclose(sequence.values, expected.values, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(sequence.times, expected.times)
    entries = [json.loads(line) for line in lines.read_text().splitlines()]
    assert entries.pop(0) == {"path": "earlier"}
    too_long = "x" * 300 + ".mp4"
    by_name = {Path(entry["path"]).name: entry for entry in entries}
    assert by_name.keys() == {"first.mp4", "second.mkv", "broken.mp4", too_long}
    assert by_name["first.mp4"]["content_hash"] == known.content_hash
    assert by_name["first.mp4"]["modalities"]["frames"]["steps"] == sequence.steps
    assert by_name["broken.mp4"]["modalities"]["frames"]["status"] == "failed"
    assert "cannot be read" in by_name[too_long]["error"]

    again = [*("extract", str(videos), "--store", str(store)), "--modalities", "frames"]
    assert run([*again, "--jsonl", os.devnull]) == 3
    out, err = capsys.readouterr()
    assert out.startswith("3 files: 0 extracted, 2 done before, 1 failed before")
    assert err == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "PATH"),
        (["x.mp4", "--shard", "0/4"], "1/8 to 8/8"),
        (["x.mp4", "--shard", "5/4"], "1/8 to 8/8"),
        (["x.mp4", "--modalities", ","], "modalities"),
        (["x.mp4", "--timeout", "0"], "timeout"),
        (["x.mp4", "--timeout", "nan"], "timeout"),
        (["x.mp4", "--workers", "0"], "workers"),
    ],
)
def test_wrong_usage_is_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert run(["extract", *arguments, "--store", str(tmp_path / "store")]) == 2
    assert said in capsys.readouterr().err


def test_nothing_to_do_and_what_is_in_the_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    store = ["--store", str(tmp_path / "store"), "--modalities", "frames"]
    assert run(["extract", str(tmp_path / "empty"), *store]) == 2
    assert "no media files" in capsys.readouterr().err
    sound = str(write_sound(tmp_path, "a"))
    assert run(["extract", sound, "--store", str(tmp_path)]) == 1
    assert "holds other files" in capsys.readouterr().err
    assert run(["extract", sound, *store, "--jsonl", sound]) == 1
    assert "is one of the videos" in capsys.readouterr().err
    # The part of a short list that has none of its files is done.
    codes = {run(["extract", sound, *store, "--shard", f"{n}/4", "--dry-run"]) for n in (1, 2)}
    assert codes == {0}


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize(
    ("grace", "signals", "code"),
    [("1", [signal.SIGTERM], 143), ("600", [signal.SIGINT, signal.SIGINT], 130)],
)
def test_signals_stop_a_run_and_leave_the_store_and_no_process(
    tmp_path: Path, grace: str, signals: list[signal.Signals], code: int
) -> None:
    write_sound(tmp_path / "videos", "hang-1")
    for n in range(30):
        write_sound(tmp_path / "videos", f"slow-{n}")
    process = subprocess.Popen(
        [sys.executable, "-c", EXTRACT, str(tmp_path), grace],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )
    until = time.monotonic() + 120
    while not lines_of(tmp_path / "lines.jsonl"):
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.05)
    for number in signals:
        process.send_signal(number)
        time.sleep(0.5)
    out, err = process.communicate(timeout=120)
    assert process.returncode == code
    assert "stopping" in err
    assert "Traceback" not in err
    assert not any(alive(pid) for pid in pids(tmp_path / "log"))
    done = lines_of(tmp_path / "lines.jsonl")
    assert 1 <= len(done) < 31
    store = FeatureStore.open(tmp_path / "store")
    assert {entry["content_hash"] for entry in done} <= store.videos.keys()
    assert all(o.status == "stored" for o in store.outcomes("loud").values())
    assert store.verify().ok
    if len(signals) == 1:
        assert f"31 files: {len(done)} extracted, {31 - len(done)} not finished" in out


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_an_interrupt_from_the_keyboard_meets_no_worker_that_still_imports(tmp_path: Path) -> None:
    write_sound(tmp_path / "videos", "a")
    process = subprocess.Popen(
        [sys.executable, "-c", EXTRACT, str(tmp_path), "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        start_new_session=True,
    )
    until = time.monotonic() + 120
    while not any("_multiarray_umath" in libraries for libraries in loaded(process.pid)):
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert err == "reelgenre: stopping; once more to stop at once.\n"
    assert "1 not finished" in out
    assert "lost" not in out


def loaded(pid: int) -> list[str]:
    """What each process that a process's first thread has started has mapped into its memory."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [Path(f"/proc/{child}/maps").read_text() for child in children]
