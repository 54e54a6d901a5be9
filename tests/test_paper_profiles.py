"""The paper's profiles end to end, offline, on small random weights in the published formats."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.clips import plain, sound_of, title, write_clip
from tests.extractors.paper.picture_models import CELL, EXPRESSIONS

from reelgenre.classifiers import ClassifierConfig, FeatureConfig, MultiTransformer, RawVideo
from reelgenre.classifiers.build import build_module
from reelgenre.classifiers.config import Architecture
from reelgenre.classifiers.saving import save_pretrained
from reelgenre.cli import run
from reelgenre.extractors.base import ExtractorSpec
from reelgenre.extractors.profiles import build_extractors, load_profile
from reelgenre.genres import GENRES

SAMPLE = Path(__file__).parents[2] / "shared" / "data" / "published_release_sample"
EMBEDDED = load_profile("embedded").classifier_folder
MODALITIES = {name: load_profile(name).modalities for name in ("paper", "release2024", "baseline")}


@pytest.fixture(autouse=True)
def weights(small_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REELGENRE_WEIGHTS", str(small_weights))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory, sample_trailer: Path) -> Path:
    """Two lines of the sample trailer, two titles, and what the detector takes for a face."""
    face = plain(90)
    face[2 * CELL : 3 * CELL, 4 * CELL : 5 * CELL] = (255, 0, 0)
    lines = [sound_of(sample_trailer, *span) for span in ((0.5, 5.5), (8.5, 12.5))]
    # Far enough apart in brightness for the paper's shot detector.
    titles = title("THE LAST SIGNAL"), title("SUMMER", ground=230)
    shots = [(face, 3.0), (titles[0], 2.0), (plain(200), 1.0), (titles[1], 3.0)]
    path = tmp_path_factory.mktemp("clip") / "trailer.mp4"
    return write_clip(path, shots, np.concatenate(lines))


def specs(profile: str) -> list[ExtractorSpec]:
    return [extractor.spec for extractor in build_extractors(load_profile(profile), offline=True)]


def save_classifier(folder: Path, architecture: Architecture, of: list[ExtractorSpec]) -> Path:
    """Random, with the fingerprints of these extractors; the paper averages both texts."""

    def feature(spec: ExtractorSpec) -> FeatureConfig:
        text = spec.name in ("ocr", "asr")
        return FeatureConfig(
            dim=spec.dim, fingerprint=spec.fingerprint, pooling="mean" if text else "sequence"
        )

    config = ClassifierConfig(
        architecture=architecture, labels=GENRES, features={s.name: feature(s) for s in of}
    )
    torch.manual_seed(0)
    save_pretrained(folder, build_module(config), config, "# random\n")
    return folder


def classify(capsys: pytest.CaptureFixture[str], clip: Path, *options: str) -> dict[str, Any]:
    code = run(["classify", str(clip), "--offline", "--json", *options])
    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    result: dict[str, Any] = json.loads(out)
    return result


@pytest.fixture(scope="module")
def paper_model(small_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A multi-transformer of the paper's kind, small, on the profile's own features."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("REELGENRE_WEIGHTS", str(small_weights))
        network = MultiTransformer(d_model=16, heads=2, position_rows=40)
        return save_classifier(tmp_path_factory.mktemp("model") / "random", network, specs("paper"))


def check(result: dict[str, Any], profile: str, model: str) -> None:
    """The documented form, every modality there, and evidence inside the video."""
    keys = "path duration_s genres predicted modalities evidence model warnings timings"
    assert set(result) == set(keys.split())
    assert {entry["genre"] for entry in result["genres"]} == set(GENRES)
    assert all(0 < entry["probability"] < 1 for entry in result["genres"])
    assert (result["model"]["profile"], result["model"]["name"]) == (profile, model)
    assert result["model"]["fingerprints"] == {s.name: s.fingerprint for s in specs(profile)}
    assert tuple(result["modalities"]) == MODALITIES[profile]
    for name, report in result["modalities"].items():
        assert report["present"], name
        assert report["steps"] >= 1
    assert {item["modality"] for item in result["evidence"]} == set(MODALITIES[profile])
    for item in result["evidence"]:
        assert -0.01 <= item["start"] <= item["end"] <= result["duration_s"] + 0.1
    assert result["warnings"] == []


def without_times(result: dict[str, Any]) -> dict[str, Any]:
    modalities = {
        name: {key: report[key] for key in ("present", "steps")}
        for name, report in result["modalities"].items()
    }
    return {key: value for key, value in result.items() if key != "timings"} | {
        "modalities": modalities
    }


def said(result: dict[str, Any], kind: str) -> str:
    items = [item for item in result["evidence"] if item["kind"] == kind]
    return " ".join(item["text"] or "" for item in items).lower()


def test_the_papers_profile_classifies_and_says_the_same_again(
    clip: Path, paper_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--profile", "paper", "--model", str(paper_model))
    result = classify(capsys, clip, *options)
    check(result, "paper", "random")
    assert "stars" in said(result, "speech")
    assert "last signal" in said(result, "title")
    assert said(result, "tag")
    # One step per shot, per 3 s of sound overlapping by half, per 22 s of music.
    steps = {name: report["steps"] for name, report in result["modalities"].items()}
    assert (steps["clip"], steps["audiotag"], steps["musicnet"]) == (4, 5, 1)
    assert without_times(classify(capsys, clip, *options)) == without_times(result)
    # The table for people, too.
    assert run(["classify", str(clip), "--offline", *options]) == 0
    assert "said “For forty years" in capsys.readouterr().out


def test_fewer_modalities_than_the_classifier_reads(
    clip: Path, paper_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--profile", "paper", "--model", str(paper_model), "--modalities", "clip,audiotag")
    result = classify(capsys, clip, *options)
    assert list(result["modalities"]) == ["clip", "audiotag"]


def test_the_baseline_classifies(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    architecture = RawVideo(hidden=(16, 16), heads=2, position_rows=20)
    model = save_classifier(tmp_path / "random", architecture, specs("baseline"))
    result = classify(capsys, clip, "--profile", "baseline", "--model", str(model))
    check(result, "baseline", "random")


def published_mlp(folder: Path) -> Path:
    """A classifier as the release has them, of the release's widths."""
    generator = torch.Generator().manual_seed(0)
    dims = {s.name: s.dim for s in specs("release2024")}
    names = sorted(dims)
    layer = torch.nn.Linear(sum(dims.values()), len(GENRES))
    state = {k: torch.randn(v.shape, generator=generator) * 0.02 for k, v in _named(layer)}
    torch.save({f"model.0.{k}": v for k, v in state.items()}, folder / "mlp.pt")
    settings = {
        "model": "mlp",
        "features": names,
        "feature_lengths": dict.fromkeys(names, 20),
        "feature_dims": dims,
        "labels": list(GENRES),
        "n_heads": 8,
        "dropout": 0.5,
        "normalize": False,
        "standardize": False,
    }
    torch.save(settings, folder / "mlp_config.pt")
    return folder / "mlp.pt"


