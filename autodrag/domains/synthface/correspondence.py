"""Exact correspondence of skin points between two renders: the renderer is invertible."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from autodrag.domains.synthface.canvas import MAPS
from autodrag.domains.synthface.parameters import GEOMETRY, values
from autodrag.domains.synthface.surface import Head

# Eyes, brows, nose and mouth move on the skin by their own parameters, and hair is not part of it.
_NOT_SKIN = ("eye", "brow", "nose", "lip", "mouth", "hair")


def true_targets(
    geometry: Float[Tensor, " G"], moved_geometry: Float[Tensor, " G"], points: Float[Tensor, "N 2"], size: int
) -> Float[Tensor, "N 2"]:
    """New positions of the points on the head visible at `points`, in (x, y) pixels of size x size renders."""
    before, after = (Head(values(g[None], GEOMETRY)) for g in (geometry, moved_geometry))
    u, v = ((points + 0.5) * (2 / size) - 1).T[:, None, None]  # [1, 1, N] each
    seen = before.surface(*before.local(u, v))
    there = torch.stack(after.project(seen.longitude, seen.latitude), dim=-1)
    return (there[0, 0] + 1) * (size / 2) - 0.5


def on_skin(maps: Float[Tensor, "M S S"], points: Float[Tensor, "N 2"]) -> Bool[Tensor, " N"]:
    """Whether `true_targets` is valid at these pixels of a render with these maps."""
    x, y = points.round().long().clamp(0, maps.shape[-1] - 1).T
    at = dict(zip(MAPS, maps[:, y, x], strict=True))
    return (at["head"] > 0.95) & (torch.stack([at[name] for name in _NOT_SKIN]).amax(dim=0) < 0.02)
