"""The method under evaluation: a drag method with its options, or the oracle."""

from pathlib import Path

import torch

from autodrag.config import load_yaml
from autodrag.errors import InputError
from autodrag.fingerprint import hash_of
from autodrag.generator import FrozenGenerator
from autodrag.methods import DragMethod, MethodConfig, load_method
from autodrag.training.build import TrainConfig
from autodrag.weights import TRAINED, weights_path

ORACLE = "oracle"  # not a drag method: the source with the edited rows of the goal


def load_evaluated(config: MethodConfig, generator: FrozenGenerator, max_steps: int) -> DragMethod | None:
    """The drag method; None for the oracle.

    `max_steps: null` of an optimiser stands for the task's limit. `track: null` stands for false: no score needs the
    tracked handles, and tracking takes time.
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
    """Why the method cannot be evaluated before a training; None where it can."""
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
    return f"There are no weights at {path}: train them with the command in the method's file under configs/method/."


def samples_seen(config: MethodConfig) -> int | None:
    """Samples that stage 2 of the run that made the weights has seen; None for weights outside of such a run.

    Also None where the run is of another version, whose config cannot be read.
    """
    path = config.options.get("weights")
    run = None if path is None else Path(str(path)).with_name("config.yaml")
    if run is None or not run.is_file():
        return None
    try:
        training = load_yaml(run, TrainConfig)
    except InputError:
        return None
    budget = training.stage2.budget
    return round(budget.epochs * budget.samples) if training.stage in (2, "2") else None


def weights_hashes(method: DragMethod | None) -> dict[str, str | None]:
    """sha256 of the trained weights of a method, and of the manifold that guards it; None where it has none."""
    networks = {"weights": getattr(method, "model", None), "manifold": getattr(method, "manifold", None)}
    return {name: hash_of(n) if isinstance(n, torch.nn.Module) else None for name, n in networks.items()}
