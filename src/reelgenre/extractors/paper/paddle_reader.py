"""Text in one picture by PaddleOCR 3, the paper's own reader, from weights in local folders."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from reelgenre.errors import RecipeError, WeightsError
from reelgenre.extractors.ocr import TextBox

_VERSION = 1


class PaddleReader:
    """Finds and reads the lines of text in pictures as PaddleOCR's general pipeline does.

    Upright text only: the steps that turn and flatten photographed pages are off, as they were in
    the paper's day. PaddleOCR fetches nothing, since it is told where its models are.

    Args:
        detection, recognition: folders of the two models, each with ``inference.yml``,
            ``inference.json`` and ``inference.pdiparams``.
        sha256: identifies both, for fingerprints.
        device: ``cpu``, ``cuda`` or ``cuda:1``.
        threads: of one inference on the CPU; None leaves it to Paddle.

    Raises:
        RecipeError: PaddleOCR is not installed, or not version 3.
        WeightsError: a folder does not hold such a model.
    """

    def __init__(
        self,
        detection: Path,
        recognition: Path,
        sha256: str,
        *,
        device: str = "cpu",
        threads: int | None = None,
    ) -> None:
        names = [_model_name(folder) for folder in (detection, recognition)]
        try:
            paddleocr: Any = import_module("paddleocr")
        except ImportError as error:
            raise RecipeError(
                f"the reader paddleocr needs {error.name}, which is not installed",
                "pip install 'paddleocr>=3,<4' paddlepaddle, or set `reader: rapidocr`",
            ) from error
        version = str(getattr(paddleocr, "__version__", "of unknown version"))
        if not version.startswith("3."):
            raise RecipeError(
                f"paddleocr {version} is installed, but version 3 is needed",
                "pip install 'paddleocr>=3,<4'",
            )
        cpu_threads = {} if threads is None else {"cpu_threads": threads}
        # Paddle's predictors keep their inputs and outputs between calls, and on the CPU they fail
        # in any other thread than the one that ran them first, lock or no lock.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="paddle")
        try:
            self._pipeline: Any = self._thread.submit(
                paddleocr.PaddleOCR,
                text_detection_model_name=names[0],
                text_detection_model_dir=str(detection),
                text_recognition_model_name=names[1],
                text_recognition_model_dir=str(recognition),
                use_doc_orientation_classify=False,
                use_doc_unwarping=False,
                use_textline_orientation=False,
                device=device.replace("cuda", "gpu"),
                **cpu_threads,
            ).result()
        except Exception as error:  # Paddle's exceptions share no base
            first = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
            raise WeightsError(
                f"PaddleOCR cannot load {detection} and {recognition}: {first}",
                "Check that the folders hold the published files, or pull the weights again",
            ) from error
        self.identity: dict[str, str | int] = {"reader": sha256, "paddle_version": _VERSION}

    def read(self, image: NDArray[np.uint8]) -> list[TextBox]:
        """Lines of text in an RGB uint8 [H, W, 3] picture, from top to bottom."""
        height, width = image.shape[:2]
        picture = np.ascontiguousarray(image[:, :, ::-1])
        (result,) = self._thread.submit(self._pipeline.predict, picture).result()
        found: list[TextBox] = []
        lines = (result["rec_texts"], result["rec_scores"], result["rec_boxes"])
        for text, score, box in zip(*lines, strict=True):
            if words := " ".join(text.split()):
                left, top, right, bottom = (float(edge) for edge in box)
                found.append(
                    TextBox(
                        words,
                        float(score),
                        left / width,
                        top / height,
                        right / width,
                        bottom / height,
                    )
                )
        return sorted(found, key=lambda line: line.top)


def _model_name(folder: Path) -> str:
    """What Paddle calls the model in a folder, by its own file."""
    path = folder / "inference.yml"
    try:
        name = yaml.safe_load(path.read_text(encoding="utf-8"))["Global"]["model_name"]
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError) as error:
        raise WeightsError(
            f"{path} does not name a Paddle model",
            "Check that the folder holds the published files, or pull the weights again",
        ) from error
    return str(name)
