"""`reelgenre classify` as a user runs it: outputs, exit codes, what goes to which stream."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from reelgenre.cli import run
from reelgenre.genres import GENRES
from reelgenre.pipeline import GenrePipeline


def write_video(path: Path, seconds: float = 1.0) -> Path:
    """A small silent video of moving colours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=12, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        ramp = np.add.outer(np.arange(96), np.arange(160))
        for index in range(max(1, round(seconds * 12))):
            picture = np.stack([(ramp * k + 9 * index) % 256 for k in (1, 2, 3)], axis=2)
            frame = av.VideoFrame.from_ndarray(picture.astype(np.uint8), format="rgb24")
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two videos of one name in two folders, a broken one, and a file that is none."""
    root = tmp_path_factory.mktemp("videos")
    write_video(root / "a" / "trailer.mp4")
    write_video(root / "b" / "trailer.mp4")
    (root / "b" / "broken 'quoted'.mp4").write_bytes(b"not a video at all" * 50)
    (root / "b" / "notes.txt").write_text("no video")
    return root


def test_json_of_one_file_has_the_documented_schema(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(["classify", str(folder / "a" / "trailer.mp4"), "--json"])
    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    result = json.loads(out)
    assert set(result) == {
        "path",
        "duration_s",
        "genres",
        "predicted",
        "modalities",
        "evidence",
        "model",
        "warnings",
        "timings",
    }
    assert result["path"] == str(folder / "a" / "trailer.mp4")
    assert result["duration_s"] == pytest.approx(1.0, abs=0.1)
    assert {entry["genre"] for entry in result["genres"]} == set(GENRES)
    probabilities = [entry["probability"] for entry in result["genres"]]
    assert probabilities == sorted(probabilities, reverse=True)
    above = [e["genre"] for e in result["genres"] if e["probability"] >= e["threshold"]]
    assert result["predicted"] == above
    assert set(result["modalities"]) == {"frames", "speech", "screen_text", "words"}
    assert result["modalities"]["frames"]["present"]
    assert result["modalities"]["speech"] == {
        "present": False,
        "steps": 0,
        "seconds": result["modalities"]["speech"]["seconds"],
    }
    assert result["model"]["profile"] == "embedded"


def test_a_folder_goes_on_after_a_broken_file_and_tells(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(["classify", str(folder), "--json", "--modalities", "frames"])
    out, err = capsys.readouterr()
    assert code == 3
    entries = json.loads(out)
    assert [Path(entry["path"]).relative_to(folder).as_posix() for entry in entries] == [
        "a/trailer.mp4",
        "b/broken 'quoted'.mp4",
        "b/trailer.mp4",
    ]
    assert "error" in entries[1]
    assert "remedy" in entries[1]
    assert entries[0]["genres"]
    assert entries[2]["genres"]
    assert "3 files, 1 failed" in err
    assert "Traceback" not in err


def test_all_failed_is_another_exit_code_than_some(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(["classify", str(folder / "b" / "broken 'quoted'.mp4"), str(folder / "missing.mp4")])
    out, err = capsys.readouterr()
    assert code == 1
    assert out == ""
    assert "missing.mp4" in err
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--threshold", "1.5"], "threshold"),
        (["--json", "--jsonl", "x.jsonl"], "not both"),
        (["--resume"], "--jsonl"),
        (["--top", "0"], "top"),
        (["--modalities", ","], "modalities"),
        (["--no-such-option"], "no-such-option"),
    ],
)
def test_wrong_usage_is_exit_code_2(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    code = run(["classify", str(folder / "a" / "trailer.mp4"), *arguments])
    out, err = capsys.readouterr()
    assert code == 2
    assert out == ""
    assert said in err


def test_an_unknown_modality_names_those_there_are(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(["classify", str(folder / "a"), "--modalities", "smell"])
    assert code == 1
    assert "frames, speech, screen_text" in capsys.readouterr().err


def test_an_empty_folder_is_said_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["classify", str(tmp_path)]) == 2
    assert "no media files" in capsys.readouterr().err


def test_jsonl_resumes_where_it_was_cut_off(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = tmp_path / "results.jsonl"
    arguments = ["classify", str(folder), "--modalities", "frames", "--jsonl", str(lines)]
    assert run(arguments) == 3
    whole = [json.loads(line) for line in lines.read_text().splitlines()]
    assert len(whole) == 3
    # As a kill in the middle of a line would leave it: the first result, and half of another.
    first, second, _ = lines.read_text().splitlines(keepends=True)
    lines.write_text(first + second[: len(second) // 2])
    capsys.readouterr()
    assert run([*arguments, "--resume"]) == 3
    resumed = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [entry["path"] for entry in resumed] == [entry["path"] for entry in whole]
    assert resumed[0] == whole[0]
    assert "1 done before" in capsys.readouterr().err


def test_resume_leaves_a_file_of_something_else_alone(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    precious = tmp_path / "precious.txt"
    precious.write_text("not ours\nat all\n")
    path = str(folder / "a" / "trailer.mp4")
    assert run(["classify", path, "--jsonl", str(precious), "--resume"]) == 1
    assert precious.read_text() == "not ours\nat all\n"
    assert "not a file of results" in capsys.readouterr().err


def test_the_output_is_never_one_of_the_videos(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = folder / "a" / "trailer.mp4"
    before = path.read_bytes()
    assert run(["classify", str(path), "--jsonl", str(path)]) == 1
    assert path.read_bytes() == before
    assert "one of the videos" in capsys.readouterr().err


def test_an_output_that_cannot_be_written_is_one_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "no" / "such" / "folder" / "x.jsonl"
    arguments = ["classify", str(folder / "a"), "--modalities", "frames", "--jsonl", str(target)]
    assert run(arguments) == 1
    err = capsys.readouterr().err
    assert "x.jsonl" in err
    assert "Traceback" not in err


def test_a_failure_of_one_file_that_nobody_foresaw_does_not_stop_the_others(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    extract = GenrePipeline.extract

    def failing(self: GenrePipeline, path: Path, **options: Any) -> Any:
        if path.parent.name == "a":
            raise ZeroDivisionError("planted")
        return extract(self, path, **options)

    monkeypatch.setattr(GenrePipeline, "extract", failing)
    paths = [str(folder / name / "trailer.mp4") for name in ("a", "b")]
    assert run(["classify", *paths, "--json", "--modalities", "frames"]) == 3
    first, second = json.loads(capsys.readouterr().out)
    assert "ZeroDivisionError: planted" in first["error"]
    assert second["genres"]


def test_the_threshold_option_replaces_the_models_own(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(folder / "a" / "trailer.mp4")
    options = ["--json", "--modalities", "frames", "--threshold"]
    assert run(["classify", path, *options, "0"]) == 0
    assert len(json.loads(capsys.readouterr().out)["predicted"]) == len(GENRES)
    assert run(["classify", path, *options, "1"]) == 0
    assert json.loads(capsys.readouterr().out)["predicted"] == []


def test_the_table_shows_as_many_genres_as_asked_and_no_control_characters(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = write_video(tmp_path / "red \x1b[31m.mp4")
    assert run(["classify", str(evil), "--modalities", "frames", "--top", "2"]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    shown = [line for line in out.splitlines() if line.rstrip().endswith("%")]
    beyond_the_first = [line.strip() for line in shown[2:]]
    assert len(shown) >= 2
    assert all(line.startswith("*") for line in beyond_the_first)


def test_python_m_works_and_pipes_stay_clean(folder: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "reelgenre",
            "classify",
            str(folder / "a"),
            "--modalities",
            "frames",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert done.stderr == ""
    assert "picture: 1 steps" in done.stdout


def test_ctrl_c_keeps_whole_lines_and_says_so(folder: Path, tmp_path: Path) -> None:
    many = tmp_path / "many"
    # Far more than are done before the signal arrives, however busy the machine.
    many.mkdir()
    for index in range(600):
        os.link(folder / "a" / "trailer.mp4", many / f"{index:03}.mp4")
    lines = tmp_path / "results.jsonl"
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "reelgenre", "classify", str(many)),
            *("--modalities", "frames,speech", "--jsonl", str(lines)),
        ],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        deadline = time.monotonic() + 120
        while not (lines.exists() and lines.stat().st_size) and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted" in err
    assert "Traceback" not in err
    text = lines.read_text()
    assert text.endswith("\n")
    entries = [json.loads(line) for line in text.splitlines()]
    assert 0 < len(entries) < 600


def test_an_interrupt_that_python_drops_still_ends_the_run(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Pressed:
        """Ctrl-C while an object is thrown away: Python prints the exception and goes on."""

        def __del__(self) -> None:
            signal.raise_signal(signal.SIGINT)

    classify = GenrePipeline.__call__

    def interrupted(self: GenrePipeline, *given: Any, **named: Any) -> Any:
        result = classify(self, *given, **named)
        Pressed()
        return result

    monkeypatch.setattr(GenrePipeline, "__call__", interrupted)
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    many = tmp_path / "many"
    many.mkdir()
    for name in ("a", "b", "c"):
        os.link(folder / "a" / "trailer.mp4", many / f"{name}.mp4")
    before = signal.getsignal(signal.SIGINT)
    lines = tmp_path / "results.jsonl"
    assert run(["classify", str(many), "--modalities", "frames", "--jsonl", str(lines)]) == 130
    assert len(lines.read_text().splitlines()) == 1
    assert "interrupted" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is before
