"""The pipeline as a library: real trailers by their meaning, odd files, threads that end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.clips import title, write_clip

from reelgenre import GenrePipeline, GenreResult, MediaError, RecipeError
from reelgenre.classifiers import ClassifierConfig, FeatureConfig, Mlp
from reelgenre.classifiers.build import build_module
from reelgenre.classifiers.saving import save_pretrained
from reelgenre.extractors import Extraction, ExtractorSpec
from reelgenre.media import Frames, MediaView


@pytest.fixture(scope="module")
def pipeline() -> GenrePipeline:
    return GenrePipeline.from_pretrained("embedded", offline=True)


@pytest.fixture(scope="module")
def heard() -> list[tuple[str, float, Any]]:
    """What the hook was told, once there is a ``sample_result``: step, completed, artefact."""
    return []


@pytest.fixture(scope="module")
def sample_result(
    pipeline: GenrePipeline, sample_trailer: Path, heard: list[tuple[str, float, Any]]
) -> GenreResult:
    return pipeline(
        sample_trailer,
        hook=lambda step, completed, total, artifact=None: heard.append(
            (step, completed, artifact)
        ),
    )


def texts(result: GenreResult, kind: str) -> str:
    return " | ".join(item.text or "" for item in result.evidence if item.kind == kind).lower()


def test_the_sample_trailer_is_seen_heard_and_read(sample_result: GenreResult) -> None:
    assert all(report.present for report in sample_result.modalities.values())
    assert sample_result.modalities["frames"].steps >= 15
    assert "signal" in texts(sample_result, "title")
    assert len(texts(sample_result, "speech").split()) >= 20
    assert sample_result.predicted
    assert sample_result.warnings == ()


def test_evidence_lies_inside_the_video_and_explains_predicted_genres(
    sample_result: GenreResult,
) -> None:
    explained = {genre for item in sample_result.evidence for genre, _ in item.genres}
    assert explained <= set(sample_result.predicted)
    assert explained
    for item in sample_result.evidence:
        assert -0.01 <= item.start <= item.end <= sample_result.duration_s + 0.5
        assert all(share > 0 for _, share in item.genres)


def test_the_same_file_gives_the_same_answer(
    pipeline: GenrePipeline, sample_trailer: Path, sample_result: GenreResult
) -> None:
    again = pipeline(sample_trailer)
    assert [(s.genre, round(s.probability, 5)) for s in again.genres] == [
        (s.genre, round(s.probability, 5)) for s in sample_result.genres
    ]
    assert texts(again, "speech") == texts(sample_result, "speech")


def test_any_subset_of_modalities_works(sample_trailer: Path) -> None:
    only = GenrePipeline.from_pretrained("embedded", modalities=["screen_text"], offline=True)
    result = only(sample_trailer)
    assert list(result.modalities) == ["screen_text"]
    assert {item.modality for item in result.evidence} == {"screen_text"}
    assert len(result.genres) == 21


@pytest.mark.parametrize(
    ("reads", "runs"),
    [
        ("screen_text", ["screen_text"]),
        # Words are those of what was said and shown.
        ("words", ["speech", "screen_text", "words"]),
    ],
)
def test_only_what_the_classifier_reads_is_extracted(
    reads: str, runs: list[str], tmp_path: Path
) -> None:
    inputs = {reads: FeatureConfig(dim=384 if reads == "screen_text" else 21, pooling="mean")}
    config = ClassifierConfig(architecture=Mlp(hidden=()), labels=("Drama",), features=inputs)
    model = tmp_path / "model"
    save_pretrained(model, build_module(config).eval(), config, "card")
    pipeline = GenrePipeline.from_pretrained("embedded", model=model, offline=True)
    assert [extractor.spec.name for extractor in pipeline.extractors] == runs
    titles = write_clip(tmp_path / "titles.mp4", [(title("THE LAST WITNESS"), 1.0)])
    result = pipeline(titles)
    assert list(result.modalities) == list(result.model.fingerprints) == runs
    asked = GenrePipeline.from_pretrained(
        "embedded", model=model, modalities=["frames", reads], offline=True
    )
    assert {extractor.spec.name for extractor in asked.extractors} == {"frames", reads}


def test_words_need_a_modality_that_finds_text() -> None:
    with pytest.raises(RecipeError, match="looks or listens"):
        GenrePipeline.from_pretrained("embedded", modalities=["words"], offline=True)


def test_words_are_those_of_speech_and_titles(sample_result: GenreResult) -> None:
    text = (texts(sample_result, "speech") + " " + texts(sample_result, "title")).lower()
    words = texts(sample_result, "word").split(" | ")
    assert len(words) >= 5
    assert all(word in text for word in words)


def test_a_real_trailer(pipeline: GenrePipeline, sintel_trailer: Path) -> None:
    result = pipeline(sintel_trailer)
    assert result.duration_s == pytest.approx(52.2, abs=0.3)
    said, shown = texts(result, "speech"), texts(result, "title")
    assert "land of the gatekeepers" in said
    assert "searching for someone" in said
    assert "sintel" in shown
    assert "blender foundation" in shown
    assert {item.language for item in result.evidence if item.kind == "speech"} == {"en"}


def test_a_picture_that_shows_nothing_is_one_clear_error(
    pipeline: GenrePipeline, tmp_path: Path
) -> None:
    import av

    black = tmp_path / "black.mp4"
    with av.open(str(black), "w") as out:
        stream = out.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for _ in range(10):
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    with pytest.raises(MediaError, match="nothing that could be classified"):
        pipeline(black)


@pytest.mark.usefixtures("sample_result")
def test_progress_and_artefacts_go_through_the_hook(heard: list[tuple[str, float, Any]]) -> None:
    decoded = [completed for step, completed, _ in heard if step == "decode"]
    assert len(decoded) > 10
    assert decoded == sorted(decoded)
    made = {step: artifact for step, _, artifact in heard if isinstance(artifact, Extraction)}
    assert set(made) == {"frames", "speech", "screen_text", "words"}


class _Failing:
    """An extractor that fails on the second frame it sees."""

    spec = ExtractorSpec("frames", 4, Frames(), "frames:failing")

    def extract(self, media: MediaView) -> Extraction | None:
        iterator: Iterator[object] = iter(media.frames())
        next(iterator)
        next(iterator)
        raise RuntimeError("planted")


def test_an_extractor_that_dies_ends_the_run_with_its_error_and_no_thread_stays(
    pipeline: GenrePipeline, sample_trailer: Path
) -> None:
    before = threading.active_count()
    others = [e for e in pipeline.extractors if e.spec.name == "screen_text"]
    broken = GenrePipeline([_Failing(), *others], pipeline.classifier)
    with pytest.raises(RuntimeError, match="planted"):
        broken.extract(sample_trailer)
    assert threading.active_count() <= before


def test_wrong_names_are_told(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="embedded"):
        GenrePipeline.from_pretrained("no-such-profile")
    with pytest.raises(RecipeError, match="speech"):
        GenrePipeline.from_pretrained("embedded", modalities=["smell"])
    profile = tmp_path / "profile.yaml"
    profile.write_text("name: x\nextractors: [{kind: speech, colour: red}]\n")
    with pytest.raises(RecipeError, match="colour"):
        GenrePipeline.from_pretrained(profile)
    profile.write_text("name: [\n")
    with pytest.raises(RecipeError, match="not YAML"):
        GenrePipeline.from_pretrained(profile)


def test_a_threshold_outside_0_to_1_is_refused(
    pipeline: GenrePipeline, sample_trailer: Path
) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        pipeline(sample_trailer, threshold=1.5)
