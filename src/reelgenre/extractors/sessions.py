"""The ONNX models of extractors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from reelgenre.errors import WeightsError
from reelgenre.onnx_sessions import cpu_session


def open_session(
    model: Path,
    threads: int | None = None,
    weights: Mapping[str, NDArray[np.float32]] | None = None,
) -> onnxruntime.InferenceSession:
    """Load an ONNX file for the CPU.

    ``run`` of the session may be called from several threads at once.

    Args:
        model: the file.
        threads: of one inference; None lets onnxruntime take all cores.
        weights: by name, those that the file lacks; it is then read at once.

    Raises:
        WeightsError: the file is not a model that this onnxruntime can run.
    """
    try:
        # A file that lacks weights is given as bytes: onnxruntime looks for others beside a path.
        return cpu_session(model.read_bytes() if weights else model, threads, weights)
    except ValueError as error:
        raise WeightsError(
            f"onnxruntime cannot load {model}: {error}",
            "Fetch it again with `reelgenre models pull`, or update onnxruntime",
        ) from error
