"""What is extracted, what is recorded, and what a second run does."""

from __future__ import annotations

import shutil
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.extraction.fakes import Fakes, devices, ran, write_sound

from reelgenre.extraction import (
    ExtractionOptions,
    VideoResult,
    extract_videos,
    loading,
    survey_videos,
)
from reelgenre.extraction.one_video import with_sources
from reelgenre.extractors import Extractor, TextExtractor
from reelgenre.extractors.profiles import Profile
from reelgenre.store import FeatureStore

LOUD, CALM, LETTERS = (f"{name}:0123456789abcdef" for name in ("loud", "calm", "letters"))


@pytest.fixture(name="store")
def _store(tmp_path: Path) -> FeatureStore:
    return FeatureStore.create(tmp_path / "store")


def test_good_bad_and_odd_files_and_what_a_second_run_does(
    tmp_path: Path, store: FeatureStore
) -> None:
    videos, log = tmp_path / "videos", tmp_path / "log"
    good = [write_sound(videos, name) for name in ("one", "two")]
    mute, wrong, huge = (write_sound(videos, f"{name}-1") for name in ("mute", "wrong", "huge"))
    copy = Path(shutil.copy(good[0], videos / "again.wav"))
    damaged = videos / "damaged.mp4"
    damaged.write_bytes(b"no film" * 99)
    badly_named = Path(shutil.copy(good[1], videos / "caf\udce9.wav"))
    missing = videos / "missing.mp4"
    vanishing = write_sound(videos, "vanish-1")
    paths = [*good, mute, wrong, huge, copy, damaged, badly_named, missing, vanishing, good[0]]
    told: dict[str, VideoResult] = {}
    steps = []

    def hook(step: str, completed: float, total: float | None, artifact: Any = None) -> None:
        steps.append((step, completed, total))
        if artifact is not None:
            told[artifact.path] = artifact

    report = extract_videos(paths, store, Fakes(log=log), hook=hook)

    assert (report.videos, report.extracted, report.duplicates, report.failed) == (10, 3, 1, 6)
    assert (report.complete, report.unfinished, report.workers_lost) == (0, 0, 0)
    assert ("weights:fake", 1, 1) in steps
    assert [s for s in steps if s[0] == "extract"] == [("extract", n, 10) for n in range(1, 11)]
    assert told.keys() == {str(path) for path in paths}
    for path in good:
        with wave.open(str(path)) as sound:
            samples = np.frombuffer(sound.readframes(sound.getnframes()), np.int16) / 32768
        known = store.find(path.stem)
        sequence = store.get(known, "calm")
        assert sequence is not None
        expected = [samples.mean(), np.abs(samples).max()]
        np.testing.assert_allclose(sequence.values[0], expected, atol=1e-3)
        assert known.duration_s == pytest.approx(0.3, abs=0.01)
        assert told[str(path)].modalities["calm"].steps == 1
        assert told[str(path)].duration_s == known.duration_s
    assert store.get(store.find("mute-1"), "loud") is None
    assert told[str(copy)].duplicate_of == str(good[0])
    assert "UTF-8" in (told[str(badly_named)].error or "")
    assert "cannot be read" in (told[str(missing)].error or "")
    assert "vanished" in (told[str(vanishing)].error or "")
    assert "vanish-1" not in {video.video_id for video in store.videos.values()}

    def causes(path: Path) -> dict[str, str | None]:
        known = store.find(path.stem).content_hash
        return {name: store.outcomes(name)[known].error for name in ("loud", "calm")}

    assert causes(wrong) == {"loud": "ValueError: this is no tune", "calm": None}
    assert "beyond float16" in (causes(huge)["loud"] or "")
    assert causes(huge)["calm"] is None
    assert "damaged" in (causes(damaged)["loud"] or "")
    assert causes(damaged)["loud"] == causes(damaged)["calm"]
    assert {name for name, _ in ran(log)} == {"loud", "calm"}
    assert len(ran(log)) == 2 * 6

    log.unlink()
    report = extract_videos(paths, store, Fakes(log=log))
    assert ran(log) == []
    assert (report.complete, report.failed_before, report.duplicates, report.failed) == (3, 3, 1, 3)
    assert report.extracted == 0

    specs = [extractor.spec for extractor in Fakes()().extractors]
    survey = survey_videos(paths, store, specs, retry_failed=True)
    assert (survey.complete, survey.to_extract, survey.new, survey.failed_before) == (3, 3, 0, 0)
    assert dict(survey.missing) == {"loud": 3, "calm": 1}
    assert survey.unreadable.keys() == {str(missing), str(badly_named), str(vanishing)}

    wrong.rename(videos / "mended.wav")
    paths[paths.index(wrong)] = videos / "mended.wav"
    report = extract_videos(
        paths, store, Fakes(log=log), options=ExtractionOptions(retry_failed=True)
    )
    # Only what had failed, and of the damaged file nothing comes to run.
    assert sorted(ran(log)) == [("loud", "huge-1"), ("loud", "mended")]
    assert (report.extracted, report.complete, report.failed) == (1, 3, 5)
    assert store.get(store.find("wrong-1"), "loud") is not None


