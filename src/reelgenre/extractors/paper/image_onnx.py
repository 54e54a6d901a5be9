"""Image towers on onnxruntime, out of the folder that ``reelgenre models optimise`` wrote.

Such a folder holds ``model.onnx`` (single precision), ``model.int8.onnx``, the weights' own
``preprocessor_config.json``, and ``optimised.json``, which names what they were made of. It is kept
in the weights cache under the digest of the weights, or wherever ``--out`` put it; there, a
profile names it as a folder of its own.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from reelgenre.errors import RecipeError, WeightsError
from reelgenre.extractors.paper.image_preprocess import (
    PREPROCESSOR,
    Preprocessing,
    read_preprocessing,
)
from reelgenre.extractors.sessions import open_session
from reelgenre.extractors.settings import Precision
from reelgenre.weights import Artefact, names_folder, where
from reelgenre.weights.cache import sha256_of, weights_root

OPTIMISED = "optimised.json"
FILES: dict[Precision, str] = {"fp32": "model.onnx", "int8": "model.int8.onnx"}
PIXELS, FEATURES = "pixels", "features"
"""Names of the input, float32 [N, 3, H, W], and of the output, float32 [N, D]."""

_Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Optimised(BaseModel):
    """What ``optimised.json`` says.

    Attributes:
        format: of this file and its folder.
        source: name of the weights.
        digest: of the weights.
        dim: D.
        sha256: of each of the folder's other files.
        parity: largest difference of the fp32 file's features from torch's, of 1 or of the
            largest feature.
        int8_cosine: mean and least cosine of the int8 features to the fp32 ones.
        pictures, measured_on: how many pictures those cosines are of, and which.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    source: str
    digest: _Sha256
    dim: Annotated[int, Field(ge=1)]
    sha256: dict[str, _Sha256]
    parity: float
    int8_cosine: tuple[float, float]
    pictures: int
    measured_on: str


class OnnxImageModel:
    """An image tower on onnxruntime; see
    :class:`~reelgenre.extractors.paper.image_encoder.ImageModel`.

    Args:
        folder: of the optimised files.
        precision: ``fp32`` or ``int8``; ``auto`` is ``fp32``, since int8 changes the features.
        threads: of one inference; None lets onnxruntime take all cores.

    Raises:
        WeightsError: a file is missing or not the one that was written.
        RecipeError: there is no file of that precision.
    """

    def __init__(self, folder: Path, precision: Precision, threads: int | None = None) -> None:
        chosen: Precision = "fp32" if precision == "auto" else precision
        if chosen not in FILES:
            raise RecipeError(
                f"there are no ONNX files in {precision}", "Choose fp32 or int8, or `onnx: false`"
            )
        stated = read_optimised(folder)
        for name in (FILES[chosen], PREPROCESSOR):
            path = folder / name
            if not path.is_file() or sha256_of(path) != stated.sha256.get(name):
                raise WeightsError(
                    f"{path} is missing or not the file that was written",
                    f"Run `reelgenre models optimise {stated.source}` again",
                )
        self.preprocessing: Preprocessing = read_preprocessing(folder)
        self.dim = stated.dim
        # In single precision the features are torch's, and so is their identity.
        self.identity = stated.digest if chosen == "fp32" else stated.sha256[FILES[chosen]]
        self._session = open_session(folder / FILES[chosen], threads)
        # int8 activations are scaled by their range, which must not depend on the neighbours.
        self._batch = 1 if chosen == "int8" else None

    def encode(self, pictures: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 [N, 3, H, W] to float32 [N, D]."""
        size = self._batch or len(pictures)
        parts = [
            self._session.run([FEATURES], {PIXELS: pictures[start : start + size]})[0]
            for start in range(0, len(pictures), size)
        ]
        return np.concatenate(parts)


def find_optimised(weights: str, base: Path) -> Path:
    """The folder with the optimised files of some weights, which need not be there themselves.

    Args:
        weights: a registered name, or a folder of the user's own, written with a slash: the
            optimised files' own or that of the weights they were made of.
        base: where a relative folder starts from.

    Raises:
        WeightsError: the files are not there; nothing is fetched, since they are made here.
    """
    report = where(weights, base=base)
    own = report.paths.get(OPTIMISED)
    if own is not None:
        return own.parent
    # What was never fetched here was never optimised here either.
    folder = optimised_folder(report.artefact) if report.artefact.pinned else None
    if folder is None or not (folder / OPTIMISED).is_file():
        spelled = report.artefact.source if names_folder(weights) else weights
        raise WeightsError(
            f"the ONNX files of {weights} are not on this machine",
            f"Make them with `reelgenre models optimise {spelled}` (which fetches the weights where"
            " they are missing), name a folder as the weights that it wrote elsewhere with --out, "
            "or set `onnx: false`",
        )
    return folder


def optimised_folder(artefact: Artefact) -> Path:
    """Where the weights cache keeps the optimised files; other weights are another folder."""
    return weights_root(None) / "optimised" / artefact.name / artefact.digest[:16]


def read_optimised(folder: Path) -> Optimised:
    """What a folder's ``optimised.json`` says.

    Raises:
        WeightsError: it is missing or not such a file.
    """
    path = folder / OPTIMISED
    try:
        return Optimised.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        raise WeightsError(
            f"{path} cannot be read ({str(error).splitlines()[0]})",
            "Run `reelgenre models optimise` again, with this version of reelgenre",
        ) from error
