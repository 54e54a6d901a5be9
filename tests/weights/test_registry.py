"""What is registered: complete, unique, and all that the settings name by default."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import get_args

import pytest

from reelgenre.extractors.settings import ExtractorSettings, FrameEncoderSettings, Settings
from reelgenre.weights import ARTEFACTS, HubFile, UrlFile, size_in_words, sources

SHARED = Path(__file__).parents[3] / "shared/data/music_tagger"
KINDS: tuple[type[ExtractorSettings], ...] = get_args(get_args(Settings)[0])
NAMES = {artefact.name for artefact in ARTEFACTS}


def test_every_name_that_settings_have_by_default_is_registered() -> None:
    assert len(KINDS) >= 14
    for kind in KINDS:
        for name, field in kind.model_fields.items():
            if name in {"weights", "whisper", "corrector", "detector"} or name.endswith("_weights"):
                if (kind, name) == (FrameEncoderSettings, "weights"):
                    assert field.default is None  # a file of one's own may have all its weights
                else:
                    assert field.default in NAMES, (kind, name)


def test_alternatives_are_registered() -> None:
    assert {
        *("siglip2-base", "ast-audioset", "choi-cnn", "choi-crnn", "vit-base"),
        *("whisper-small", "whisper-medium", "whisper-large-v3-turbo"),
    } <= NAMES


def test_names_are_unique_and_artefacts_described() -> None:
    assert len(NAMES) == len(ARTEFACTS)
    for artefact in ARTEFACTS:
        assert artefact.licence
        assert artefact.description
        assert artefact.source.startswith("https://")
        assert len({file.name for file in artefact.files}) == len(artefact.files)
        assert size_in_words(artefact)
        assert sources(artefact)
        for file in artefact.files:
            if isinstance(file.origin, UrlFile):
                assert file.origin.url.startswith("https://")


def test_torch_pickles_are_marked() -> None:
    for artefact in ARTEFACTS:
        ctranslate = any(file.name.startswith("vocabulary") for file in artefact.files)
        for file in artefact.files:
            ending = file.name.rsplit(".", 1)[-1]
            pickle = ending in {"pt", "pth"} or (ending == "bin" and not ctranslate)
            hub = isinstance(file.origin, HubFile) or file.pickled
            assert file.pickled == (pickle and hub), file.name


def test_a_folder_artefact_of_the_hub_is_a_snapshot() -> None:
    for artefact in ARTEFACTS:
        if artefact.folder and isinstance(artefact.files[0].origin, HubFile):
            assert artefact.snapshot, artefact.name


@pytest.mark.parametrize("kind", ["cnn", "crnn"])
def test_chois_files_are_those_that_were_measured(kind: str) -> None:
    path = SHARED / f"music_tagger_{kind}_weights_theano.h5"
    if not path.is_file():
        pytest.skip("Choi's published weights are not at ../shared/data")
    (artefact,) = (one for one in ARTEFACTS if one.name == f"choi-{kind}")
    (file,) = artefact.files
    assert file.name == path.name
    assert file.size == path.stat().st_size
    assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
