"""`reelgenre models optimise`, and the image encoder on what it writes."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from tests.extractors.paper.picture_models import cosine, pictures, save_clip

from reelgenre.cli import run
from reelgenre.errors import RecipeError, WeightsError
from reelgenre.extractors.base import Extractor
from reelgenre.extractors.loading import Loading
from reelgenre.extractors.paper import image_encoder as room
from reelgenre.extractors.paper.image_export import synthetic_pictures
from reelgenre.extractors.paper.image_onnx import OnnxImageModel, optimised_folder
from reelgenre.extractors.profiles import build_extractors, load_profile
from reelgenre.extractors.settings import ImageEncoderSettings
from reelgenre.weights import Artefact, ArtefactFile, HubFile, where
from reelgenre.weights.cache import sha256_of, weights_root
from reelgenre.weights.pins import Pin, write_pins


@dataclass(frozen=True)
class Made:
    """One run of the command on a small CLIP, into the weights cache.

    Attributes:
        weights: folder of the checkpoint.
        folder: what was written.
        printed: on standard output and standard error.
    """

    weights: Path
    folder: Path
    printed: tuple[str, str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, sample_trailer: Path) -> Iterator[Made]:
    home = tmp_path_factory.mktemp("onnx")
    save_clip(home / "clip")
    (home / "profile.yaml").write_text(
        "name: mine\nextractors:\n  - {kind: image_encoder, modality: pictures, weights: ./clip}\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REELGENRE_CACHE", str(home / "cache"))
        command = ["models", "optimise", "pictures", "--profile", str(home)]
        command += ["--frames", str(sample_trailer)]
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run(command)
        assert code == 0, err.getvalue()
        (stated,) = (home / "cache").rglob("optimised.json")
        yield Made(home / "clip", stated.parent, (out.getvalue(), err.getvalue()))


def build(folder: Path, **settings: Any) -> Extractor:
    return room.image_encoder(
        ImageEncoderSettings(kind="image_encoder", weights=str(folder), **settings),
        Loading(folder.parent, threads=1, device="cpu"),
    )


def features(extractor: Extractor, view: Any) -> NDArray[np.float32]:
    extraction = extractor.extract(view)
    assert extraction is not None
    return extraction.sequence.values


@pytest.fixture
def copy(made: Made, tmp_path: Path) -> Path:
    return shutil.copytree(made.folder, tmp_path / "copy")


def test_the_command_tells_what_it_measured(made: Made) -> None:
    out, err = made.printed
    stated = json.loads((made.folder / "optimised.json").read_text())
    assert err == ""
    assert f"saved in {made.folder}" in out
    assert f"cosine of {stated['int8_cosine'][0]:.4f}" in out
    assert f"{stated['pictures']} frames of sample_trailer.mp4" in out
    assert stated["pictures"] > 3
    assert 0.9 < stated["int8_cosine"][1] <= stated["int8_cosine"][0] < 1
    assert 0 < stated["parity"] < 1e-4


def test_fp32_gives_the_features_and_the_fingerprint_of_torch(
    made: Made, frames_view: Callable[..., Any]
) -> None:
    seen = pictures(7)
    torch_features = features(build(made.weights, precision="fp32"), frames_view(seen))
    for precision in ("fp32", "auto"):
        extractor = build(made.weights, onnx=True, precision=precision)
        got = features(extractor, frames_view(seen))
        scale = np.abs(torch_features).max()
        np.testing.assert_allclose(got, torch_features, atol=1e-5 * scale)
        assert extractor.spec.fingerprint == build(made.weights).spec.fingerprint
        assert extractor.spec.dim == 12


def test_int8_is_close_and_tells_itself_apart(made: Made, frames_view: Callable[..., Any]) -> None:
    seen = pictures(7)
    exact, small = build(made.weights, onnx=True), build(made.weights, onnx=True, precision="int8")
    expected, got = (features(extractor, frames_view(seen)) for extractor in (exact, small))
    assert cosine(expected, got).min() > 0.97
    assert np.abs(expected - got).max() > 1e-4
    assert small.spec.fingerprint != exact.spec.fingerprint
    graph = onnx.load(made.folder / "model.int8.onnx").graph
    assert sum(node.op_type == "MatMulInteger" for node in graph.node) >= 12


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_batch_size_does_not_change_the_features(
    precision: str,
    made: Made,
    frames_view: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    extractor = build(made.weights, onnx=True, precision=precision)
    # Dark pictures beside bright ones: a range of activations over the batch would mix them.
    seen = [(p // (1 + 30 * (i % 2))).astype(np.uint8) for i, p in enumerate(pictures(9))]
    expected = features(extractor, frames_view(seen))
    np.testing.assert_array_equal(features(extractor, frames_view(seen)), expected)
    for size in (1, 4):
        monkeypatch.setattr(room, "BATCH", size)
        got = features(extractor, frames_view(seen))
        np.testing.assert_allclose(got, expected, atol=1e-5 * np.abs(expected).max())


def test_no_torch_is_needed(made: Made, copy: Path) -> None:
    code = f"""