def _named(layer: torch.nn.Module) -> list[tuple[str, torch.Tensor]]:
    return list(layer.state_dict().items())


def test_a_published_classifier_takes_the_release_profile_s_features(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    published = str(published_mlp(tmp_path))
    model = tmp_path / "model"
    assert run(["models", "import-release", published, str(model), "--profile", "release2024"]) == 0
    capsys.readouterr()
    options = ("--profile", "release2024", "--model", str(model))
    result = classify(capsys, clip, *options)
    check(result, "release2024", "model")
    assert {"asr_sentiment": 1, "ocr_sentiment": 1, "face_emotion": 1}.items() <= {
        name: report["steps"] for name, report in result["modalities"].items()
    }.items()
    assert said(result, "face") in EXPRESSIONS
    assert {item["modality"] for item in result["evidence"] if item["kind"] == "sentiment"} == {
        "asr_sentiment",
        "ocr_sentiment",
    }
    assert without_times(classify(capsys, clip, *options)) == without_times(result)
    # The paper's profile has one of its features alone.
    assert run(["models", "import-release", published, str(tmp_path / "x"), "--profile", "paper"])
    assert "beats" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


@pytest.mark.skipif(not SAMPLE.exists(), reason="needs the release's sample in ../shared/data")
def test_a_transformer_in_the_release_s_own_form(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "model"
    command = ["models", "import-release", str(SAMPLE / "multi_transformer.pt"), str(model)]
    assert run([*command, "--profile", "release2024"]) == 0
    capsys.readouterr()
    options = ("--profile", "release2024", "--model", str(model))
    check(classify(capsys, clip, *options), "release2024", "model")


def refused(
    capsys: pytest.CaptureFixture[str], clip: Path, profile: str, model: Path, why: str
) -> None:
    """In one line, before any video is decoded."""
    missing = clip.with_name("decoded.mp4")
    command = ["classify", str(missing), "--offline", "--profile", profile, "--model", str(model)]
    assert run(command) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert why in err
    assert "decoded.mp4" not in err


def test_a_classifier_of_other_features_is_refused(
    clip: Path, paper_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert EMBEDDED is not None
    refused(capsys, clip, "paper", EMBEDDED, "of which the profile paper has none")
    # The same names, one of them by another model; the profile is the user's own.
    mine = tmp_path / "mine.yaml"
    extractors = "{kind: image_encoder}, {kind: musicnn}, {kind: music_tagger, modality: audiotag}"
    mine.write_text(f"name: mine\ndetector: threshold\nextractors: [{extractors}]\n")
    refused(capsys, clip, str(mine), paper_model, "was made by musicnet:")
    # The same model, its windows further apart.
    mine.write_text("name: mine\nextractors: [{kind: panns, overlap: 0.25}]\n")
    refused(capsys, clip, str(mine), paper_model, "was made by audiotag:")


def test_weights_that_are_not_there_are_all_named_at_once(
    clip: Path,
    paper_model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REELGENRE_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("REELGENRE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    command = [
        "classify",
        str(clip),
        "--offline",
        "--profile",
        "paper",
        "--model",
        str(paper_model),
    ]
    assert run(command) == 1
    err = capsys.readouterr().err
    for name in ("clip-vit-b32", "panns-cnn14-emb128", "choi-fcn", "distilbert"):
        assert name in err
    assert "Traceback" not in err
