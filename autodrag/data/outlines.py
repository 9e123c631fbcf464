"""Outlines: how far edges of an image move across themselves when its latents move.

Keypoints find textured places again. An edge without texture, such as the end of the hair, has none, and the nearest
keypoints often belong to what lies behind it, which stays. Features of the generator follow an edge over many small
steps, but only across it: along it, all places look alike (the aperture problem). So the match of an outline counts by
its component along the normal of the edge.

An edge can be the contour of something that turns: it stays, or moves less, while the surface beside it slides. So an
edge counts the less the less it moves, and motion beyond that of the edge counts little (`losses.landing_loss`). Ours,
not the paper's.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor
from torch.nn import functional as F

from autodrag.generator import FrozenGenerator
from autodrag.geometry import corner, rescale, sample_at
from autodrag.seeding import rng

BLOCK = 5  # generator block whose features are compared, 64 px
FRAMES = 12  # steps from I_0 to I_n in which edges are followed
HEIGHT = 256  # of the image in which edges are found; larger ones are averaged
CELL = 8  # pixels of that image; the strongest edge of a cell is used
STRENGTH = 0.012  # least gradient of an edge, per pixel of that image, of values in [-1, 1]
REACH = 8 / 256  # how far a step searches in x and y, as a share of the image height
SIDE = 9  # positions of a search in x and in y
PRIOR = 0.1  # additional cost at the edge of a search, relative to the least difference
SHARPNESS = 4.0  # of the average over positions


@dataclass(frozen=True)
class Outlines:
    """Points on edges of I_0, where their edges are in I_n, and unit normals of the edges in I_0. Image pixels."""

    handles: Float32[np.ndarray, "P 2"]
    targets: Float32[np.ndarray, "P 2"]
    normals: Float32[np.ndarray, "P 2"]


_NONE = np.zeros((0, 2), np.float32)
NO_OUTLINES = Outlines(_NONE, _NONE, _NONE)


@torch.no_grad()
def find_outlines(
    generator: FrozenGenerator,
    ends: Float[Tensor, "2 L D"],
    image: Float[Tensor, "3 H W"],
    keep: int,
    stream: tuple[int, int],
) -> Outlines:
    """Follow edges of the image from w_0 to w_n, on a straight line.

    ends: w_0 and w_n. image: I_0, in [-1, 1]. keep: maximum number of points. stream: (seed, index of the motion), by
    which they are chosen.
    """
    points, normals = edges(image)
    if len(points) > keep:
        chosen = torch.randperm(len(points), generator=rng(stream[0], "outlines", stream[1]))[:keep].sort().values
        points, normals = points[chosen.to(points.device)], normals[chosen.to(points.device)]
    if len(points) == 0:
        return NO_OUTLINES
    line = torch.linspace(0, 1, FRAMES + 1, device=ends.device)[:, None, None]
    frames = generator.features(torch.lerp(ends[:1], ends[1:], line), block=BLOCK, noise="none").float()
    frames = frames - frames.mean(dim=(0, 2, 3), keepdim=True)
    frames = frames / frames.square().mean(dim=(0, 2, 3), keepdim=True).sqrt().clamp(min=1e-6)
    there = follow(frames, points, generator.resolution)
    return Outlines(*(part.float().cpu().numpy() for part in (points, there, normals)))


def edges(image: Float[Tensor, "3 H W"]) -> tuple[Float[Tensor, "P 2"], Float[Tensor, "P 2"]]:
    """The strongest edge of each cell of an image in [-1, 1]: points in image pixels, and unit normals."""
    size = (image.shape[1], image.shape[2])
    grey = image.mean(dim=0)[None, None]
    if size[0] > HEIGHT:
        grey = F.interpolate(grey, size=(HEIGHT, round(size[1] * HEIGHT / size[0])), mode="area")
    blurred = F.pad(grey, (3, 3, 3, 3), mode="replicate")
    for _ in range(2):
        blurred = F.avg_pool2d(blurred, 3, stride=1)
    across = (blurred[..., 1:-1, 2:] - blurred[..., 1:-1, :-2]) / 2
    down = (blurred[..., 2:, 1:-1] - blurred[..., :-2, 1:-1]) / 2
    strength, place = F.max_pool2d((across.square() + down.square()).sqrt(), CELL, return_indices=True)
    place = place[strength > STRENGTH]
    points = torch.stack([place % grey.shape[3], place // grey.shape[3]], dim=1).to(image.dtype)
    normals = F.normalize(torch.stack([across.flatten()[place], down.flatten()[place]], dim=1), dim=1)
    return rescale(points, (grey.shape[2], grey.shape[3]), size), normals


def follow(
    frames: Float[Tensor, "T C h w"], points: Float[Tensor, "P 2"], image_hw: tuple[int, int]
) -> Float[Tensor, "P 2"]:
    """Positions in the last frame of points of the first, in image pixels.

    frames: standardised features of a sequence of images. Each step takes a weighted average of the positions around
    the last one, by how much their features differ from those of the point in the first image.
    """
    line = torch.linspace(-1, 1, SIDE, dtype=points.dtype, device=points.device)
    grid = torch.cartesian_prod(line, line)
    cost = PRIOR * grid.square().sum(dim=1)
    limit = corner(points, image_hw)
    wanted = sample_at(frames[:1], points[None], image_hw)[0]
    for frame in frames[1:]:
        places = torch.minimum((points[:, None] + REACH * image_hw[0] * grid).clamp(min=0), limit)
        seen = sample_at(frame[None], places.flatten(0, 1)[None], image_hw)[0].unflatten(0, places.shape[:2])
        difference = (seen - wanted[:, None]).square().mean(dim=2)
        difference = difference / difference.amin(dim=1, keepdim=True).clamp(min=1e-2)
        weight = (-SHARPNESS * (difference + cost)).softmax(dim=1)
        points = (weight[..., None] * places).sum(dim=1)
    return points
