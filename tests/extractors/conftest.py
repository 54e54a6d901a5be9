"""Real models where their packages are installed, and views of media that was never a file."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from reelgenre.errors import WeightsError
from reelgenre.extractors.ocr import TextReader
from reelgenre.extractors.screen_text import ScreenTextExtractor
from reelgenre.extractors.sentences import SentenceEncoder
from reelgenre.extractors.speech import SpeechExtractor
from reelgenre.extractors.spelling import EnglishSpelling
from reelgenre.media import Frame, SoundBlock
from reelgenre.weights import ResolvedWeights, resolve

RATE = 16_000
SINTEL = Path(__file__).parents[3] / "shared" / "data" / "sintel_trailer.mp4"


class FakeView:
    """What an extractor sees of a video, from arrays."""

    def __init__(
        self, samples: NDArray[np.float32] | None = None, frames: Sequence[Frame] = ()
    ) -> None:
        self._samples = np.empty(0, np.float32) if samples is None else samples
        self._frames = frames
        self.ended = False

    def sound(self) -> Iterator[SoundBlock]:
        for start in range(0, len(self._samples), RATE):
            yield SoundBlock(self._samples[start : start + RATE], start / RATE, RATE)
        self.ended = True

    def frames(self) -> Iterator[Frame]:
        yield from self._frames
        self.ended = True


@pytest.fixture(scope="session")
def sound_view() -> Callable[[NDArray[Any]], FakeView]:
    return lambda samples: FakeView(samples=samples.astype(np.float32))


@pytest.fixture(scope="session")
def frames_view() -> Callable[[Sequence[NDArray[np.uint8]]], FakeView]:
    """Pictures, each standing for a shot of two seconds."""

    def view(images: Sequence[NDArray[np.uint8]]) -> FakeView:
        shots = [(2.0 * i, 2.0 * i + 2.0) for i in range(len(images))]
        return FakeView(
            frames=[
                Frame(image, shot[0] + 1.0, shot) for image, shot in zip(images, shots, strict=True)
            ]
        )

    return view


def _weights(name: str) -> ResolvedWeights:
    try:
        return resolve(name)
    except WeightsError as error:
        pytest.skip(f"{name} cannot be had here: {error}")


@pytest.fixture(scope="session")
def minilm() -> ResolvedWeights:
    return _weights("minilm-int8")


@pytest.fixture(scope="session")
def whisper_folder() -> Path:
    return _weights("whisper-base").folder


@pytest.fixture(scope="session")
def sentences(minilm: ResolvedWeights) -> SentenceEncoder:
    files = minilm.files
    return SentenceEncoder(files["model.onnx"], files["tokenizer.json"], "minilm", threads=2)


@pytest.fixture(scope="session")
def speech(whisper_folder: Path, sentences: SentenceEncoder) -> SpeechExtractor:
    return SpeechExtractor(whisper_folder, "whisper", sentences, threads=2)


@pytest.fixture(scope="session")
def reader() -> TextReader:
    files = _weights("rapidocr").files
    return TextReader(files["PP-OCRv6_det_small.onnx"], files["PP-OCRv6_rec_small.onnx"], threads=2)


@pytest.fixture(scope="session")
def spelling() -> EnglishSpelling:
    files = _weights("symspell-english").files
    return EnglishSpelling(
        files["frequency_dictionary_en_82_765.txt"],
        files["frequency_bigramdictionary_en_243_342.txt"],
    )


@pytest.fixture(scope="session")
def screen_text(
    reader: TextReader, spelling: EnglishSpelling, sentences: SentenceEncoder
) -> ScreenTextExtractor:
    return ScreenTextExtractor(reader, spelling, sentences, "ocr")


@pytest.fixture(scope="session")
def say() -> Callable[..., NDArray[np.float32]]:
    """Synthetic speech at 16 kHz, at the loudness of film dialogue."""
    espeak = shutil.which("espeak-ng")
    if espeak is None:
        pytest.skip("espeak-ng is not installed")

    def speak(text: str, voice: str = "en") -> NDArray[np.float32]:
        command = [espeak, "-v", voice, "-s", "150", "--stdout", text]
        wave = subprocess.run(command, check=True, capture_output=True).stdout
        # A streamed WAV does not know its length; the samples follow the word "data" and a size.
        data = wave[wave.index(b"data") + 8 :]
        samples = np.frombuffer(data[: len(data) // 2 * 2], np.int16) / 32768
        times = np.arange(len(samples) * RATE // 22_050) * 22_050 / RATE
        voice_at_rate = np.interp(times, np.arange(len(samples)), samples)
        loud = 0.5 * voice_at_rate / np.abs(voice_at_rate).max()
        return np.asarray(loud, dtype=np.float32)

    return speak


@pytest.fixture(scope="session")
def music() -> Callable[[float], NDArray[np.float32]]:
    """Four chords with overtones and a drum."""

    def play(seconds: float) -> NDArray[np.float32]:
        generator = np.random.default_rng(0)
        total = round(seconds * RATE)
        out = np.zeros(total)
        chords = [(220, 262, 330), (175, 220, 262), (196, 247, 294), (165, 208, 247)]
        for index, start in enumerate(range(0, total, 2 * RATE)):
            time = np.arange(min(2 * RATE, total - start)) / RATE
            for note in chords[index % 4]:
                for overtone in range(1, 5):
                    tone = np.sin(2 * np.pi * note * overtone * time) / overtone
                    out[start : start + len(time)] += tone * np.exp(-0.8 * time)
        for start in range(0, total, RATE // 2):
            length = min(3000, total - start)
            hit = generator.normal(size=length) * np.exp(-np.arange(length) / 500)
            out[start : start + length] += 1.5 * hit
        return np.asarray(0.7 * out / np.abs(out).max(), dtype=np.float32)

    return play


@pytest.fixture(scope="session")
def sintel() -> Path:
    if not SINTEL.is_file():
        pytest.skip("the Sintel trailer is not at ../shared/data")
    return SINTEL
