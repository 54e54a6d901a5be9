"""The ONNX models of extractors."""

from __future__ import annotations

from pathlib import Path

import onnxruntime

from reelgenre.errors import WeightsError
from reelgenre.extractors.stored_weights import stored_weights
from reelgenre.onnx_sessions import cpu_session


def open_session(
    model: Path,
    threads: int | None = None,
    checkpoint: Path | None = None,
) -> onnxruntime.InferenceSession:
    """Load an ONNX file for the CPU.

    ``run`` of the session may be called from several threads at once.

    Args:
        model: the file.
        threads: of one inference; None lets onnxruntime take all cores.
        checkpoint: what the file takes weights from that it lacks
            (see :mod:`reelgenre.extractors.stored_weights`); None where it has all of them.

    Raises:
        WeightsError: the file is not a model that this onnxruntime can run, or does not go with
            the checkpoint.
    """
    try:
        if checkpoint is None:
            return cpu_session(model, threads)
        content = model.read_bytes()
        return cpu_session(content, threads, stored_weights(content, checkpoint))
    except ValueError as error:
        raise WeightsError(
            f"onnxruntime cannot load {model}: {error}",
            "Fetch it again with `reelgenre models pull`, or update onnxruntime",
        ) from error
