from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from reelgenre.errors import WeightsError
from reelgenre.extractors.ocr import TextReader
from reelgenre.extractors.screen_text import ScreenTextExtractor
from reelgenre.extractors.sentences import SentenceEncoder

Image = NDArray[np.uint8]


def _scene(seed: int, height: int = 360, width: int = 640) -> Image:
    """Soft blobs of colour with grain, such as an unsharp background has."""
    generator = np.random.default_rng(seed)
    small = generator.integers(20, 160, (6, 10, 3)).astype(np.uint8)
    large = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    grainy = np.clip(large + generator.normal(0, 6, large.shape), 0, 255)
    return np.asarray(grainy, dtype=np.uint8)


def _write(image: Image, *lines: str, size: float = 1.4, top: int = 150) -> Image:
    out = image.copy()
    for row, line in enumerate(lines):
        (width, _), _ = cv2.getTextSize(line, cv2.FONT_HERSHEY_DUPLEX, size, 2)
        at = ((out.shape[1] - width) // 2, top + round(50 * size * row))
        cv2.putText(out, line, at, cv2.FONT_HERSHEY_DUPLEX, size, (245, 245, 245), 2, cv2.LINE_AA)
    return out


def test_titles_are_read_merged_and_embedded(
    screen_text: ScreenTextExtractor,
    sentences: SentenceEncoder,
    frames_view: Callable[[Any], Any],
) -> None:
    black = np.zeros((360, 640, 3), np.uint8)
    card = ("FROM THE DIRECTOR OF", "THE LAST WITNESS")
    view = frames_view(
        [
            _scene(1),
            _write(black, *card),
            _write(_scene(2), *card),
            _scene(3),
            _scene(4),
            _write(black, "THISSUMMER"),
        ]
    )
    extraction = screen_text.extract(view)
    assert view.ended
    assert extraction is not None
    assert [item.text for item in extraction.evidence] == [" ".join(card), "THISSUMMER"]
    assert [(item.start, item.end) for item in extraction.evidence] == [(2.0, 6.0), (10.0, 12.0)]
    assert [item.step for item in extraction.evidence] == [0, 1]
    assert all(item.kind == "title" and (item.score or 0) > 0.8 for item in extraction.evidence)
    expected = sentences.encode([" ".join(card), "this summer"])
    np.testing.assert_allclose(extraction.sequence.values, expected, atol=1e-5)
    np.testing.assert_allclose(extraction.sequence.times, [(2, 6), (10, 12)])
    assert extraction.sequence.made_by == screen_text.spec.fingerprint


def test_no_text_no_modality(
    screen_text: ScreenTextExtractor, frames_view: Callable[[Any], Any]
) -> None:
    blank = np.zeros((64, 48, 3), np.uint8)
    generator = np.random.default_rng(0)
    noise = generator.integers(0, 255, (180, 320, 3)).astype(np.uint8)
    assert screen_text.extract(frames_view([])) is None
    assert screen_text.extract(frames_view([blank, noise, _scene(5), _scene(6)])) is None


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 900), (31, 7), (480, 270)])
def test_odd_sizes_are_read_without_complaint(reader: TextReader, height: int, width: int) -> None:
    assert reader.read(np.full((height, width, 3), 90, np.uint8)) == []


def test_small_print_beside_a_title_is_passed_over(reader: TextReader) -> None:
    image = _write(np.zeros((720, 1280, 3), np.uint8), "SHADOWLINE", size=4.0, top=300)
    image = _write(image, "a film by nobody you know", size=0.6, top=600)
    assert [box.text for box in reader.read(image)] == ["SHADOWLINE"]


def test_boxes_lie_where_the_text_is(reader: TextReader) -> None:
    image = np.zeros((400, 800, 3), np.uint8)
    cv2.putText(image, "HARBOR", (40, 350), cv2.FONT_HERSHEY_DUPLEX, 2.0, (255,) * 3, 3)
    (box,) = reader.read(image)
    assert box.text == "HARBOR"
    assert box.left == pytest.approx(40 / 800, abs=0.03)
    assert box.bottom == pytest.approx(350 / 400, abs=0.04)
    assert box.right < 0.5
    assert box.top > 0.6


def test_a_file_without_characters_is_refused(tmp_path: Path, minilm: Any) -> None:
    with pytest.raises(WeightsError):
        TextReader(minilm.files["model.onnx"], minilm.files["model.onnx"])


def test_titles_of_a_real_trailer(
    screen_text: ScreenTextExtractor, sintel: Path, frames_view: Callable[[Any], Any]
) -> None:
    # Cards that a person sees at these seconds of the trailer, and one picture without any.
    wanted = {10.5: "blender foundation", 24.0: "", 44.0: "sintel", 48.0: "coming soon"}
    images = []
    with av.open(str(sintel)) as container:
        left = sorted(wanted)
        for frame in container.decode(video=0):
            if left and frame.time is not None and frame.time >= left[0]:
                images.append(frame.to_ndarray(format="rgb24"))
                left.pop(0)
    extraction = screen_text.extract(frames_view(images))
    assert extraction is not None
    texts = [(item.text or "").lower() for item in extraction.evidence]
    assert len(texts) == 3
    for text, expected in zip(texts, filter(None, wanted.values()), strict=True):
        assert expected in text
