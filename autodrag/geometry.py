"""Points and feature maps: conversion between image pixels and feature pixels.

Points are (x, y) in pixels, and the centre of the top-left pixel is (0, 0), for images and feature maps alike. A map of
h x w covers the same area as its image of H x W, so centres correspond by (x + 0.5) w / W - 0.5.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def rescale(
    points: Float[Tensor, "*batch 2"], source_hw: tuple[int, int], target_hw: tuple[int, int]
) -> Float[Tensor, "*batch 2"]:
    """Pixels of a map of `source_hw` -> pixels of a map of `target_hw` that covers the same area."""
    scale = _pair(points, target_hw[1] / source_hw[1], target_hw[0] / source_hw[0])
    return (points + 0.5) * scale - 0.5


def to_unit(points: Float[Tensor, "*batch 2"], image_hw: tuple[int, int]) -> Float[Tensor, "*batch 2"]:
    """Image pixels -> [-1, 1] on both axes, -1 and 1 at the image's edges."""
    return (points + 0.5) / _pair(points, image_hw[1], image_hw[0]) * 2 - 1


def _pair(points: Tensor, x: int | float, y: int | float) -> Tensor | float:
    """One number, or two if the axes differ, created on the device: a copy would synchronise a GPU."""
    return float(x) if x == y else torch.cat([points.new_full((1,), x), points.new_full((1,), y)])


def corner(points: Tensor, image_hw: tuple[int, int]) -> Float[Tensor, " 2"]:
    """(x, y) of the bottom-right pixel, with the dtype and device of `points`."""
    height, width = image_hw
    return torch.cat([points.new_full((1,), width - 1), points.new_full((1,), height - 1)])


def sample(features: Float[Tensor, "B C h w"], points: Float[Tensor, "B N 2"]) -> Float[Tensor, "B N C"]:
    """Bilinear values of a feature map at points in feature pixels.

    Border-clamped. Computed and returned in float32 or better, because half precision is too coarse for coordinates.
    Differentiable with respect to features and points.
    """
    dtype = torch.promote_types(features.dtype, torch.float32)
    size = _pair(points, features.shape[-1], features.shape[-2])
    grid = ((2 * points + 1) / size - 1).to(dtype)
    values = F.grid_sample(
        features.to(dtype), grid[:, :, None], padding_mode="border", align_corners=False
    )  # [B,C,N,1]
    return values[..., 0].transpose(1, 2)


def sample_at(
    features: Float[Tensor, "B C h w"], points: Float[Tensor, "B N 2"], image_hw: tuple[int, int]
) -> Float[Tensor, "B N C"]:
    """`sample` at points in pixels of the image that the features belong to."""
    return sample(features, rescale(points, image_hw, (features.shape[-2], features.shape[-1])))


def patches(
    features: Float[Tensor, "B C h w"], points: Float[Tensor, "B N 2"], size: int = 7
) -> Float[Tensor, "B N patch C"]:
    """The size x size neighbourhood of each point, in feature pixels, row by row: [B, N, size * size, C].

    Omega of Eq. 9 and 13 is the 7 x 7 patch around a point.
    """
    reach = torch.arange(size, dtype=points.dtype, device=points.device) - (size - 1) / 2
    y, x = torch.meshgrid(reach, reach, indexing="ij")
    offsets = torch.stack([x, y], dim=-1).reshape(-1, 2)  # [size*size, 2]
    around = points[:, :, None] + offsets  # [B, N, size*size, 2]
    return sample(features, around.flatten(1, 2)).unflatten(1, around.shape[1:3])
