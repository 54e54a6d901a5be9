"""What is said and shown in other languages and scripts, through every kind that reads text.

Whisper and the reader of pictures are given their result, so that the languages are exact; the
models behind them are small and random, or the real ones of the embedded profile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.extractors.paper.text_models import distilbert, roberta

from reelgenre.extractors import Extraction
from reelgenre.extractors.ocr import TextBox
from reelgenre.extractors.paper.language_of_text import NgramLanguage
from reelgenre.extractors.paper.screen_reading import ScreenReading
from reelgenre.extractors.paper.screen_tokens import ScreenTokensExtractor
from reelgenre.extractors.paper.sentiment import (
    ScreenSentimentExtractor,
    Sentiment,
    SpeechSentimentExtractor,
)
from reelgenre.extractors.paper.speech_reading import SpeechReading
from reelgenre.extractors.paper.speech_tokens import SpeechTokensExtractor
from reelgenre.extractors.paper.text_classifier import TextClassifier
from reelgenre.extractors.paper.token_encoder import TokenEncoder
from reelgenre.extractors.screen_text import ScreenTextExtractor
from reelgenre.extractors.sentences import SentenceEncoder
from reelgenre.extractors.speech import SpeechExtractor, SpeechLine
from reelgenre.extractors.spelling import EnglishSpelling
from reelgenre.media import SoundBlock

CPU = torch.device("cpu")
SAID = {
    "German": ("de", ["Wir haben zehn Minuten,", "bevor die Bombe explodiert."]),
    "French": ("fr", ["Je t'aime et je ne te quitterai", "plus jamais de ma vie."]),
    "Japanese": ("ja", ["彼らは地球を滅ぼすために", "別の惑星からやって来た。"]),
}
# Titles, and what the rules for English spelling may not touch.
SHOWN = {
    "Russian": "ПОСЛЕДНИЙ СВИДЕТЕЛЬ",
    "Greek": "ΤΕΛΕΥΤΑΙΟΣ ΜΑΡΤΥΡΑΣ",
    "Japanese": "最後の目撃者",
    "Korean": "마지막 목격자",
    "Arabic": "الشاهد الأخير",
    "Hindi": "आखिरी गवाह",
    "French": "LE DERNIER TÉMOIN À PARIS",
}


class Whispers:
    """A recogniser that says, whatever it hears, the lines that it was given."""

    def __init__(self, lines: list[SpeechLine]) -> None:
        self.identity: dict[str, str | int | float] = {"whisper": "sha"}
        self._lines = lines

    def lines(self, blocks: Iterable[SoundBlock], *, translate: bool) -> list[SpeechLine]:
        list(blocks)
        assert not translate
        return self._lines


class Shows:
    """A reader that finds one text in every picture."""

    def __init__(self, text: str) -> None:
        self._text = text

    def read(self, image: NDArray[np.uint8]) -> list[TextBox]:
        return [TextBox(self._text, 0.9, 0.1, 0.4, 0.9, 0.5)]


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> TokenEncoder:
    return TokenEncoder(distilbert(tmp_path_factory.mktemp("models") / "distilbert"), "sha", CPU)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> TextClassifier:
    return TextClassifier(roberta(tmp_path_factory.mktemp("models") / "roberta"), CPU)


@pytest.mark.parametrize("name", SAID)
@pytest.mark.parametrize("kind", ["speech", "speech_tokens", "speech_sentiment"])
def test_what_is_not_english_is_named(
    kind: str,
    name: str,
    tokens: TokenEncoder,
    classifier: TextClassifier,
    speech: SpeechExtractor,
    sentences: SentenceEncoder,
    sound_view: Callable[[Any], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    code, texts = SAID[name]
    lines = [SpeechLine(t, 4.0 * i, 4.0 * i + 3.0, 0.8, code) for i, t in enumerate(texts)]
    recogniser: Any = Whispers(lines)
    reading = SpeechReading(recogniser, NgramLanguage())
    extractor: Any
    named = f"{name} language"
    if kind == "speech":
        extractor = speech
        monkeypatch.setattr(speech, "_recogniser", recogniser)
        monkeypatch.setattr(speech, "_other_languages", "name")
        expected = sentences.encode([named])
    elif kind == "speech_tokens":
        extractor = SpeechTokensExtractor("asr", reading, tokens)
        encoded = tokens.encode([named])
        assert encoded is not None
        expected = encoded.values
    else:
        extractor = SpeechSentimentExtractor("s", reading, Sentiment(classifier, "sha"))
        expected = classifier.classify(named).vector[np.newaxis]
    extraction: Extraction | None = extractor.extract(sound_view(np.zeros(16_000)))
    assert extraction is not None
    np.testing.assert_allclose(extraction.sequence.values, expected, atol=1e-6)
    assert extraction.sequence.times.tolist() == [[0.0, 7.0]] * len(expected)
    spoken = [item for item in extraction.evidence if item.kind == "speech"]
    # The embedded profile tells people its one step; the paper's kinds what was said.
    assert [item.text for item in spoken] == ([named] if kind == "speech" else texts)
    assert {item.language for item in spoken} == {code}


@pytest.mark.parametrize("name", SHOWN)
@pytest.mark.parametrize("kind", ["screen_text", "screen_tokens", "screen_sentiment"])
def test_titles_of_other_scripts_are_steps_as_they_were_read(
    kind: str,
    name: str,
    tokens: TokenEncoder,
    classifier: TextClassifier,
    sentences: SentenceEncoder,
    spelling: EnglishSpelling,
    frames_view: Callable[[Any], Any],
) -> None:
    text = SHOWN[name]
    reader: Any = Shows(text)
    reading = ScreenReading(reader, lambda texts: [spelling.repair(t) for t in texts], {})
    extractor: Any
    if kind == "screen_text":
        extractor = ScreenTextExtractor(reader, spelling, sentences, "ocr")
        expected = sentences.encode([text])
    elif kind == "screen_tokens":
        extractor = ScreenTokensExtractor("ocr", reading, tokens)
        encoded = tokens.encode([text])
        assert encoded is not None
        expected = encoded.values
    else:
        extractor = ScreenSentimentExtractor("s", reading, Sentiment(classifier, "sha"))
        expected = classifier.classify(text.lower()).vector[np.newaxis]
    extraction: Extraction | None = extractor.extract(
        frames_view([np.zeros((90, 160, 3), np.uint8)])
    )
    assert extraction is not None
    np.testing.assert_allclose(extraction.sequence.values, expected, atol=1e-6)
    assert np.isfinite(extraction.sequence.values).all()
    assert extraction.sequence.times.tolist() == [[0.0, 2.0]] * len(expected)
    assert extraction.evidence[0].text == text


def test_the_sentiment_of_a_text_depends_on_what_it_says_in_every_script(
    classifier: TextClassifier,
) -> None:
    """Byte pairs know every script: no text is an unknown word, as it is to small vocabularies."""
    texts = [*SHOWN.values(), *(" ".join(lines) for _, lines in SAID.values())]
    vectors = [classifier.classify(text).vector for text in texts]
    assert all(np.isfinite(vector).all() for vector in vectors)
    assert len({vector.tobytes() for vector in vectors}) == len(texts)
