"""All that is written in a video, frame by frame, for the modalities that encode it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from reelgenre.extractors.base import Evidence
from reelgenre.extractors.embedded import english_spelling, text_reader
from reelgenre.extractors.loading import Loading
from reelgenre.extractors.ocr import DETECTION_SIDE, OCR_VERSION, TextBox
from reelgenre.extractors.paper.device import torch_device
from reelgenre.extractors.paper.paddle_reader import PaddleReader
from reelgenre.extractors.paper.spelling_model import SpellingModel
from reelgenre.extractors.settings import ScreenSentimentSettings, ScreenTokensSettings
from reelgenre.extractors.spelling import SPELLING_VERSION
from reelgenre.extractors.titles import TITLES_VERSION, ReadFrame, Title, frame_titles
from reelgenre.media import Frame

_VERSION = 1

Identity = dict[str, str | int | float]
Spelling = Callable[[Sequence[str]], list[str]]


class PictureReader(Protocol):
    """Reads the text in a picture."""

    def read(self, image: NDArray[np.uint8]) -> list[TextBox]: ...


@dataclass(frozen=True)
class WrittenText:
    """What is written in one frame.

    Attributes:
        title: as it was read, with the time of the shot that the frame stands for.
        text: with its spelling corrected.
    """

    title: Title
    text: str

    def evidence(self, step: int | None) -> Evidence:
        """What was read, for people, before anything was corrected in it."""
        title = self.title
        return Evidence("title", title.start, title.end, title.text, title.score, step)


class ScreenReading:
    """Frames to the texts in them, in order of time.

    As in the paper there is no search for watermarks and no merging of like readings. A frame
    whose text was read before, letter for letter but for case, adds nothing, as in its authors'
    published code: a logo in the corner of every frame is one text, not two hundred.

    Args:
        reader: reads a picture.
        spelling: corrects texts.
        identity: everything about these two that changes the result, for fingerprints.
    """

    def __init__(self, reader: PictureReader, spelling: Spelling, identity: Identity) -> None:
        self._reader = reader
        self._spelling = spelling
        self.identity: Identity = {**identity, "titles": TITLES_VERSION, "reading": _VERSION}

    def read(self, frames: Iterable[Frame]) -> list[WrittenText]:
        """What is written in each frame that shows something new."""
        read = (ReadFrame(*f.shot, tuple(self._reader.read(f.image))) for f in frames)
        new: dict[str, Title] = {}
        for title in frame_titles(read):
            new.setdefault(title.text.casefold(), title)
        titles = list(new.values())
        corrected = self._spelling([title.text for title in titles])
        return [WrittenText(*pair) for pair in zip(titles, corrected, strict=True)]


def load_screen_reading(
    settings: ScreenTokensSettings | ScreenSentimentSettings, loading: Loading
) -> ScreenReading:
    """The reader and the spelling correction that a profile names.

    Raises:
        RecipeError: a library it needs is missing.
        WeightsError: weights are missing or damaged.
    """
    reader, of_reader = _reader(settings, loading)
    spelling, of_spelling = _spelling(settings, loading)
    return ScreenReading(reader, spelling, {**of_reader, **of_spelling})


def _reader(
    settings: ScreenTokensSettings | ScreenSentimentSettings, loading: Loading
) -> tuple[PictureReader, Identity]:
    if settings.reader == "rapidocr":
        small, digest = text_reader(loading)
        return small, {"reader": digest, "ocr": OCR_VERSION, "detection_side": DETECTION_SIDE}
    models = [
        loading.weights(name) for name in (settings.paddle_detection, settings.paddle_recognition)
    ]
    device = torch_device(loading)
    reader = PaddleReader(
        models[0].folder,
        models[1].folder,
        " ".join(weights.artefact.digest for weights in models),
        # Paddle has no backend for Apple's GPUs.
        device=str(device) if device.type == "cuda" else "cpu",
        threads=loading.threads,
    )
    return reader, {**reader.identity}


def _spelling(
    settings: ScreenTokensSettings | ScreenSentimentSettings, loading: Loading
) -> tuple[Spelling, Identity]:
    if settings.spelling == "none":
        return list, {"spelling": "none"}
    if settings.spelling == "dictionary":
        words, digest = english_spelling(loading)
        identity: Identity = {"spelling": digest, "spelling_version": SPELLING_VERSION}
        return lambda texts: [words.repair(text) for text in texts], identity
    weights = loading.weights(settings.corrector)
    model = SpellingModel(
        weights.folder,
        weights.artefact.digest,
        torch_device(loading),
        prefix=settings.corrector_prefix,
    )
    return model.correct, {"spelling": "model", **model.identity}