import sys
for name in ("torch", "transformers", "onnx"):
    sys.modules[name] = None
import numpy as np
from pathlib import Path
from reelgenre.extractors.loading import Loading
from reelgenre.extractors.paper.image_encoder import image_encoder
from reelgenre.extractors.profiles import build_extractors, load_profile
from reelgenre.extractors.settings import ImageEncoderSettings
settings = ImageEncoderSettings(
    kind="image_encoder", weights="./{copy.name}", onnx=True, precision="int8"
)
extractor = image_encoder(settings, Loading(Path({str(copy.parent)!r})))
print(extractor.spec.fingerprint, extractor.encode([np.zeros((9, 9, 3), np.uint8)]).shape)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    expected = build(made.weights, onnx=True, precision="int8").spec.fingerprint
    assert (done.stderr, done.stdout.strip()) == ("", f"{expected} (1, 12)")


def test_without_torch_and_onnx_files_it_is_told_what_to_install(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "profile.yaml").write_text(
        f"name: mine\nextractors:\n  - kind: image_encoder\n    weights: {made.weights}\n"
    )
    monkeypatch.delitem(sys.modules, "reelgenre.extractors.paper.image_torch", raising=False)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(RecipeError, match=r"transformers.*reelgenre\[paper\]"):
        build_extractors(load_profile(tmp_path), device="cpu")


def test_files_on_disk_name_nothing_of_this_machine(made: Made) -> None:
    for path in made.folder.iterdir():
        assert b"site-packages" not in path.read_bytes()


def test_weights_that_were_not_optimised_are_told_how(made: Made, tmp_path: Path) -> None:
    save_clip(tmp_path / "other", seed=9)
    with pytest.raises(WeightsError, match=f"reelgenre models optimise {tmp_path}/other"):
        build(tmp_path / "other", onnx=True)


