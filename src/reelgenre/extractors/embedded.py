"""Builds the extractors of the embedded profile: onnxruntime and CTranslate2 on the CPU."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from reelgenre.errors import WeightsError
from reelgenre.extractors.base import Extractor, TextExtractor
from reelgenre.extractors.loading import Loading
from reelgenre.extractors.sentences import SentenceEncoder
from reelgenre.extractors.settings import (
    FrameEncoderSettings,
    ScreenTextSettings,
    SpeechSettings,
    WordsSettings,
)
from reelgenre.weights import once

if TYPE_CHECKING:
    from reelgenre.extractors.ocr import TextReader
    from reelgenre.extractors.spelling import EnglishSpelling

# Each builder imports only what it needs: Whisper alone takes a third of a second.


def frame_encoder(settings: FrameEncoderSettings, loading: Loading) -> Extractor:
    """The `frames` modality.

    Raises:
        WeightsError: the file is missing or not the one that the profile names, or its checkpoint
            is missing.
    """
    from reelgenre.extractors.frames import FrameEncoder

    path = _own_file(settings, loading)
    if settings.weights is None:
        return FrameEncoder(path, settings.sha256, loading.threads)
    weights = loading.weights(settings.weights)
    if len(weights.files) != 1:
        raise WeightsError(
            f"{settings.weights} is {len(weights.files)} files, the image encoder needs one",
            "Name another checkpoint in the profile",
        )
    identity = f"{settings.sha256} {weights.artefact.digest}"
    return FrameEncoder(path, identity, loading.threads, next(iter(weights.files.values())))


def words(settings: WordsSettings, loading: Loading) -> TextExtractor:
    """The `words` modality.

    Raises:
        WeightsError: the file is missing or not the one that the profile names.
    """
    from reelgenre.extractors.words import WordExtractor, WordTable

    table = WordTable.load(_own_file(settings, loading))
    return WordExtractor(table, settings.sha256, settings.of)


def speech(settings: SpeechSettings, loading: Loading) -> Extractor:
    """The `speech` modality."""
    from reelgenre.extractors.speech import SpeechExtractor

    whisper, vad = loading.weights("whisper-base"), loading.weights("silero-vad")
    return SpeechExtractor(
        whisper.folder,
        f"{whisper.artefact.digest} {vad.artefact.digest}",
        _sentence_encoder(loading),
        other_languages=settings.other_languages,
        threads=loading.threads or 0,
        beam_size=settings.beam_size,
    )


def screen_text(_: ScreenTextSettings, loading: Loading) -> Extractor:
    """The `screen_text` modality."""
    from reelgenre.extractors.screen_text import ScreenTextExtractor

    reader, of_reader = text_reader(loading)
    spelling, of_spelling = english_spelling(loading)
    return ScreenTextExtractor(
        reader, spelling, _sentence_encoder(loading), f"{of_reader} {of_spelling}"
    )


def text_reader(loading: Loading) -> tuple[TextReader, str]:
    """PP-OCR on onnxruntime, and what identifies its weights."""
    from reelgenre.extractors.ocr import TextReader

    weights = loading.weights("rapidocr")
    reader = TextReader(
        weights.files["PP-OCRv6_det_small.onnx"],
        weights.files["PP-OCRv6_rec_small.onnx"],
        loading.threads,
    )
    return reader, weights.artefact.digest


def english_spelling(loading: Loading) -> tuple[EnglishSpelling, str]:
    """The dictionary that repairs titles, and what identifies it."""
    from reelgenre.extractors.spelling import EnglishSpelling

    weights = loading.weights("symspell-english")
    spelling = EnglishSpelling(
        weights.files["frequency_dictionary_en_82_765.txt"],
        weights.files["frequency_bigramdictionary_en_243_342.txt"],
    )
    return spelling, weights.artefact.digest


def _own_file(settings: FrameEncoderSettings | WordsSettings, loading: Loading) -> Path:
    """The file that stands beside the profile, checked."""
    path = loading.folder / settings.file
    if not path.is_file():
        raise WeightsError(f"{path} is missing", "Install the package or copy the profile again")
    if hashlib.sha256(path.read_bytes()).hexdigest() != settings.sha256:
        raise WeightsError(
            f"{path} is not the file that its profile names",
            "Install the package or copy the profile again",
        )
    return path


def _sentence_encoder(loading: Loading) -> SentenceEncoder:
    def load() -> SentenceEncoder:
        weights = loading.weights("minilm-int8")
        return SentenceEncoder(
            weights.files["model.onnx"],
            weights.files["tokenizer.json"],
            weights.artefact.digest,
            loading.threads,
        )

    return once(("sentences", loading.threads), load)
