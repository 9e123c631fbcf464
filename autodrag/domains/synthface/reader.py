"""A small network that predicts the parameters of a synthface from its image.

The predicted appearance measures whether a drag preserves identity; the features give a Frechet distance without
Inception weights, called FD-synthface to distinguish it from FID.
"""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from autodrag.config import ASSET_DIR
from autodrag.domains.synthface import APPEARANCE, GEOMETRY
from autodrag.errors import InputError
from autodrag.fingerprint import hash_of
from autodrag.images import to_size
from autodrag.models.stored import StoredModel

SIZE = 64  # input size in pixels
WIDTHS = (24, 48, 64, 96)
FEATURES = 64


class ReaderNetwork(StoredModel):
    """Convolutions of stride 2, a linear layer to the features, and a linear layer to the parameters."""

    kind = "reader"

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in zip((3, *WIDTHS), WIDTHS, strict=False):
            layers += [nn.Conv2d(inputs, outputs, 3, 2, 1), nn.GroupNorm(8, outputs), nn.SiLU()]
            layers += [nn.Conv2d(outputs, outputs, 3, 1, 1), nn.GroupNorm(8, outputs), nn.SiLU()]
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(WIDTHS[-1] * (SIZE // 16) ** 2, FEATURES), nn.SiLU())
        self.head = nn.Linear(FEATURES, len(GEOMETRY) + len(APPEARANCE))

    def forward(self, images: Float[Tensor, "N 3 size size"]) -> tuple[Float[Tensor, "N F"], Float[Tensor, "N P"]]:
        """(features, parameters in [-1, 1]: geometry, then appearance) of images of SIZE pixels in [-1, 1]."""
        features = self.body(images)
        return features, torch.tanh(self.head(features))

    def stored_config(self) -> dict[str, Any]:
        """Empty: the size is fixed."""
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "ReaderNetwork":
        """See `StoredModel`."""
        return cls()


class Reader:
    """The trained network. Images are in [-1, 1], of any size; results are on the CPU."""

    name = "FD-synthface"
    caption = f"{FEATURES} features of the network that reads synthface parameters, images averaged to {SIZE} px"

    def __init__(self, network: ReaderNetwork, device: torch.device) -> None:
        self._network, self._device = network.to(device).eval().requires_grad_(False), device

    @property
    def fingerprint(self) -> str:
        """Hash of the weights."""
        return hash_of(self._network)

    def features(self, images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N F"]:
        """Feature vectors, for a Frechet distance."""
        return self._read(images)[0]

    def appearance(self, images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N A"]:
        """The appearance parameters, in [-1, 1]."""
        return self._read(images)[1][:, len(GEOMETRY) :]

    def geometry(self, images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N G"]:
        """The geometry parameters (pose, shape and expression), in [-1, 1]."""
        return self._read(images)[1][:, : len(GEOMETRY)]

    def _read(self, images: Float[Tensor, "N 3 H W"]) -> tuple[Tensor, Tensor]:
        features, parameters = self._network(small(images).to(self._device))
        return features.cpu(), parameters.cpu()

    @classmethod
    def load(cls, path: Path | str, device: torch.device) -> "Reader":
        """Load a reader. Raises InputError if the file is missing or not a reader."""
        return cls(ReaderNetwork.load(path), device)


def reader_path(dataset: str) -> Path:
    """The bundled file for synthface. Raises InputError for other datasets, which have no known parameters."""
    if dataset != "synthface":
        raise InputError(f"Identity is measured on synthface only, not on {dataset}.")
    return ASSET_DIR / "synthface" / "reader.safetensors"


def small(images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N 3 size size"]:
    """Images resized to the input of the network."""
    images = to_size(images.clamp(-1, 1), SIZE)
    return images if images.shape[-1] == SIZE else F.adaptive_avg_pool2d(images, SIZE)
