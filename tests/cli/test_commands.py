"""The other commands, and what the package promises about its start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from reelgenre.cli import run
from reelgenre.weights import ARTEFACTS


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(command in out for command in ("classify", "doctor", "models"))


def test_no_arguments_is_help_and_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 2
    out, err = capsys.readouterr()
    assert "classify" in out + err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("reelgenre 0.")


def test_models_list_names_all_with_licence_and_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "list"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert set(lines) == {artefact.name for artefact in ARTEFACTS}
    for artefact in ARTEFACTS:
        assert artefact.licence in lines[artefact.name]
    assert "present" in lines["minilm-int8"]


def test_models_where_prints_paths_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "where", "minilm-int8"]) == 0
    paths = [Path(line) for line in capsys.readouterr().out.splitlines()]
    assert paths
    assert all(path.is_file() for path in paths)


def test_models_verify_and_pull_are_happy_with_what_is_installed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["models", "verify", "minilm-int8", "silero-vad"]) == 0
    assert run(["models", "pull", "minilm-int8", "--offline"]) == 0
    assert "minilm-int8: present" in capsys.readouterr().out


def test_an_unknown_model_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "where", "no-such-weights"]) == 1
    err = capsys.readouterr().err
    assert "whisper-base" in err
    assert err.count("\n") == 1


def test_doctor_finds_everything_and_tells_versions(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor"]) == 0
    out = capsys.readouterr().out
    for said in ("onnxruntime providers", "FFmpeg", "weights whisper-base", "profile embedded"):
        assert said in out


def test_doctor_tells_what_is_missing_and_how_to_get_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("REELGENRE_CACHE", str(tmp_path))
    assert run(["doctor"]) in (0, 1)
    monkeypatch.setenv("REELGENRE_WEIGHTS", str(tmp_path / "own"))
    broken = tmp_path / "own" / "minilm-int8"
    broken.mkdir(parents=True)
    (broken / "model.onnx").write_bytes(b"damaged")
    capsys.readouterr()
    assert run(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "minilm-int8" in out
    assert "reelgenre models pull" in out


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = (
        "import sys, reelgenre, reelgenre.cli; heavy = {'torch', 'av', 'onnxruntime', 'numpy', "
        "'cv2', 'faster_whisper', 'rich'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_public_names_resolve() -> None:
    import reelgenre

    for name in reelgenre.__all__:
        assert getattr(reelgenre, name) is not None
    with pytest.raises(AttributeError, match="no attribute"):
        _ = reelgenre.nonsense
