"""Training data of the synthface generator: latents and their renders, a function of (seed, step)."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from autodrag.domains.synthface.canvas import MAPS
from autodrag.domains.synthface.parameters import GEOMETRY, Z_DIM, coordinates, squash
from autodrag.domains.synthface.renderer import render
from autodrag.seeding import rng

WALKED = 0.25  # share of interpolated latents, so that straight lines in W interpolate the parameters
SMALL_FEATURES = [MAPS.index(name) for name in ("eye", "brow", "nose", "lip", "mouth")]


@dataclass(frozen=True)
class Target:
    """z [4, B, Z_DIM]: two ends for geometry, two for appearance; place [2, B] between them (0 = the first end)."""

    z: Tensor
    place: Tensor
    image: Float[Tensor, "B 3 S S"]
    maps: Float[Tensor, "B M S S"]
    weight: Float[Tensor, "B 1 S S"]  # 1 on small features, 0 elsewhere


class Targets(Dataset[Target]):
    """The batches of a stage at one resolution. mixed: share with the appearance of another face."""

    def __init__(self, seed: int, size: int, batch: int, mixed: float) -> None:
        self.seed, self.size, self.batch, self.mixed = seed, size, batch, mixed

    def __getitem__(self, index: int) -> Target:
        draw = rng(self.seed, "synthface/targets", self.size, index)
        z = torch.randn(4, self.batch, Z_DIM, generator=draw)
        same = torch.arange(self.batch) >= round(self.mixed * self.batch)
        z[2:, same] = z[:2, same]
        place = torch.rand(2, self.batch, generator=draw)
        place[1, same] = place[0, same]
        place = place * (torch.rand(self.batch, generator=draw) < WALKED)
        split = len(GEOMETRY)
        geometry = torch.lerp(coordinates(z[0]), coordinates(z[1]), place[0, :, None])[:, :split]
        appearance = torch.lerp(coordinates(z[2]), coordinates(z[3]), place[1, :, None])[:, split:]
        # Below 64 px, the renderer's edges are wider than its features, so smaller images are downsampled.
        drawn = render(squash(geometry), squash(appearance), max(64, self.size))
        shrink = max(64, self.size) // self.size
        image, maps = (F.avg_pool2d(x, shrink) if shrink > 1 else x for x in (drawn.image, drawn.maps))
        weight = maps[:, SMALL_FEATURES].amax(dim=1, keepdim=True)
        return Target(z, place, image, maps, F.max_pool2d(weight, 3, 1, 1))
