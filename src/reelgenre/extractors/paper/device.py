"""Where torch models run and in which number format."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from numpy.typing import NDArray

from reelgenre.errors import RecipeError
from reelgenre.extractors.cores import side_by_side
from reelgenre.extractors.loading import Loading
from reelgenre.extractors.settings import Precision
from reelgenre.extractors.shared_batches import Outputs, SharedBatches

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# On a GPU.
_VIDEOS_IN_A_BATCH = 4


def torch_device(loading: Loading) -> torch.device:
    """Where torch models run; every builder of one asks here.

    ``auto`` is CUDA where there is one, then MPS, then the CPU. Torch has one number of threads
    for the whole process, so the last profile that states one decides. A thread keeps the number
    that it first computed with; extractors run in new threads for each video.

    Raises:
        RecipeError: no such device on this machine.
    """
    if loading.threads is not None:
        torch.set_num_threads(loading.threads)
    name = loading.device
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise RecipeError(
            f"there is no device {name!r} here ({str(error).splitlines()[0]})",
            "Use --device auto, or install a torch build for it",
        ) from error
    return device


def choose_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """The number format of a model's arithmetic.

    ``auto`` is half precision on CUDA and MPS, and on a CPU bfloat16 where it multiplies
    matrices of it in hardware (AMX or AVX512-BF16), else single precision.

    Raises:
        RecipeError: the precision is not one that torch computes in.
    """
    if precision == "int8":
        raise RecipeError(
            "int8 is for ONNX files only",
            "Run `reelgenre models optimise` and set `onnx: true`, or choose another precision",
        )
    if precision != "auto":
        return _DTYPES[precision]
    if device.type == "cpu":
        fast = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
        return torch.bfloat16 if fast else torch.float32
    return torch.float16


def share(
    compute: Callable[[NDArray[Any]], Outputs],
    device: torch.device,
    rows: int,
    *,
    keeps_state: bool = False,
) -> SharedBatches:
    """A torch model for all videos in flight.

    On a GPU their rows are put together, since those of one video do not fill it. A CPU gains
    nothing by that; there, as many videos compute side by side as its cores have threads for.

    Args:
        compute: the model; see :class:`~reelgenre.extractors.shared_batches.SharedBatches`.
        device: of the model, as :func:`torch_device` gave it to this thread.
        rows: what one video hands in at most.
        keeps_state: only one thread at a time may be in the model.
    """
    if device.type != "cpu":
        return SharedBatches(compute, _VIDEOS_IN_A_BATCH * rows)
    at_once = 1 if keeps_state else side_by_side(torch.get_num_threads())
    return SharedBatches(compute, rows, at_once)
