"""The ONNX models of extractors."""

from __future__ import annotations

from pathlib import Path

import onnxruntime

from reelgenre.errors import WeightsError
from reelgenre.onnx_sessions import cpu_session


def open_session(model: Path, threads: int | None = None) -> onnxruntime.InferenceSession:
    """Load an ONNX file for the CPU.

    ``run`` of the session may be called from several threads at once.

    Args:
        model: the file.
        threads: of one inference; None lets onnxruntime take all cores.

    Raises:
        WeightsError: the file is not a model that this onnxruntime can run.
    """
    try:
        return cpu_session(model, threads)
    except ValueError as error:
        raise WeightsError(
            f"onnxruntime cannot load {model}: {error}",
            "Fetch it again with `reelgenre models pull`, or update onnxruntime",
        ) from error