@pytest.fixture
def fetched_once(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """As after a pull, an optimising, and the removal of the checkpoint; the network is on.

    Returns:
        The registered name of weights on a hub that nobody may ask. What the first fetch
        recorded of them is that they are ``made.weights``.
    """
    for key in ("REELGENRE_OFFLINE", "HF_HUB_OFFLINE", "REELGENRE_WEIGHTS"):
        monkeypatch.delenv(key, raising=False)
    monkeypatch.setenv("REELGENRE_CACHE", str(tmp_path / "cache"))

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("something was to be fetched")

    monkeypatch.setattr("reelgenre.weights.resolver._fetch", forbidden)
    paths = sorted(path for path in made.weights.iterdir() if path.is_file())
    origins = [HubFile("owner/clip", None, path.name) for path in paths]
    files = tuple(ArtefactFile(o.path, None, None, o) for o in origins)
    toy = Artefact("toy-clip", "a toy", "MIT", "https://example.org", files, folder=True)
    monkeypatch.setattr("reelgenre.weights.registry.ARTEFACTS", (toy,))
    pins = {
        path.name: Pin(origin.place, sha256_of(path), path.stat().st_size, "1" * 40)
        for origin, path in zip(origins, paths, strict=True)
    }
    write_pins(weights_root(None), toy, pins)
    shutil.copytree(made.folder, optimised_folder(where(toy).artefact))
    return toy.name


def profile_with(folder: Path, weights: str) -> Path:
    text = f"kind: image_encoder, onnx: true, weights: {weights}"
    (folder / "profile.yaml").write_text(f"name: mine\nextractors: [{{{text}}}]\n")
    return folder


def test_by_name_the_weights_themselves_are_not_needed(
    made: Made, fetched_once: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert where(fetched_once).status == "missing"
    profile = load_profile(profile_with(tmp_path, fetched_once))
    for offline in (False, True):
        (extractor,) = build_extractors(profile, offline=offline)
        assert extractor.spec.fingerprint == build(made.weights).spec.fingerprint
    assert run(["models", "pull", "--profile", str(tmp_path), "--yes"]) == 0
    assert capsys.readouterr() == ("toy-clip, optimised: present\n", "")
    assert run(["profiles", "show", str(tmp_path)]) == 0
    assert "#   toy-clip, optimised: present" in capsys.readouterr().out


@pytest.mark.parametrize("lost", ["pins", "optimised"])
def test_by_name_nothing_is_fetched_where_the_onnx_files_are_missing(
    lost: str, fetched_once: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    profile = load_profile(profile_with(tmp_path, fetched_once))
    # Without the record of what was fetched nobody knows of which bytes the ONNX files are.
    shutil.rmtree(weights_root(None) / lost)
    with pytest.raises(WeightsError, match="`reelgenre models optimise toy-clip`"):
        build_extractors(profile)
    assert run(["models", "pull", "--profile", str(tmp_path), "--yes"]) == 1
    out, err = capsys.readouterr()
    assert out == "toy-clip, optimised: missing\n"
    assert "`reelgenre models optimise toy-clip`" in err


@pytest.mark.parametrize("name", ["model.int8.onnx", "preprocessor_config.json"])
def test_a_changed_file_is_refused(name: str, copy: Path) -> None:
    path = copy / name
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(WeightsError, match=name):
        build(copy, onnx=True, precision="int8")


@pytest.mark.parametrize("content", ["", "[]", '{"format": 2}'])
def test_a_damaged_statement_is_refused(content: str, copy: Path) -> None:
    (copy / "optimised.json").write_text(content)
    with pytest.raises(WeightsError, match=r"optimised\.json"):
        build(copy, onnx=True)


def test_there_is_no_bf16_file(copy: Path) -> None:
    with pytest.raises(RecipeError, match="bf16"):
        OnnxImageModel(copy, "bf16")


def test_int8_without_onnx_is_told_how(made: Made) -> None:
    with pytest.raises(RecipeError, match="models optimise"):
        build(made.weights, precision="int8")


def test_a_folder_with_other_files_is_left_alone(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert run(["models", "optimise", str(made.weights), "--out", str(tmp_path)]) == 1
    assert "holds other files" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("arguments", "chosen"),
    [
        ("clip", "clip-vit-b32"),
        ("clip-vit-b32", "clip-vit-b32"),
        ("siglip2-base", "siglip2-base"),
        ("./clip", "./clip"),
        ("clip --profile release2024", "clip-vit-b32"),
        ("vit --profile baseline", "vit-base"),
    ],
)
def test_weights_are_named_or_are_those_of_a_modality(
    arguments: str, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def weights(self: Loading, name: str) -> None:
        asked.append(name)
        raise WeightsError("not here", "none is wanted")

    monkeypatch.setattr(Loading, "weights", weights)
    assert run(["models", "optimise", *arguments.split()]) == 1
    assert asked == [chosen]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ("clipp", "neither weights (`reelgenre models list`) nor a modality of the profile paper"),
        ("audiotag", "audiotag of the profile paper is no image encoder"),
        ("asr --profile release2024", "'asr' is not a modality of the profile release2024"),
        # With a profile it is one of its modalities, not weights.
        ("vit-base --profile baseline", "Its image encoders: vit"),
        ("clip --profile nowhere", "there is no profile 'nowhere'"),
    ],
)
def test_what_is_no_image_encoder_is_told(
    arguments: str, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["models", "optimise", *arguments.split()]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert why in err


def test_weights_of_another_kind_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["models", "optimise", "silero-vad", "--offline"]) == 1
    assert "silero-vad is not a folder" in capsys.readouterr().err


def test_frames_of_a_file_without_picture_are_refused(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "no.mp4").write_bytes(b"no video")
    command = ["models", "optimise", str(made.weights), "--frames", str(tmp_path / "no.mp4")]
    assert run(command) == 1
    assert "no.mp4" in capsys.readouterr().err


def test_synthetic_pictures_have_the_spectrum_of_photographs() -> None:
    seen = synthetic_pictures(4)
    assert all(picture.shape == (240, 426, 3) for picture in seen)
    grey = seen[0].mean(axis=2)
    power = np.abs(np.fft.rfft2(grey - grey.mean()))
    low, high = power[2:6, 2:6].mean(), power[60:100, 60:100].mean()
    # Amplitude falls about as one over the frequency: 4 against 113 cycles.
    assert 8 < low / high < 100
    assert not seen[1][:30].any()
