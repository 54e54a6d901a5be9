"""Everything a run needs to go on exactly where it was, in one file that is whole or not there.

Tensors (weights, best weights, Adam's moments, random states) and a JSON text with the rest, as
safetensors: no pickle.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from reelgenre.errors import ReelgenreError
from reelgenre.files import atomic_write


class TrainingError(ReelgenreError):
    """A run cannot start or go on."""


class EpochRecord(BaseModel):
    """One line of the log.

    Attributes:
        epoch: counted from 1.
        steps: of the optimiser since the beginning.
        loss: mean over the epoch's videos.
        validation: metrics on the validation split.
        seconds: that the epoch took, validation included; over all attempts if it was resumed.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    epoch: int
    steps: int
    loss: float
    validation: dict[str, float]
    seconds: float


class Progress(BaseModel):
    """How far a run is; all of it survives a kill.

    Attributes:
        identity: of the recipe, the data and the seed; a checkpoint goes on only with the same.
        epoch: finished ones.
        batch: finished ones of the present epoch.
        steps: of the optimiser.
        loss_sum: over the videos of the present epoch.
        seconds: spent in the present epoch.
        best_epoch: the one with the best validation mAP; 0 before the first.
        history: one record per finished epoch.
        scaler: state of the gradient scaler of float16.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    identity: str
    epoch: Annotated[int, Field(ge=0)] = 0
    batch: Annotated[int, Field(ge=0)] = 0
    steps: Annotated[int, Field(ge=0)] = 0
    loss_sum: float = 0.0
    seconds: float = 0.0
    best_epoch: Annotated[int, Field(ge=0)] = 0
    history: list[EpochRecord] = Field(default_factory=list)
    scaler: dict[str, int | float] = Field(default_factory=dict)


def save_checkpoint(
    path: Path,
    progress: Progress,
    module: nn.Module,
    best: dict[str, Tensor],
    optimiser: torch.optim.Optimizer,
) -> None:
    """Write the file; a kill at any moment leaves the one before."""
    tensors = {f"module.{name}": tensor for name, tensor in module.state_dict().items()}
    tensors |= {f"best.{name}": tensor for name, tensor in best.items()}
    for number, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{number}.{key}": value for key, value in state.items()}
    tensors["random.cpu"] = torch.get_rng_state()
    if torch.cuda.is_available():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    own = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    data = save(own, {"progress": progress.model_dump_json()})
    with atomic_write(path) as file:
        file.write(data)


def load_checkpoint(
    path: Path,
    identity: str,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
) -> tuple[Progress, dict[str, Tensor]]:
    """Put module, optimiser and random states back as they were.

    Returns:
        The progress and the best weights so far.

    Raises:
        TrainingError: the file is damaged or of another recipe, data set or seed.
    """
    remedy = f"Remove {path.parent} to train from the beginning, or give another folder"
    try:
        with safe_open(path, "pt") as file:
            progress = Progress.model_validate_json((file.metadata() or {}).get("progress", ""))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValidationError, OSError) as error:
        raise TrainingError(f"The checkpoint {path} is damaged", remedy) from error
    if progress.identity != identity:
        raise TrainingError(
            f"The checkpoint {path} is of another recipe, other data or another seed", remedy
        )
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _below("optimiser", tensors).items():
        number, key = name.split(".")
        state.setdefault(int(number), {})[key] = tensor
    whole: dict[str, Any] = {**optimiser.state_dict(), "state": state}
    optimiser.load_state_dict(whole)
    module.load_state_dict(_below("module", tensors))
    torch.set_rng_state(tensors["random.cpu"])
    if "random.cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["random.cuda"])
    return progress, _below("best", tensors)


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name.removeprefix(f"{prefix}."): tensor
        for name, tensor in tensors.items()
        if name.startswith(f"{prefix}.")
    }
