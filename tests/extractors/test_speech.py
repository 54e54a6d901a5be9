from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from reelgenre.errors import WeightsError
from reelgenre.extractors.chunking import LONGEST
from reelgenre.extractors.languages import LANGUAGES, language_name
from reelgenre.extractors.sentences import SentenceEncoder
from reelgenre.extractors.speech import SpeechExtractor
from reelgenre.extractors.whisper import Whisper, compression_ratio, is_speech

RATE = 16_000
Sound = NDArray[np.float32]

# Lines and a word of each that even a poor voice gets across.
LINES = {
    "We have ten minutes before the bomb explodes.": "minutes",
    "You are the best player this team has ever had.": "team",
    "My grandmother told me a secret about this old house.": "secret",
    "In a world without hope, one man must fight for his family.": "family",
    "I love you, and I will never leave you again.": "leave",
    "They came from another planet to destroy the earth.": "planet",
    "The king sent his soldiers to war against the enemy.": "soldiers",
}


def _silence(seconds: float) -> Sound:
    return np.zeros(round(seconds * RATE), np.float32)


def test_speech_over_music_is_written_down_where_it_is(
    speech: SpeechExtractor,
    sentences: SentenceEncoder,
    say: Callable[..., Sound],
    music: Callable[[float], Sound],
    sound_view: Callable[[Any], Any],
) -> None:
    spoken = say("You are the best player this team has ever had.")
    sound = music(40.0) * 0.1
    sound[12 * RATE : 12 * RATE + len(spoken)] += spoken
    view = sound_view(sound)
    extraction = speech.extract(view)
    assert view.ended
    assert extraction is not None
    (item,) = extraction.evidence
    assert "best player" in (item.text or "").lower()
    assert item.language == "en"
    assert item.step == 0
    assert item.score is not None
    assert 0.3 < item.score <= 1.0
    assert item.start == pytest.approx(12.0, abs=0.8)
    assert item.end == pytest.approx(12.0 + len(spoken) / RATE, abs=0.8)
    np.testing.assert_allclose(
        extraction.sequence.values, sentences.encode([item.text or ""]), atol=1e-5
    )
    assert extraction.sequence.made_by == speech.spec.fingerprint


def test_windows_lose_nothing_and_keep_time(
    speech: SpeechExtractor, say: Callable[..., Sound], sound_view: Callable[[Any], Any]
) -> None:
    # Seven lines over 150 s, one of them across the border of the two-minute window.
    sound = _silence(150.0)
    starts = [2.0, 20.0, 40.0, 60.0, 80.0, 118.5, 140.0]
    for start, line in zip(starts, LINES, strict=True):
        voice = say(line)
        sound[round(start * RATE) :][: len(voice)] += voice
    extraction = speech.extract(sound_view(sound))
    assert extraction is not None
    np.testing.assert_allclose([item.start for item in extraction.evidence], starts, atol=0.9)
    understood = [
        word in (item.text or "").lower()
        for word, item in zip(LINES.values(), extraction.evidence, strict=True)
    ]
    assert sum(understood) >= 6


def test_nothing_is_invented_over_music_noise_and_silence(
    speech: SpeechExtractor, music: Callable[[float], Sound], sound_view: Callable[[Any], Any]
) -> None:
    generator = np.random.default_rng(0)
    hiss = generator.normal(0, 0.2, 20 * RATE)
    rumble = np.cumsum(hiss - hiss.mean())
    for sound in (
        _silence(30.0),
        music(30.0),
        np.clip(8 * music(15.0), -1, 1),
        hiss,
        0.8 * rumble / np.abs(rumble).max(),
        np.sin(2 * np.pi * 440 * np.arange(20 * RATE) / RATE),
    ):
        assert speech.extract(sound_view(sound)) is None


