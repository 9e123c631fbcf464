"""The least distance to the targets of a drag over all faces of the domain."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from autodrag.domains.synthface.places import Places, where

STEPS = 120  # of Adam
RATE = 0.08  # its first learning rate, down to 0


@dataclass(frozen=True)
class Reach:
    """geometry: the best faces, in [-1, 1]. distance: mean pixels from their places to the targets."""

    geometry: Float[Tensor, "B G"]
    distance: Float[Tensor, " B"]


def reach(geometry: Float[Tensor, " G"], found: Places, targets: Float[Tensor, "B N 2"], size: int) -> Reach:
    """The best faces for B drags of the same places from one face, within the range of all parameters.

    An upper bound of the least distance, by gradient descent on squared distances from the face itself.
    """
    start = geometry.clamp(-1, 1).expand(len(targets), -1)
    point = start.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([point], lr=RATE)
    best, least = start.clone(), _distance(start, found, targets, size)
    with torch.enable_grad():
        for step in range(STEPS):
            optimizer.param_groups[0]["lr"] = RATE * (1 - step / STEPS)
            optimizer.zero_grad()
            (where(point, found, size) - targets).square().sum().backward()
            optimizer.step()
            with torch.no_grad():
                point.clamp_(-1, 1)
                distance = _distance(point, found, targets, size)
                nearer = distance < least
                best, least = torch.where(nearer[:, None], point, best), torch.where(nearer, distance, least)
    return Reach(best.detach(), least.detach())


def _distance(geometry: Tensor, found: Places, targets: Tensor, size: int) -> Float[Tensor, " B"]:
    return (where(geometry, found, size) - targets).norm(dim=2).mean(dim=1).detach()
