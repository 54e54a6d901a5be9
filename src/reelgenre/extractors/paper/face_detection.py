"""Faces in a picture, by YuNet on OpenCV (Wu, Peng, Yu, "YuNet", 2023)."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from reelgenre.errors import WeightsError

# Pixels on the longer side at which faces are looked for; the published release uses the same.
LONGER_SIDE = 640
LEAST_SCORE = 0.8
# Boxes that overlap more than this, as intersection over union, are one face.
_SAME_FACE = 0.3
# Candidates before overlapping ones are dropped; OpenCV's own default.
_CANDIDATES = 5000


@dataclass(frozen=True)
class Face:
    """A box in whole pixels of the picture, within its edges; right and bottom are outside."""

    left: int
    top: int
    right: int
    bottom: int
    score: float

    @property
    def area(self) -> int:
        """Pixels in the box."""
        return (self.right - self.left) * (self.bottom - self.top)

    def cut(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """That part of the picture, as a view of it."""
        return image[self.top : self.bottom, self.left : self.right]


class FaceDetector(Protocol):
    """Finds faces.

    Attributes:
        identity: what tells its boxes from those of another detector.
    """

    identity: str

    def find(self, image: NDArray[np.uint8]) -> list[Face]:
        """Faces in an RGB picture uint8 [H, W, 3], the largest first."""
        ...


class YuNet:
    """See :class:`FaceDetector`.

    Args:
        model: ONNX file of OpenCV's model zoo, version 2023mar.
        sha256: of that file.

    Raises:
        WeightsError: OpenCV cannot load the file, or it is another model.
    """

    def __init__(self, model: Path, sha256: str) -> None:
        self.identity = f"{sha256} {LONGER_SIDE} {LEAST_SCORE} {_SAME_FACE}"
        # A detector of OpenCV's keeps the size and the layers of its picture while it works, so
        # each thread borrows one of its own; there are as many as ever worked at once.
        self._idle: list[cv2.FaceDetectorYN] = []
        try:
            # As bytes: OpenCV cannot open every file name on every system.
            self._content = np.frombuffer(model.read_bytes(), np.uint8)
            self.find(np.zeros((64, 64, 3), np.uint8))
        except (OSError, cv2.error) as error:
            raise WeightsError(
                f"OpenCV cannot run {model} as a YuNet face detector",
                "Use face_detection_yunet_2023mar.onnx, or pull the weights again",
            ) from error

    def find(self, image: NDArray[np.uint8]) -> list[Face]:
        """Faces in an RGB picture uint8 [H, W, 3], the largest first."""
        height, width = image.shape[:2]
        scale = min(1.0, LONGER_SIDE / max(height, width))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        picture = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2BGR)
        if scale < 1:
            picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        with self._borrowed() as detector:
            detector.setInputSize(size)
            rows = detector.detect(picture)[1]
        across, down = width / size[0], height / size[1]
        faces = []
        for row in () if rows is None else rows:
            left, top, box_width, box_height = (float(value) for value in row[:4])
            score = float(row[-1])
            if not all(map(math.isfinite, (left, top, box_width, box_height, score))):
                continue
            face = Face(
                left=max(0, round(left * across)),
                top=max(0, round(top * down)),
                right=min(width, round((left + box_width) * across)),
                bottom=min(height, round((top + box_height) * down)),
                score=score,
            )
            if face.left < face.right and face.top < face.bottom:
                faces.append(face)
        return sorted(faces, key=lambda face: (-face.area, face.top, face.left))

    @contextlib.contextmanager
    def _borrowed(self) -> Iterator[cv2.FaceDetectorYN]:
        try:
            detector = self._idle.pop()
        except IndexError:
            detector = self._make()
        try:
            yield detector
        finally:
            self._idle.append(detector)

    def _make(self) -> cv2.FaceDetectorYN:
        create: Any = cv2.FaceDetectorYN.create
        nothing, size = np.empty(0, np.uint8), (LONGER_SIDE, LONGER_SIDE)
        with _quiet():
            detector: cv2.FaceDetectorYN = create(
                "onnx", self._content, nothing, size, LEAST_SCORE, _SAME_FACE, _CANDIDATES
            )
        return detector


_log_level = threading.Lock()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """OpenCV 5 warns on standard error that its graphs choose no device, which nobody asked for."""
    # The level is the process's, so what one thread puts back must be what it was before all.
    with _log_level:
        level = cv2.utils.logging.getLogLevel()
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
        try:
            yield
        finally:
            cv2.utils.logging.setLogLevel(level)
