from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.extractors.paper.text_models import bart, distilbert

from reelgenre.errors import RecipeError, WeightsError
from reelgenre.extractors.loading import Loading
from reelgenre.extractors.ocr import TextBox, TextReader
from reelgenre.extractors.paper.paddle_reader import PaddleReader
from reelgenre.extractors.paper.screen_reading import ScreenReading
from reelgenre.extractors.paper.screen_tokens import ScreenTokensExtractor, screen_tokens
from reelgenre.extractors.paper.spelling_model import SpellingModel
from reelgenre.extractors.paper.token_encoder import TokenEncoder
from reelgenre.extractors.settings import ScreenTokensSettings
from reelgenre.extractors.spelling import EnglishSpelling

CPU = torch.device("cpu")
Image = NDArray[np.uint8]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    distilbert(folder / "distilbert")
    bart(folder / "bart")
    return folder


@pytest.fixture(scope="module")
def encoder(models: Path) -> TokenEncoder:
    return TokenEncoder(models / "distilbert", "sha", CPU)


def _black() -> Image:
    return np.zeros((360, 640, 3), np.uint8)


def _card(*lines: str) -> Image:
    image = _black()
    for row, line in enumerate(lines):
        (width, _), _ = cv2.getTextSize(line, cv2.FONT_HERSHEY_DUPLEX, 1.4, 2)
        at = ((640 - width) // 2, 150 + 70 * row)
        cv2.putText(image, line, at, cv2.FONT_HERSHEY_DUPLEX, 1.4, (245,) * 3, 2, cv2.LINE_AA)
    return image


class ListReader:
    """Reads, picture after picture, what it is given."""

    def __init__(self, pictures: list[list[TextBox]]) -> None:
        self._pictures = iter(pictures)

    def read(self, image: Image) -> list[TextBox]:
        return next(self._pictures)


def _box(text: str, top: float = 0.4, score: float = 0.9) -> TextBox:
    return TextBox(text, score, 0.1, top, 0.9, top + 0.1)


def test_tokens_of_real_pictures_have_the_times_of_their_shots(
    reader: TextReader,
    spelling: EnglishSpelling,
    encoder: TokenEncoder,
    frames_view: Callable[[Any], Any],
) -> None:
    reading = ScreenReading(reader, lambda texts: [spelling.repair(t) for t in texts], {})
    extractor = ScreenTokensExtractor("ocr", reading, encoder)
    view = frames_view(
        [
            _black(),
            _card("FROM THE DIRECTOR OF", "THE LAST WITNESS"),
            _card("FROM THE DIRECTOR OF", "THE LAST WITNESS"),
            _card("THISSUMMER"),
        ]
    )
    extraction = extractor.extract(view)
    assert view.ended
    assert extraction is not None
    words = ["FROM", "THE", "DIRECTOR", "OF", "THE", "LAST", "WITNESS"]
    expected = encoder.encode([" ".join(words), "THIS SUMMER"])
    assert expected is not None
    sequence = extraction.sequence
    np.testing.assert_array_equal(sequence.values, expected.values)
    # Seven words in the vocabulary, once though they stand in two frames, then two.
    assert sequence.times.tolist() == [[2.0, 4.0]] * 7 + [[6.0, 8.0]] * 2
    assert sequence.made_by == extractor.spec.fingerprint
    assert [(e.kind, e.text, e.start, e.end, e.step) for e in extraction.evidence] == [
        ("title", " ".join(words), 2.0, 4.0, 0),
        ("title", "THISSUMMER", 6.0, 8.0, 7),
    ]
    assert all(e.score is not None and 0.75 < e.score <= 1.0 for e in extraction.evidence)


def test_frames_are_kept_apart_and_guesses_dropped(
    encoder: TokenEncoder, frames_view: Callable[[Any], Any]
) -> None:
    pictures = [
        [_box("The king"), _box("SOLDIERS", 0.6)],
        [_box("xqzw", score=0.7), _box("|")],
        [_box("THE KING"), _box("soldiers", 0.6)],
        # Like the first, but no longer the same; the embedded profile would merge them.
        [_box("The kings"), _box("soldiers", 0.6)],
    ]
    extractor = ScreenTokensExtractor("ocr", ScreenReading(ListReader(pictures), list, {}), encoder)
    extraction = extractor.extract(frames_view([_black()] * 4))
    assert extraction is not None
    assert [(e.text, e.start) for e in extraction.evidence] == [
        ("The king SOLDIERS", 0.0),
        ("The kings soldiers", 6.0),
    ]


def test_a_logo_in_every_frame_is_one_text(
    encoder: TokenEncoder, frames_view: Callable[[Any], Any]
) -> None:
    reading = ScreenReading(ListReader([[_box("HOPE")]] * 500), list, {})
    extraction = ScreenTokensExtractor("ocr", reading, encoder).extract(
        frames_view([_black()] * 500)
    )
    assert extraction is not None
    assert extraction.sequence.steps == 1


def test_nothing_written(encoder: TokenEncoder, frames_view: Callable[[Any], Any]) -> None:
    reading = ScreenReading(ListReader([[], []]), list, {})
    view = frames_view([_black()] * 2)
    assert ScreenTokensExtractor("ocr", reading, encoder).extract(view) is None
    assert view.ended
    assert ScreenTokensExtractor("ocr", reading, encoder).extract(frames_view([])) is None


def test_the_builder_makes_what_the_profile_says(
    models: Path, encoder: TokenEncoder, reader: TextReader, frames_view: Callable[[Any], Any]
) -> None:
    loading = Loading(models, threads=2, device="cpu", offline=True)
    fingerprints = set()
    for spelling in ("none", "dictionary", "model"):
        settings = ScreenTokensSettings.model_validate(
            {
                "kind": "screen_tokens",
                "spelling": spelling,
                "corrector": "./bart",
                "weights": "./distilbert",
            }
        )
        extractor = screen_tokens(settings, loading)
        fingerprints.add(extractor.spec.fingerprint)
        assert (extractor.spec.name, extractor.spec.dim) == ("ocr", 32)
        extraction = extractor.extract(frames_view([_black(), _card("THISSUMMER")]))
        text = {
            "none": "THISSUMMER",
            "dictionary": "THIS SUMMER",
            "model": SpellingModel(models / "bart", "sha", CPU).correct(["THISSUMMER"])[0],
        }[spelling]
        expected = encoder.encode([text])
        assert expected is not None
        assert extraction is not None
        np.testing.assert_array_equal(extraction.sequence.values, expected.values)
        assert [item.text for item in extraction.evidence] == ["THISSUMMER"]
    assert len(fingerprints) == 3


class FakePaddle:
    """Stands in for PaddleOCR 3, whose calls and results are those of its documentation."""

    __version__ = "3.3.0"

    def __init__(self) -> None:
        self.settings: dict[str, Any] = {}
        self.seen: list[Image] = []
        self.threads: set[int] = set()

    def PaddleOCR(self, **settings: Any) -> FakePaddle:
        self.threads.add(threading.get_ident())
        self.settings = settings
        return self

    def predict(self, picture: Image) -> list[dict[str, Any]]:
        self.threads.add(threading.get_ident())
        self.seen.append(picture)
        return [
            {
                "rec_texts": ["LAST WITNESS", " ", "THE"],
                "rec_scores": [0.98, 0.0, 0.91],
                "rec_boxes": np.array(
                    [[64, 180, 576, 216], [0, 0, 9, 9], [64, 90, 320, 126]], np.int16
                ),
            }
        ]


@pytest.fixture
def paddle(monkeypatch: pytest.MonkeyPatch) -> FakePaddle:
    fake = FakePaddle()
    monkeypatch.setitem(sys.modules, "paddleocr", fake)
    return fake


def _paddle_models(folder: Path) -> tuple[Path, Path]:
    for name in ("PP-OCRv5_server_det", "en_PP-OCRv5_mobile_rec"):
        (folder / name).mkdir(parents=True)
        content = f"Global:\n  model_name: {name}\nPreProcess: {{}}\n"
        (folder / name / "inference.yml").write_text(content)
    return folder / "PP-OCRv5_server_det", folder / "en_PP-OCRv5_mobile_rec"


def test_paddleocr_reads_from_local_folders(tmp_path: Path, paddle: FakePaddle) -> None:
    detection, recognition = _paddle_models(tmp_path)
    reader = PaddleReader(detection, recognition, "sha", device="cuda:1", threads=3)
    assert paddle.settings == {
        "text_detection_model_name": "PP-OCRv5_server_det",
        "text_detection_model_dir": str(detection),
        "text_recognition_model_name": "en_PP-OCRv5_mobile_rec",
        "text_recognition_model_dir": str(recognition),
        "use_doc_orientation_classify": False,
        "use_doc_unwarping": False,
        "use_textline_orientation": False,
        "device": "gpu:1",
        "cpu_threads": 3,
    }
    picture = np.zeros((360, 640, 3), np.uint8)
    picture[..., 0] = 200
    assert reader.read(picture) == [
        TextBox("THE", 0.91, 0.1, 0.25, 0.5, 0.35),
        TextBox("LAST WITNESS", 0.98, 0.1, 0.5, 0.9, 0.6),
    ]
    # Paddle wants blue first.
    assert paddle.seen[0][0, 0].tolist() == [0, 0, 200]


def test_paddleocr_is_used_from_one_thread_only(tmp_path: Path, paddle: FakePaddle) -> None:
    reader = PaddleReader(*_paddle_models(tmp_path), "sha")
    with ThreadPoolExecutor(3) as pool:
        read = list(pool.map(reader.read, [_black()] * 6))
    assert read == [reader.read(_black())] * 6
    assert len(paddle.threads) == 1
    # A video's own thread is gone when the next video comes.
    assert threading.get_ident() not in paddle.threads


def test_the_builder_can_take_paddleocr(
    tmp_path: Path, models: Path, paddle: FakePaddle, frames_view: Callable[[Any], Any]
) -> None:
    detection, recognition = _paddle_models(tmp_path)
    settings = ScreenTokensSettings.model_validate(
        {
            "kind": "screen_tokens",
            "reader": "paddleocr",
            "paddle_detection": f"{detection}/",
            "paddle_recognition": f"{recognition}/",
            "spelling": "none",
            "weights": "./distilbert",
        }
    )
    extractor = screen_tokens(settings, Loading(models, device="cpu", offline=True))
    extraction = extractor.extract(frames_view([_black()]))
    assert extraction is not None
    assert [item.text for item in extraction.evidence] == ["THE LAST WITNESS"]
    assert extraction.sequence.steps == 3
    assert paddle.settings["device"] == "cpu"


def test_paddleocr_that_is_missing_old_or_without_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = _paddle_models(tmp_path)
    monkeypatch.setitem(sys.modules, "paddleocr", None)
    with pytest.raises(RecipeError, match="pip install 'paddleocr"):
        PaddleReader(*folders, "sha")
    monkeypatch.setitem(
        sys.modules,
        "paddleocr",
        SimpleNamespace(__version__="2.7.3"),
    )
    with pytest.raises(RecipeError, match=r"2\.7\.3 is installed"):
        PaddleReader(*folders, "sha")

    def fails(**_: Any) -> None:
        raise RuntimeError("no inference.json\nmore")

    monkeypatch.setitem(
        sys.modules,
        "paddleocr",
        SimpleNamespace(__version__="3.0.0", PaddleOCR=fails),
    )
    with pytest.raises(WeightsError, match=r"no inference\.json\. "):
        PaddleReader(*folders, "sha")
    (folders[0] / "inference.yml").unlink()
    with pytest.raises(WeightsError, match="does not name a Paddle model"):
        PaddleReader(*folders, "sha")
