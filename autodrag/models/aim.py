"""The aim: a first guess of the edited latent of a drag, predicted from the point displacements as a field on a grid.

Ours, not the paper's. Attention averages over points and learns slowly to benefit from 68 of them instead of one. A
plain MLP on a field of fixed size trains a thousand times faster; the predictor's transformer refines its guess.
"""

import itertools
import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from autodrag.geometry import to_unit
from autodrag.models.statistics import Standardise
from autodrag.models.stored import StoredModel
from autodrag.typed import build, check_bounds

GAIN = 8.0  # scale of the displacements, which are small relative to the image
EMPTY = 0.1  # weight of a zero displacement in the mean of a cell, so that empty cells are defined


@dataclass(frozen=True)
class AimConfig:
    """Size of the aim."""

    grid: int  # cells per side of the field
    width: int  # hidden width of the MLP
    layers: int  # hidden layers of the MLP

    def __post_init__(self) -> None:
        check_bounds("model.predictor.aim", self, grid=(1, math.inf), width=(1, math.inf))


class Aim(StoredModel):
    """Predicts the edited rows at the end of a drag: the source's rows plus one offset in W, shared by all rows."""

    kind = "aim"

    def __init__(
        self, config: AimConfig, w_dim: int, mean: Float[Tensor, " D"] | None = None, std: Tensor | None = None
    ) -> None:
        super().__init__()
        self.config = config
        identity = torch.zeros(w_dim), torch.ones(w_dim)
        self.standardise = Standardise(identity[0] if mean is None else mean, identity[1] if std is None else std)
        widths = [3 * config.grid**2 + w_dim, *[config.width] * config.layers]
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(widths):
            layers += [nn.Linear(inputs, outputs), nn.GELU()]
        self.mlp = nn.Sequential(*layers, nn.Linear(widths[-1], w_dim))

    def forward(
        self,
        rows: Float[Tensor, "B K D"],
        handles: Float[Tensor, "B P 2"],
        targets: Float[Tensor, "B P 2"],
        mask: Bool[Tensor, "B P"] | None,
        image_hw: tuple[int, int],
    ) -> Float[Tensor, "B K D"]:
        """rows: of the source. handles, targets: image pixels. mask: False at padding; None: no padding."""
        with torch.autocast("cpu" if rows.is_meta else rows.device.type, enabled=False):
            rows, at = rows.float(), to_unit(handles.float(), image_hw)
            field = displacement_field(at, to_unit(targets.float(), image_hw) - at, mask, self.config.grid)  # [B, F]
        move = self.mlp(torch.cat([field, self.standardise(rows.mean(dim=1))], dim=1)).to(rows)  # [B, D]
        return rows + (move * self.standardise.std)[:, None]

    def stored_config(self) -> dict[str, Any]:
        """Config and shape."""
        return {"aim": asdict(self.config), "w_dim": len(self.standardise.mean)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Aim":
        """See `StoredModel`; the statistics are buffers, loaded with the weights."""
        return cls(build(AimConfig, config["aim"]), int(config["w_dim"]))


def displacement_field(
    at: Float[Tensor, "B P 2"], move: Float[Tensor, "B P 2"], mask: Bool[Tensor, "B P"] | None, grid: int
) -> Float[Tensor, "B F"]:
    """Per grid cell, the mean displacement (times GAIN) and the density of the points around it; F = 3 grid^2.

    at, move: positions and displacements, in units in which the image spans [-1, 1]. A point at a distance of d cells
    has weight exp(-d^2 / 2).
    """
    centres = (torch.arange(grid, device=at.device) + 0.5) * (2 / grid) - 1
    along = torch.exp(-((at[..., None] - centres) * (grid / 2)).square() / 2)  # [B, P, 2, grid]
    x, y = along.unbind(dim=2)
    if mask is not None:
        x = x * mask[..., None]
    amounts = torch.cat([GAIN * move, torch.ones_like(move[..., :1])], dim=2)
    sums = torch.einsum("bpy,bpx,bpc->byxc", y, x, amounts)
    near = sums[..., 2:]
    return torch.cat([sums[..., :2] / (near + EMPTY), near / (1 + near)], dim=-1).flatten(1)
