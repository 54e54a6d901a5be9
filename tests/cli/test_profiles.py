"""`reelgenre profiles`, profiles without a classifier, and what settings say that they need."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
import yaml

from reelgenre.cli import run
from reelgenre.errors import RecipeError
from reelgenre.extractors import profiles
from reelgenre.extractors.loading import Loading
from reelgenre.extractors.profiles import Profile, build_extractors, load_profile, shipped_profiles
from reelgenre.extractors.settings import ExtractorSettings, Settings
from reelgenre.pipeline import GenrePipeline
from reelgenre.weights import ARTEFACTS, ResolvedWeights, resolve

KINDS: tuple[type[ExtractorSettings], ...] = get_args(get_args(Settings)[0])
BY_NAME = {artefact.name: artefact for artefact in ARTEFACTS}


def test_list_names_the_shipped_ones_with_their_modalities(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["profiles", "list"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert set(lines) == set(shipped_profiles()) >= {"embedded", "paper", "release2024"}
    assert "clip, audiotag, musicnet, ocr, asr (bring a classifier)" in lines["paper"]
    assert (
        "clip, beats, face_emotion, asr_sentiment, ocr_sentiment (bring a classifier)"
        in lines["release2024"]
    )
    assert "(with a classifier)" in lines["embedded"]


@pytest.mark.parametrize("name", ["embedded", "paper", "paper-turbo", "release2024"])
def test_show_prints_the_settings_as_yaml_and_the_weights(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["profiles", "show", name]) == 0
    out = capsys.readouterr().out
    profile = load_profile(name)
    text = out.split("\nNo classifier")[0]
    shown = Profile.model_validate(yaml.safe_load(text))
    assert shown == profile.model_copy(update={"folder": Path()})
    for artefact in profile.artefacts:
        (line, *_) = (line for line in out.splitlines() if line.startswith(f"#   {artefact}:"))
        assert BY_NAME[artefact].licence in line
        assert any(status in line for status in ("present", "missing", "damaged"))
    assert ("No classifier of its own" in out) == (profile.classifier is None)


def test_show_of_an_unknown_profile(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["profiles", "show", "papper"]) == 1
    assert "embedded, paper, paper-turbo, release2024" in capsys.readouterr().err


def test_the_papers_profile_is_the_papers() -> None:
    profile = load_profile("paper")
    assert profile.modalities == ("clip", "audiotag", "musicnet", "ocr", "asr")
    assert (profile.detector, profile.piece_s) == ("threshold", None)
    assert {"clip-vit-b32", "panns-cnn14-emb128", "spelling-corrector", "distilbert"} <= set(
        profile.artefacts
    )


@pytest.mark.parametrize("name", ["paper", "release2024"])
def test_without_a_classifier_the_user_is_told_to_bring_one(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert load_profile(name).classifier_folder is None
    assert run(["classify", str(tmp_path / "v.mp4"), "--profile", name]) == 1
    err = capsys.readouterr().err
    assert f"the profile {name} has no classifier of its own" in err
    assert "--model FOLDER" in err
    assert err.count("\n") == 1
    with pytest.raises(RecipeError, match="no classifier of its own"):
        GenrePipeline.from_pretrained(name)


def test_settings_list_exactly_what_the_embedded_extractors_load(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: set[str] = set()

    def weights(self: Loading, name: str) -> ResolvedWeights:
        asked.add(name)
        return resolve(name, offline=True)

    monkeypatch.setattr(Loading, "weights", weights)
    # Everything anew, whatever other tests loaded.
    for module in (profiles, "reelgenre.extractors.embedded"):
        if isinstance(module, str):
            monkeypatch.setattr(f"{module}.once", lambda key, factory: factory())
        else:
            monkeypatch.setattr(module, "once", lambda key, factory: factory())
    profile = load_profile("embedded")
    build_extractors(profile, threads=1, offline=True)
    assert asked == set(profile.artefacts)


class _AskedError(Exception):
    """Says which weights a builder wanted first."""


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.model_fields["kind"].annotation)
def test_what_a_builder_asks_for_first_is_in_its_settings(
    kind: type[ExtractorSettings], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (name,) = get_args(kind.model_fields["kind"].annotation)
    required = {
        "file": "none.onnx",
        "sha256": "0" * 64,
        "of": ["speech"],
    }
    given = {key: required[key] for key, f in kind.model_fields.items() if key in required}
    settings = kind.model_validate({"kind": name, **given})

    def weights(self: Loading, name: str) -> ResolvedWeights:
        raise _AskedError(name)

    monkeypatch.setattr(Loading, "weights", weights)
    if not settings.artefacts:
        return  # its one file lies beside the profile
    with pytest.raises(_AskedError) as caught:
        profiles._build(settings, Loading(tmp_path, threads=1, device="cpu"))  # type: ignore[arg-type]
    assert str(caught.value) in settings.artefacts


def test_the_profile_for_gpus_differs_in_its_whisper_alone() -> None:
    paper, turbo = load_profile("paper"), load_profile("paper-turbo")
    *same, listening = zip(paper.extractors, turbo.extractors, strict=True)
    assert all(one == other for one, other in same)
    assert listening[1] == listening[0].model_copy(update={"whisper": "whisper-large-v3-turbo"})
    assert paper.media == turbo.media
