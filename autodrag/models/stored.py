"""A model as one safetensors file: weights and statistics, with the configuration as JSON in the metadata."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from autodrag.errors import InputError
from autodrag.files import read_tensors, write_tensors

FORMAT = "autodrag 1"
#: Where a file of each kind comes from.
ORIGINS = {
    "regularizer": "weights.safetensors of a stage=1 run",
    "aim": "weights.safetensors of a stage=aim run",
    "encoder": "weights.safetensors of a stage=encoder run",
    "landing": "weights.safetensors of a stage=motion run",
    "autodrag": "weights.safetensors of a stage=2 run",
    "latent_transformer": "weights.safetensors of a stage=latent_transformer run",
    "reader": "the reader.safetensors that ships with synthface",
}


@dataclass(frozen=True)
class Stored:
    """What a file holds. config: what builds the model. about: where it came from (dataset, command, ...)."""

    tensors: dict[str, Tensor]
    config: dict[str, Any]
    about: dict[str, str]


def write_model(
    path: Path | str,
    kind: str,
    model: nn.Module,
    config: Mapping[str, Any],
    about: Mapping[str, str] | None = None,
    half: bool = False,
) -> None:
    """kind: one of `ORIGINS`. half: weights (not statistics) in float16, for half the size.

    Raises InputError where the file cannot be written.
    """
    metadata = {"format": FORMAT, "kind": kind, "config": json.dumps(config), "about": json.dumps(about or {})}
    tensors = model.state_dict()
    if half:
        tensors |= {name: parameter.detach().half() for name, parameter in model.named_parameters()}
    try:
        write_tensors(Path(path), tensors, metadata)
    except OSError as error:
        raise InputError(f"{error}; make room or choose another folder.") from None


def stored_kind(path: Path | str) -> str | None:
    """One of `ORIGINS`, or None for another file. Raises InputError where the file cannot be read."""
    return read_tensors(Path(path))[1].get("kind")


def read_model(path: Path | str, kind: str, device: str = "cpu") -> Stored:
    """What `write_model` wrote. Raises InputError where the file is missing, damaged or of another kind."""
    tensors, metadata = read_tensors(Path(path), device)
    if metadata.get("format") != FORMAT or metadata.get("kind") != kind:
        raise InputError(f"{path} holds no {kind} of format {FORMAT!r}; give {ORIGINS[kind]}.")
    return Stored(tensors, json.loads(metadata["config"]), json.loads(metadata["about"]))
