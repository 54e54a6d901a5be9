"""All that is said in a video, in English or named by its language."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace

import ctranslate2
import torch

from reelgenre.extractors.base import Evidence
from reelgenre.extractors.languages import language_name
from reelgenre.extractors.loading import Loading
from reelgenre.extractors.paper.device import torch_device
from reelgenre.extractors.paper.language_of_text import (
    NeuralLanguage,
    NgramLanguage,
    TextLanguage,
)
from reelgenre.extractors.settings import SpeechSentimentSettings, SpeechTokensSettings
from reelgenre.extractors.speech import SPEECH_VERSION, SpeechLine, SpeechRecogniser
from reelgenre.media import SoundBlock

_VERSION = 1

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SpokenText:
    """What is said in a video.

    Attributes:
        said: the lines as Whisper wrote or translated them, with the language spoken.
        texts: what stands for them: the same lines, or one line that names their language.
    """

    said: tuple[SpeechLine, ...]
    texts: tuple[SpeechLine, ...]

    def evidence(self, line: int, step: int | None) -> Evidence:
        """A line of ``said``, for people."""
        said = self.said[line]
        return Evidence(
            "speech", said.start, said.end, said.text, said.confidence, step, said.language
        )

    @property
    def is_named(self) -> bool:
        """Whether the name of a language stands for what was said."""
        return self.texts is not self.said


class SpeechReading:
    """Sound to lines of English.

    With a ``language``, all that was said is taken together, and where it is not English, the
    whole of it is replaced by, say, "German language" (Sulun et al., 2024, section 3.1.1). Where
    the text is too short or mixed to tell, it is kept. Without one, Whisper translates.

    Args:
        recogniser: writes down what is said.
        language: tells the language of a text; None to translate.
    """

    def __init__(self, recogniser: SpeechRecogniser, language: TextLanguage | None) -> None:
        self._recogniser = recogniser
        self._language = language
        self.identity: dict[str, str | int | float | bool] = {
            **recogniser.identity,
            **({} if language is None else language.identity),
            "translated": language is None,
            "speech": SPEECH_VERSION,
            "reading": _VERSION,
        }

    def read(self, sound: Iterable[SoundBlock]) -> SpokenText | None:
        """What is said, in order of time; None where nobody says anything intelligible.

        Args:
            sound: mono blocks at 16 kHz.
        """
        lines = tuple(self._recogniser.lines(sound, translate=self._language is None))
        if not lines:
            return None
        if self._language is None:
            return SpokenText(lines, lines)
        code = self._language.language(" ".join(line.text for line in lines))
        if code in ("en", None):
            said = tuple(replace(line, language=code or line.language) for line in lines)
            return SpokenText(said, said)
        assert code is not None
        said = tuple(replace(line, language=code) for line in lines)
        end = max(line.end for line in said)
        whole = replace(said[0], text=f"{language_name(code)} language", end=end)
        return SpokenText(said, (whole,))


def load_speech_reading(
    settings: SpeechTokensSettings | SpeechSentimentSettings, loading: Loading
) -> SpeechReading:
    """The recogniser and the language identification that a profile names.

    Raises:
        WeightsError: weights are missing or damaged.
    """
    whisper, vad = loading.weights(settings.whisper), loading.weights("silero-vad")
    device = torch_device(loading)
    recogniser = SpeechRecogniser(
        whisper.folder,
        f"{whisper.artefact.digest} {vad.artefact.digest}",
        threads=loading.threads or 0,
        beam_size=settings.beam_size,
        device=_whisper_device(device),
    )
    if settings.other_languages == "translate":
        return SpeechReading(recogniser, None)
    if settings.language == "ngrams":
        return SpeechReading(recogniser, NgramLanguage())
    weights = loading.weights(settings.language_weights)
    return SpeechReading(
        recogniser, NeuralLanguage(weights.folder, weights.artefact.digest, device)
    )


def _whisper_device(device: torch.device) -> str:
    """CTranslate2 runs on CUDA or the CPU, and knows the former only where its libraries are."""
    if device.type == "cuda":
        if ctranslate2.get_cuda_device_count() > 0:
            return str(device)
        _log.warning("CTranslate2 finds no CUDA device, so Whisper runs on the CPU")
    return "cpu"
