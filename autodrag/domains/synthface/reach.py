"""Reachability: the minimum distance to the targets of a drag over all faces of the domain."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from autodrag.domains.synthface.fit import minimum_in_box
from autodrag.domains.synthface.places import Places, where

STEPS = 20  # of Levenberg-Marquardt
DELTA = 0.01  # finite difference step; parameters are in [-1, 1]
DAMPING, RAISE, LOWER = 1.0, 8.0, 5.0  # initial damping in squared pixels; factors after rejected, accepted steps
LEAST, MOST = 1e-2, 1e6  # bounds of the damping


@dataclass(frozen=True)
class Reach:
    """geometry: the best faces, in [-1, 1]. distance: mean distance in pixels from their places to the targets."""

    geometry: Float[Tensor, "B G"]
    distance: Float[Tensor, " B"]


@torch.no_grad()
def reach(geometry: Float[Tensor, " G"], found: Places, targets: Float[Tensor, "B N 2"], size: int) -> Reach:
    """The best faces for B drags of the same places of one face, within the range of all parameters.

    The distance is an upper bound of the minimum, found by Levenberg-Marquardt from the face itself.
    """
    point = geometry.clamp(-1, 1).expand(len(targets), -1).clone()
    missed = (targets - where(point, found, size)).flatten(1)  # [B, 2N]
    damping = torch.full((len(point),), DAMPING)
    for _ in range(STEPS):
        jacobian = _jacobian(point, found, targets, size, missed)  # [B, G, 2N]
        curvature = jacobian @ jacobian.transpose(1, 2) + torch.diag_embed(damping[:, None].expand_as(point))
        pull = (jacobian @ missed[..., None])[..., 0]
        candidate = torch.stack([minimum_in_box(*one) for one in zip(point, curvature, pull, strict=True)])
        there = (targets - where(candidate, found, size)).flatten(1)
        better = there.square().sum(dim=1) < missed.square().sum(dim=1)
        point = torch.where(better[:, None], candidate, point)
        missed = torch.where(better[:, None], there, missed)
        damping = torch.where(better, damping / LOWER, damping * RAISE).clamp(LEAST, MOST)
    return Reach(point, missed.unflatten(1, (-1, 2)).norm(dim=2).mean(dim=1))


def _jacobian(
    point: Float[Tensor, "B G"],
    found: Places,
    targets: Float[Tensor, "B N 2"],
    size: int,
    missed: Float[Tensor, "B Q"],
) -> Float[Tensor, "B G Q"]:
    """Jacobian of the places, by finite differences towards the middle of the range."""
    delta = torch.where(point > 0, -DELTA, DELTA)
    changed = (point[:, None] + torch.diag_embed(delta)).flatten(0, 1)  # [B G, G]
    there = where(changed, found, size).unflatten(0, point.shape)  # [B, G, N, 2]
    return (missed[:, None] - (targets[:, None] - there).flatten(2)) / delta[..., None]
