"""Training checkpoints: the whole training state in one safetensors file, so that a killed run resumes exactly.

A checkpoint holds the stage's parameters and buffers (`model.*`), the moving average of the parameters (`ema.*`), the
optimiser state by parameter name (`optimizer.*`) and, in the metadata, the counters. Data order, noise and learning
rates are functions of the step, so there is no RNG state.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from autodrag.errors import InputError
from autodrag.files import make_folder, read_tensors, write_tensors

KEPT = 2  # the last checkpoint, and the previous one in case it gets damaged


@dataclass
class Progress:
    """Counters of a run."""

    step: int = 0  # steps done, including skipped ones
    skipped: int = 0  # steps without an update because the loss or gradient was not finite
    streak: int = 0  # consecutive skipped steps up to now


def save_checkpoint(
    folder: Path, stage: nn.Module, average: Mapping[str, Tensor], optimizer: torch.optim.Optimizer, progress: Progress
) -> None:
    """Save the state after `progress.step` steps and delete older checkpoints than the last two.

    Raises InputError if the disk is full.
    """
    tensors = {f"model.{name}": tensor for name, tensor in stage.state_dict().items()}
    tensors |= {f"ema.{name}": tensor for name, tensor in average.items()}
    for name, parameter in stage.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"optimizer.{name}/{key}"] = value
    make_folder(folder)
    write_tensors(_path(folder, progress.step), tensors, {"progress": json.dumps(asdict(progress))})
    for old in _paths(folder)[:-KEPT]:
        old.unlink()


def restore_checkpoint(
    folder: Path, stage: nn.Module, average: dict[str, Tensor], optimizer: torch.optim.Optimizer
) -> Progress:
    """Load the newest intact checkpoint into the stage, the average and the optimiser, and return its progress.

    Without a checkpoint, nothing changes and the step is 0. Raises InputError if it belongs to another model.
    """
    for path in reversed(_paths(folder)):
        try:
            tensors, metadata = read_tensors(path)
        except InputError:
            continue  # damaged: use the previous one
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
        # Adam keeps its step count on the CPU unless fused; its other state is on the device of the parameter.
        on_cpu = key == "step" and not optimizer.defaults.get("fused")
        optimizer.state[parameter][key] = tensor.clone() if on_cpu else tensor.to(parameter.device)


def _part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _path(folder: Path, step: int) -> Path:
    return folder / f"step-{step:09d}.safetensors"


def _paths(folder: Path) -> list[Path]:
    """All checkpoints of a folder, oldest first."""
    return sorted(folder.glob("step-*.safetensors"))