def test_almost_no_sound(speech: SpeechExtractor, sound_view: Callable[[Any], Any]) -> None:
    for sound in (_silence(0.0), np.ones(1), _silence(0.05), np.full(RATE, np.nan)):
        assert speech.extract(sound_view(sound)) is None


def test_other_languages_are_translated_or_named(
    speech: SpeechExtractor,
    whisper_folder: Path,
    sentences: SentenceEncoder,
    say: Callable[..., Sound],
    sound_view: Callable[[Any], Any],
) -> None:
    spanish = [
        "La policía encontró el cuerpo cerca del río anoche.",
        "Tenemos diez minutos antes de que explote la bomba.",
        "Vinieron de otro planeta para destruir la tierra.",
    ]
    sound = np.concatenate([part for line in spanish for part in (say(line, "es"), _silence(0.7))])
    translated = speech.extract(sound_view(sound))
    assert translated is not None
    text = " ".join(item.text or "" for item in translated.evidence).lower()
    assert "police" in text
    assert "ten minutes" in text
    assert {item.language for item in translated.evidence} == {"es"}

    naming = SpeechExtractor(
        whisper_folder, "whisper", sentences, other_languages="name", threads=2
    )
    named = naming.extract(sound_view(sound))
    assert named is not None
    assert [(item.text, item.language) for item in named.evidence] == [("Spanish language", "es")]
    assert naming.spec.fingerprint != speech.spec.fingerprint


def test_dialogue_of_a_real_trailer(
    speech: SpeechExtractor, sintel: Path, sound_view: Callable[[Any], Any]
) -> None:
    resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
    with av.open(str(sintel)) as container:
        blocks = [
            out.to_ndarray().reshape(-1)
            for frame in container.decode(audio=0)
            for out in resampler.resample(frame)
        ]
    extraction = speech.extract(sound_view(np.concatenate(blocks)))
    assert extraction is not None
    text = " ".join(item.text or "" for item in extraction.evidence).lower()
    again = speech.extract(sound_view(np.concatenate(blocks)))
    assert again is not None
    assert again.sequence.values.tobytes() == extraction.sequence.values.tobytes()
    # What is said in it: "What brings you to the land of the gatekeepers?" "I'm searching for
    # someone." Nothing else is.
    assert "brings you to the land of the gatekeepers" in text
    assert "searching for someone" in text
    assert len(text.split()) <= LONGEST
    assert extraction.evidence[0].start == pytest.approx(12.3, abs=1.0)


@pytest.mark.parametrize(
    "line", ["Thanks for watching!", "Subtitles by the Amara.org community", "♪ ♪", "...", "1 2"]
)
def test_lines_that_whisper_makes_up_are_known(line: str) -> None:
    assert not is_speech(line)


@pytest.mark.parametrize("line", ["Thank you.", "You can't stop me.", "Свобода!", "I'm watching."])
def test_lines_that_people_say_are_kept(line: str) -> None:
    assert is_speech(line)


def test_repetition_compresses() -> None:
    assert compression_ratio("no no no no no " * 20) > 2.4 > compression_ratio(" ".join(LINES))
    assert compression_ratio("") < 1


def test_language_names() -> None:
    assert (language_name("fr"), language_name("zh"), language_name("ht")) == (
        "French",
        "Chinese",
        "Haitian Creole",
    )
    assert language_name("xx") == "xx"
    assert len(LANGUAGES) == 100


def test_every_language_of_the_model_has_a_name(whisper_folder: Path) -> None:
    whisper = Whisper(whisper_folder, threads=1)
    spoken = whisper.languages(whisper.encode(_silence(1.0)))
    assert sum(spoken.values()) == pytest.approx(1.0, abs=0.01)
    assert spoken.keys() <= LANGUAGES.keys()


def test_a_folder_without_a_model_is_refused(tmp_path: Path, sentences: SentenceEncoder) -> None:
    with pytest.raises(WeightsError, match="does not hold a Whisper model"):
        SpeechExtractor(tmp_path, "x", sentences)
