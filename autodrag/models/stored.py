"""Models as single safetensors files: weights and buffers, with the config as JSON in the metadata."""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
from torch import nn

from autodrag.errors import InputError
from autodrag.files import read_tensors, write_tensors

FORMAT = "autodrag 1"
#: Kinds of models, and the source of their files for error messages.
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
    """A network that can be saved to and loaded from one file."""

    kind: ClassVar[str]  # one of `ORIGINS`

    @abstractmethod
    def stored_config(self) -> dict[str, Any]:
        """The argument of `from_config`, JSON-serialisable."""

    @classmethod
    @abstractmethod
    def from_config(cls: type[M], config: dict[str, Any]) -> M:
        """Build the network from `stored_config`, before its weights and buffers are loaded."""

    def save(self, path: Path | str, about: Mapping[str, str] | None = None, half: bool = False) -> None:
        """Write weights, buffers and config to one safetensors file.

        about: extra text for its metadata. half: store weights (not buffers) in float16; `load` converts them back to
        float32. Raises InputError if the file cannot be written.
        """
        texts = {"config": json.dumps(self.stored_config()), "about": json.dumps(about or {})}
        tensors = self.state_dict()
        if half:
            tensors |= {name: parameter.detach().half() for name, parameter in self.named_parameters()}
        write_tensors(Path(path), tensors, {"format": FORMAT, "kind": self.kind, **texts})

    @classmethod
    def load(cls: type[M], path: Path | str, device: torch.device | str = "cpu") -> M:
        """Load a file written by `save`, frozen and in eval mode.

        Raises InputError if it is missing, damaged, of another kind, or from an incompatible version.
        """
        tensors, metadata = read_tensors(Path(path))
        if metadata.get("format") != FORMAT or metadata.get("kind") != cls.kind:
            raise InputError(f"{path} holds no {cls.kind} of format {FORMAT!r}: choose {ORIGINS[cls.kind]}.")
        try:
            model = cls.from_config(json.loads(metadata["config"]))
            model.load_state_dict(tensors)
        except (InputError, KeyError, RuntimeError) as error:  # unknown options, no config, other weights
            raise InputError(
                f"{path} was written by another version of autodrag: train it again, or choose {ORIGINS[cls.kind]}."
            ) from error
        return model.to(device).eval().requires_grad_(False)


def stored_kind(path: Path | str) -> str | None:
    """The kind of a file, one of `ORIGINS`; None for other files. Raises InputError if it cannot be read."""
    return read_tensors(Path(path))[1].get("kind")
