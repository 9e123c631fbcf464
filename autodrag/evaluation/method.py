"""What is evaluated: a drag method with its options, or the oracle, which is no method."""

from dataclasses import dataclass
from pathlib import Path

import torch

from autodrag.errors import InputError
from autodrag.fingerprint import hash_of
from autodrag.generator import FrozenGenerator
from autodrag.methods import DragMethod, check_options, load_method
from autodrag.weights import TRAINED, weights_path

ORACLE = "oracle"  # no method of editing: the source with the goal's edited rows


@dataclass(frozen=True)
class MethodConfig:
    """name: as for `load_method`, or oracle. label: what tables and folders call it. options: of `load_method`."""

    name: str
    label: str
    options: dict[str, bool | int | float | str | None]

    def __post_init__(self) -> None:
        if self.name != ORACLE:
            check_options(self.name, self.options, "method.options.")


def load_subject(config: MethodConfig, generator: FrozenGenerator, max_steps: int) -> DragMethod | None:
    """None for the oracle. An optimiser whose `max_steps` is null makes as many as the task allows.

    Where `track` is null, handles are not looked for on the way: no score needs them, and it takes time.
    """
    if config.name == ORACLE:
        return None
    options = dict(config.options)
    if options.get("max_steps", 0) is None:
        options["max_steps"] = max_steps
    if options.get("track", False) is None:
        options["track"] = False
    return load_method(config.name, generator, **options)


def missing_weights(config: MethodConfig, dataset: str) -> str | None:
    """Why the method cannot be evaluated before something is trained; None where it can."""
    file = f"{config.name}.safetensors"
    if file not in TRAINED:
        return None
    path = config.options.get("weights")
    if path is None:
        try:
            weights_path(dataset, file)
        except InputError as error:
            return str(error)
        return None
    if Path(str(path)).is_file():
        return None
    return f"There are no weights at {path}: train them as the method's file in configs/method says."


def weights_hash(method: DragMethod | None) -> str | None:
    """sha256 of a method's trained weights, None where it has none."""
    model = getattr(method, "model", None)
    if not isinstance(model, torch.nn.Module):
        return None
    return hash_of(model)
