"""A model as one safetensors file: weights and statistics, with the config as JSON in the metadata."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from autodrag.errors import InputError
from autodrag.files import read_tensors, write_tensors

FORMAT = "autodrag 1"
#: Kinds of models, and where their files come from.
ORIGINS = {
    "regularizer": "weights.safetensors of a stage=1 run",
    "aim": "weights.safetensors of a stage=aim run",
    "encoder": "weights.safetensors of a stage=encoder run",
    "landing": "weights.safetensors of a stage=motion run",
    "autodrag": "weights.safetensors of a stage=2 run",
    "latent_transformer": "weights.safetensors of a stage=latent_transformer run",
    "reader": "the reader.safetensors that ships with synthface",
}
M = TypeVar("M", bound="StoredModel")


class StoredModel(nn.Module, ABC):
    """A network that has a file of its own."""

    kind: ClassVar[str]  # one of `ORIGINS`

    @abstractmethod
    def stored_config(self) -> dict[str, Any]:
        """What `from_config` builds the network from, as JSON."""

    @classmethod
    @abstractmethod
    def from_config(cls: type[M], config: dict[str, Any]) -> M:
        """The network before its weights and statistics are loaded."""

    def save(self, path: Path | str, about: Mapping[str, str] | None = None, half: bool = False) -> None:
        """Write weights, statistics and config to one safetensors file. about: text for its metadata.

        half: store weights (not statistics) in float16; `load` converts them back to float32. Raises InputError if the
        file cannot be written.
        """
        write_model(path, self.kind, self, self.stored_config(), about, half)

    @classmethod
    def load(cls: type[M], path: Path | str, device: torch.device | str = "cpu") -> M:
        """The network of a file that `save` wrote, frozen. Raises InputError if it is missing or of another kind."""
        stored = read_model(path, cls.kind, str(device))
        model = cls.from_config(stored.config).to(device)
        model.load_state_dict(stored.tensors)
        return model.eval().requires_grad_(False)


@dataclass(frozen=True)
class Stored:
    """The contents of a model file."""

    tensors: dict[str, Tensor]
    config: dict[str, Any]  # that builds the model
    about: dict[str, str]  # origin: generator, command, ...


def write_model(
    path: Path | str,
    kind: str,
    model: nn.Module,
    config: Mapping[str, Any],
    about: Mapping[str, str] | None = None,
    half: bool = False,
) -> None:
    """Write a model file. kind: one of `ORIGINS`. half: store weights (not statistics) in float16.

    Raises InputError if the file cannot be written.
    """
    metadata = {"format": FORMAT, "kind": kind, "config": json.dumps(config), "about": json.dumps(about or {})}
    tensors = model.state_dict()
    if half:
        tensors |= {name: parameter.detach().half() for name, parameter in model.named_parameters()}
    try:
        write_tensors(Path(path), tensors, metadata)
    except OSError as error:
        raise InputError(f"{error}; free disk space or choose another folder.") from None


def stored_kind(path: Path | str) -> str | None:
    """One of `ORIGINS`, or None for other files. Raises InputError if the file cannot be read."""
    return read_tensors(Path(path))[1].get("kind")


def read_model(path: Path | str, kind: str, device: str = "cpu") -> Stored:
    """Read a model file. Raises InputError if it is missing, damaged or of another kind."""
    tensors, metadata = read_tensors(Path(path), device)
    if metadata.get("format") != FORMAT or metadata.get("kind") != kind:
        raise InputError(f"{path} holds no {kind} of format {FORMAT!r}: choose {ORIGINS[kind]}.")
    return Stored(tensors, json.loads(metadata["config"]), json.loads(metadata["about"]))
