"""How onnxruntime is set up for every model of this package."""

from __future__ import annotations

from pathlib import Path

import onnxruntime

from reelgenre.errors import WeightsError


def open_session(model: Path, threads: int | None = None) -> onnxruntime.InferenceSession:
    """Load an ONNX file for the CPU.

    ``run`` of the session may be called from several threads at once.

    Args:
        model: the file.
        threads: of one inference; None lets onnxruntime take all cores.

    Raises:
        WeightsError: the file is not a model that this onnxruntime can run.
    """
    options = onnxruntime.SessionOptions()
    if threads is not None:
        options.intra_op_num_threads = threads
    # Models take turns here; threads that spin while they wait would take the other's core.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(
            str(model), sess_options=options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's exceptions share no public base
        raise WeightsError(
            f"onnxruntime cannot load {model}: {str(error).splitlines()[0]}",
            "Fetch it again with `reelgenre models pull`, or update onnxruntime",
        ) from error
