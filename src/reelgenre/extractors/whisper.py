"""Whisper on CTranslate2: up to 30 s of speech to timed text, encoded once.

faster-whisper's own loop encodes the sound twice where the language is not known, follows failed
decodings with random sampling, and decides on the language by the first half minute. Here a piece
is encoded once, the caller decides on the language from all of its pieces, and what greedy search
fails on gets one beam search: the same sound always gives the same text.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import ctranslate2
import numpy as np
from faster_whisper.feature_extractor import (
    FeatureExtractor,
)
from numpy.typing import NDArray
from tokenizers import Tokenizer

from reelgenre.errors import WeightsError
from reelgenre.extractors.cores import side_by_side

Task = Literal["transcribe", "translate"]
# What the encoder made of a piece, a ctranslate2.StorageView.
Encoded: TypeAlias = Any

RATE = 16_000
PIECE_S = 30.0

WHISPER_VERSION = 1

# The network takes 30 s of 10 ms mel frames, and its timestamps count in steps of 20 ms.
_FRAMES = 3000
_TIME_STEP_S = 0.02
# Nobody says more in 30 s; a decoder that runs on is repeating itself.
_MAX_TOKENS = 224
_FALLBACK_BEAM = 5
_COMPUTE_TYPES = {"cpu": "int8", "cuda": "float16"}
# The gates of Radford et al. (2022, section 4.5): repetitive, improbable, and probably no speech.
_MAX_COMPRESSION = 2.4
_MIN_LOGPROB = -1.0
_MAX_NO_SPEECH = 0.6
# What Whisper learnt from the ends of web videos and says when there is nothing to say.
_INVENTED = re.compile(
    r"amara\.org|subtitles? (and translation )?by|(thanks?|thank you) (so much )?for watching"
    r"|(please|like and|to) subscribe|see you (in the )?next (time|video)|www\.|\.com\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class SpokenLine:
    """A stretch of speech as Whisper cut it.

    Attributes:
        text: what was said, or its translation.
        start, end: seconds from the start of the piece.
        confidence: mean probability of the tokens of its piece (geometric), 0 to 1.
    """

    text: str
    start: float
    end: float
    confidence: float


class Whisper:
    """A multilingual Whisper model of any size, converted for CTranslate2.

    How many mel bands it hears and where its special tokens stand differs between the sizes; both
    are read from the model's own files. Run in int8 on the CPU and in half precision on CUDA.

    Its methods may be called from several threads at once, as CTranslate2's own may.

    Args:
        folder: holds ``model.bin``, ``config.json``, ``tokenizer.json`` and the vocabulary.
        threads: of one inference on the CPU; 0 lets CTranslate2 choose.
        beam_size: 1 for greedy search.
        device: ``cpu``, ``cuda`` or ``cuda:1``.

    Raises:
        WeightsError: the folder is not such a model, or it cannot run on this device.
    """

    def __init__(
        self, folder: Path, threads: int = 0, beam_size: int = 1, device: str = "cpu"
    ) -> None:
        kind, _, index = device.partition(":")
        try:
            self._model = ctranslate2.models.Whisper(
                str(folder),
                device=kind,
                device_index=int(index or 0),
                compute_type=_COMPUTE_TYPES[kind],
                intra_threads=threads,
                # Workers that share the weights: where each piece of speech has a few cores only,
                # those of several videos are read side by side.
                inter_threads=side_by_side(threads or None) if kind == "cpu" else 1,
            )
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # both libraries raise bare ones
            raise WeightsError(
                f"{folder} does not hold a Whisper model that CTranslate2 can load: {error}",
                "Fetch it again with `reelgenre models pull`",
            ) from error
        if not self._model.is_multilingual:
            raise WeightsError(
                f"{folder} holds a Whisper model of English only",
                "Use a multilingual Whisper model",
            )
        self._beam_size = beam_size
        self._features = FeatureExtractor(feature_size=self._model.n_mels)
        self._first_special = self._token("<|endoftext|>")
        self._first_timestamp = self._token("<|notimestamps|>") + 1

    def _token(self, text: str) -> int:
        token = self._tokenizer.token_to_id(text)
        if token is None:
            raise WeightsError(f"The tokenizer has no {text}", "Use a multilingual Whisper model")
        return int(token)

    def encode(self, samples: NDArray[np.float32]) -> Encoded:
        """Encode mono sound at 16 kHz of at most 30 s; shorter sound is followed by silence."""
        mel = self._features(samples, padding=0)[:, :_FRAMES]
        # Whisper's log-mel scale ends 2.0 below its loudest value: what silence looks like.
        padded = np.full((mel.shape[0], _FRAMES), mel.max() - 2.0, np.float32)
        padded[:, : mel.shape[1]] = mel
        return self._model.encode(ctranslate2.StorageView.from_array(padded[np.newaxis]))

    def languages(self, encoded: Encoded) -> dict[str, float]:
        """Probability of each language, by code, of an encoded piece."""
        return {
            token.strip("<|>"): float(probability)
            for token, probability in self._model.detect_language(encoded)[0]
        }

    def decode(
        self, encoded: Encoded, duration: float, language: str, task: Task
    ) -> list[SpokenLine]:
        """What is said in an encoded piece; nothing where it fails the gates.

        Args:
            encoded: the piece.
            duration: its length in seconds, without the silence after it.
            language: its ISO 639 code.
            task: write it down, or translate it to English.
        """
        prompt = [self._token(f"<|{name}|>") for name in ("startoftranscript", language, task)]
        for beam_size in dict.fromkeys((self._beam_size, _FALLBACK_BEAM)):
            result = self._model.generate(
                encoded,
                [prompt],
                beam_size=beam_size,
                max_length=_MAX_TOKENS,
                return_scores=True,
                return_no_speech_prob=True,
                max_initial_timestamp_index=round(1 / _TIME_STEP_S),
            )[0]
            tokens = result.sequences_ids[0]
            # Scores are means without the end token; the published gate counts it.
            logprob = result.scores[0] * len(tokens) / (len(tokens) + 1)
            if logprob < _MIN_LOGPROB and result.no_speech_prob > _MAX_NO_SPEECH:
                return []
            lines = list(self._lines(tokens, duration, math.exp(logprob)))
            text = " ".join(line.text for line in lines)
            if logprob >= _MIN_LOGPROB and compression_ratio(text) <= _MAX_COMPRESSION:
                return [line for line in lines if is_speech(line.text)]
        return []

    def _lines(self, tokens: list[int], duration: float, confidence: float) -> Iterator[SpokenLine]:
        start = 0.0
        words: list[int] = []
        for token in [*tokens, self._first_timestamp + round(duration / _TIME_STEP_S)]:
            if token < self._first_special:
                words.append(token)
            elif token >= self._first_timestamp:
                time = min((token - self._first_timestamp) * _TIME_STEP_S, duration)
                if words:
                    text = " ".join(self._tokenizer.decode(words).split())
                    yield SpokenLine(text, start, max(start, time), confidence)
                    words = []
                start = time


def compression_ratio(text: str) -> float:
    """How many times shorter zlib makes a text; high where it repeats itself."""
    data = text.encode()
    return len(data) / len(zlib.compress(data))


def is_speech(text: str) -> bool:
    """Whether a line has words in it and is none of those that Whisper is known to make up."""
    return any(map(str.isalpha, text)) and not _INVENTED.search(text)
