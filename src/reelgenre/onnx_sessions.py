"""How onnxruntime is set up for every model of this package."""

from __future__ import annotations

from collections.abc import Mapping
from os import fspath
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray


def cpu_session(
    model: Path | bytes,
    threads: int | None = None,
    weights: Mapping[str, NDArray[np.float32]] | None = None,
) -> onnxruntime.InferenceSession:
    """Load an ONNX model for the CPU.

    ``run`` of the session may be called from several threads at once.

    Args:
        model: a file, or what is in one.
        threads: of one inference; None or 0 lets onnxruntime take all cores.
        weights: by name, those that the model lacks (that it marks as external).

    Raises:
        ValueError: this onnxruntime cannot run it; why, in one line.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    # Models take turns here; threads that spin while they wait would take the other's core.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in (weights or {}).values()]
    try:
        if values:
            options.add_external_initializers(list(weights or {}), values)
        return onnxruntime.InferenceSession(
            model if isinstance(model, bytes) else fspath(model),
            sess_options=options,
            providers=["CPUExecutionProvider"],
        )
    except Exception as error:  # onnxruntime's exceptions share no public base
        why = str(error).splitlines()
        raise ValueError(why[0] if why else type(error).__name__) from error
