"""Training state on disk: one safetensors file holds all of it, so a killed run resumes exactly.

A checkpoint holds the stage's parameters and buffers (`model.*`), their moving average (`ema.*`), the optimiser's
tensors by the name of their parameter (`optimizer.*`) and, in the metadata, the counters. Nothing
else is needed: data order, noise and learning rates are functions of the step.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from autodrag.errors import InputError
from autodrag.files import read_tensors, write_tensors

KEPT = 2  # the last checkpoint and, in case it gets damaged, the one before


@dataclass
class Progress:
    """The counters of a run."""

    step: int = 0  # steps done, with the skipped ones
    skipped: int = 0  # steps without an update because the loss or the gradient was not finite
    streak: int = 0  # how many of the last steps in a row were skipped


def save_checkpoint(
    folder: Path, stage: nn.Module, average: Mapping[str, Tensor], optimizer: torch.optim.Optimizer, progress: Progress
) -> None:
    """Write the state after `progress.step` steps and delete all but the last two. Raises OSError on a full disk."""
    tensors = {f"model.{name}": tensor for name, tensor in stage.state_dict().items()}
    tensors |= {f"ema.{name}": tensor for name, tensor in average.items()}
    for name, parameter in stage.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"optimizer.{name}/{key}"] = value
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(_path(folder, progress.step), tensors, {"progress": json.dumps(asdict(progress))})
    for old in _paths(folder)[:-KEPT]:
        old.unlink()


def restore_checkpoint(
    folder: Path, stage: nn.Module, average: dict[str, Tensor], optimizer: torch.optim.Optimizer
) -> Progress:
    """Load the newest intact checkpoint into the stage, the average and the optimiser.

    Without one, nothing changes and the progress is 0. Raises InputError if it belongs to another model.
    """
    for path in reversed(_paths(folder)):
        try:
            tensors, metadata = read_tensors(path)
        except InputError:
            continue  # damaged: use the one before
        try:
            stage.load_state_dict(_part(tensors, "model."))
        except RuntimeError:
            raise InputError(f"{path} belongs to another model: choose another out=, or delete the folder.") from None
        for name, tensor in _part(tensors, "ema.").items():
            average[name].copy_(tensor)
        _restore_optimizer(stage, optimizer, _part(tensors, "optimizer."))
        return Progress(**json.loads(metadata["progress"]))
    return Progress()


def _restore_optimizer(stage: nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    parameters = dict(stage.named_parameters())
    for name, tensor in tensors.items():
        owner, _, key = name.rpartition("/")
        parameter = parameters[owner]
        # Adam keeps its step count on the CPU unless it is fused; the rest is on the device of the parameter.
        on_cpu = key == "step" and not optimizer.defaults.get("fused")
        optimizer.state[parameter][key] = tensor.clone() if on_cpu else tensor.to(parameter.device)


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _path(folder: Path, step: int) -> Path:
    return folder / f"step-{step:09d}.safetensors"


def _paths(folder: Path) -> list[Path]:
    """All checkpoints of a folder, oldest first."""
    return sorted(folder.glob("step-*.safetensors"))