def test_only_missing_extractors_run_and_those_whose_text_they_read(
    tmp_path: Path, store: FeatureStore
) -> None:
    videos, log = tmp_path / "videos", tmp_path / "log"
    paths = [write_sound(videos, name) for name in ("first", "second")]
    extract_videos(paths, store, Fakes(("calm",), log))
    extract_videos(paths[:1], store, Fakes(("loud", "calm"), log))
    written = store.outcomes("loud")[store.find("first").content_hash].written_ns
    log.unlink()

    extract_videos(paths, store, Fakes(("loud", "calm", "letters"), log))

    assert sorted(ran(log)) == [
        ("letters", "first"),
        ("letters", "second"),
        ("loud", "first"),  # For its text alone.
        ("loud", "second"),
    ]
    letters = store.get(store.find("second"), "letters")
    assert letters is not None
    assert letters.values.item() == len("second")
    assert store.outcomes("loud")[store.find("first").content_hash].written_ns == written
    assert store.missing([LOUD, CALM, LETTERS]) == {}


def test_what_failed_before_still_counts_when_something_else_is_extracted(
    tmp_path: Path, store: FeatureStore
) -> None:
    paths = [write_sound(tmp_path, "wrong-1")]
    report = extract_videos(paths, store, Fakes(("loud",)))
    assert (report.failed, report.fruitless) == (1, True)
    report = extract_videos(paths, store, Fakes(("loud", "calm")))
    assert (report.extracted, report.failed_before, report.failed) == (0, 1, 0)
    assert not report.fruitless
    report = extract_videos(paths, store, Fakes(("loud", "calm")))
    assert (report.failed_before, report.fruitless) == (1, False)
    assert report.modalities == {}


def test_text_readers_bring_their_sources() -> None:
    extractors = Fakes(("loud", "calm", "letters"))().extractors
    assert [e.spec.name for e in with_sources(extractors, ["letters"])] == ["loud", "letters"]
    assert [e.spec.name for e in with_sources(extractors, ["calm"])] == ["calm"]


def test_a_profile_is_never_loaded_without_the_sources_of_its_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Otherwise a video that speaks would be recorded as one without words."""

    asked: list[str] = []

    def build(
        profile: Profile, modalities: tuple[str, ...], **_: object
    ) -> list[Extractor | TextExtractor]:
        asked.extend(name for name in profile.modalities if name in modalities)
        return list(Fakes()().extractors)

    monkeypatch.setattr(loading, "build_extractors", build)
    loaded = loading.ProfileExtractors("embedded", ("words",), threads=3)()
    assert asked == ["speech", "screen_text", "words"]
    assert loaded.media.threads == 3
    assert loaded.devices == 0


def test_every_cuda_device_gets_a_worker(tmp_path: Path, store: FeatureStore) -> None:
    log = tmp_path / "log"
    paths = [write_sound(tmp_path / "videos", f"meet-{n}") for n in range(2)]
    options = ExtractionOptions(videos_at_once=1)
    report = extract_videos(paths, store, Fakes(("loud",), log, devices=2), options=options)
    assert report.extracted == 2
    assert devices(log) == ["None", "1"]  # The first worker took device 0 of itself.
    assert store.missing([LOUD]) == {}
