"""Text in one picture, on PP-OCR's detection and recognition networks.

Only what titles need: upright lines, large enough to be read in passing. Small print is dropped
before recognition, which costs more than finding it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from reelgenre.errors import WeightsError
from reelgenre.extractors.sessions import open_session

OCR_VERSION = 1

# The longer side of the picture in which text is looked for; the network wants multiples of 32.
DETECTION_SIDE = 480
_STRIDE = 32
# Differentiable binarisation (Liao et al., 2020) as PP-OCR sets it: probability of a text pixel,
# mean probability in a box, and how much larger a line is than the kernel found for it.
_PIXEL = 0.3
_BOX = 0.5
_UNCLIP = 1.6
# Height of a line as a share of the picture's, and of the tallest line beside it: below, it is
# small print (billing blocks, legal notices), which says little about a film.
_LEAST_HEIGHT = 0.03
_LEAST_BESIDE = 0.35
# Higher than this it is a pattern that looks like a letter.
_MOST_HEIGHT = 0.6
_MOST_LINES = 12
# A recogniser's line: 48 high, and no wider than this (a whole row of a credit roll is).
_LINE_HEIGHT = 48
_LINE_WIDTHS = (80, 1280)


@dataclass(frozen=True)
class TextBox:
    """A line or word that was read.

    Attributes:
        text: as the recogniser gave it.
        score: mean probability of its characters.
        left, top, right, bottom: where, as shares of the picture's width and height.
    """

    text: str
    score: float
    left: float
    top: float
    right: float
    bottom: float

    @property
    def height(self) -> float:
        return self.bottom - self.top


class TextReader:
    """Finds and reads the lines of text in pictures.

    Args:
        detection: ONNX file; float32 [1, 3, H, W] in, probabilities [1, 1, H, W] out.
        recognition: ONNX file; float32 [1, 3, 48, W] in, probabilities [1, T, C] out, with its
            characters in the metadata.
        threads: of one inference; None lets onnxruntime take all cores.

    Raises:
        WeightsError: a file is not such a model.
    """

    def __init__(self, detection: Path, recognition: Path, threads: int | None = None) -> None:
        self._detection = open_session(detection, threads)
        self._recognition = open_session(recognition, threads)
        metadata = self._recognition.get_modelmeta().custom_metadata_map
        if "character" not in metadata:
            raise WeightsError(
                f"{recognition} does not tell its characters",
                "Fetch it again with `reelgenre models pull`",
            )
        # The first class is "no character", the last a blank (the convention of PP-OCR).
        self._characters = ["", *metadata["character"].splitlines(), " "]

    def read(self, image: NDArray[np.uint8]) -> list[TextBox]:
        """Lines of text in an RGB uint8 [H, W, 3] picture, from top to bottom."""
        height, width = image.shape[:2]
        found: list[TextBox] = []
        for left, top, right, bottom in self._find(image):
            text, score = self._recognise(image[top:bottom, left:right])
            if text:
                found.append(
                    TextBox(text, score, left / width, top / height, right / width, bottom / height)
                )
        return found

    def _find(self, image: NDArray[np.uint8]) -> list[tuple[int, int, int, int]]:
        """Left, top, right, bottom in pixels of the lines worth reading."""
        height, width = image.shape[:2]
        scale = DETECTION_SIDE / max(height, width)
        size = [max(_STRIDE, round(side * scale / _STRIDE) * _STRIDE) for side in (width, height)]
        shrunk = cv2.resize(
            image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        )
        probabilities = self._detection.run(
            None, {self._detection.get_inputs()[0].name: _network_input(shrunk)}
        )[0][0, 0]
        scale_x, scale_y = width / size[0], height / size[1]
        boxes = []
        for left, top, right, bottom in _text_boxes(probabilities):
            boxes.append(
                (
                    max(0, round(left * scale_x)),
                    max(0, round(top * scale_y)),
                    min(width, round(right * scale_x)),
                    min(height, round(bottom * scale_y)),
                )
            )
        boxes = [box for box in boxes if box[3] - box[1] <= _MOST_HEIGHT * height]
        tallest = max((bottom - top for _, top, _, bottom in boxes), default=0)
        least = max(_LEAST_HEIGHT * height, _LEAST_BESIDE * tallest)
        # What stands on its end is no title.
        lines = [box for box in boxes if least <= box[3] - box[1] <= 1.5 * (box[2] - box[0])]
        lines.sort(key=lambda box: box[1] - box[3])
        return sorted(lines[:_MOST_LINES], key=lambda box: box[1])

    def _recognise(self, line: NDArray[np.uint8]) -> tuple[str, float]:
        height, width = line.shape[:2]
        target = min(max(round(width * _LINE_HEIGHT / height), _LINE_WIDTHS[0]), _LINE_WIDTHS[1])
        resized = cv2.resize(line, (target, _LINE_HEIGHT))
        probabilities = self._recognition.run(
            None, {self._recognition.get_inputs()[0].name: _network_input(resized)}
        )[0][0]
        # Connectionist temporal classification: runs of one class are one character.
        classes = probabilities.argmax(axis=1)
        kept = (classes != 0) & (np.diff(classes, prepend=0) != 0)
        if not kept.any():
            return "", 0.0
        text = "".join(self._characters[i] for i in classes[kept])
        return " ".join(text.split()), float(probabilities.max(axis=1)[kept].mean())


def _network_input(image: NDArray[Any]) -> NDArray[np.float32]:
    """RGB uint8 [H, W, 3] to BGR float32 [1, 3, H, W] from -1 to 1."""
    scaled = image[:, :, ::-1].astype(np.float32) / 127.5 - 1.0
    return np.ascontiguousarray(scaled.transpose(2, 0, 1)[np.newaxis])


def _text_boxes(probabilities: NDArray[np.float32]) -> Iterator[tuple[float, float, float, float]]:
    """Left, top, right, bottom of each region of text in a map of text probabilities [H, W]."""
    mask = cv2.dilate((probabilities > _PIXEL).astype(np.uint8), np.ones((2, 2), np.uint8))
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    for contour in contours:
        left, top, width, height = cv2.boundingRect(contour)
        if min(width, height) < 3:
            continue
        region = np.zeros((height, width), np.uint8)
        cv2.drawContours(region, [contour], -1, 1, cv2.FILLED, offset=(-left, -top))
        inside = probabilities[top : top + height, left : left + width][region == 1]
        if inside.mean() < _BOX:
            continue
        margin = width * height * _UNCLIP / (2 * (width + height))
        yield left - margin, top - margin, left + width + margin, top + height + margin
