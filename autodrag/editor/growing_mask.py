"""Masks that grow with a drag: the editable region follows what moves out of it, so that nothing is cut off."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from autodrag.editor.state import PointList

STRIDE = 1 / 64  # between two places of the moving region, a share of the picture's shorter side


def grown(mask: Float[Tensor, "H W"], handles: PointList, targets: PointList) -> Float[Tensor, "H W"]:
    """The mask, extended along the drag: the part nearest to each handle moves with that handle.

    Handles in the protected region extend nothing.
    """
    height, width = mask.shape
    inside = [
        (handle, target) for handle, target in zip(handles, targets, strict=True) if _at(mask, handle[0], handle[1]) > 0
    ]
    if not inside:
        return mask
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    away = torch.stack([(x - hx).square() + (y - hy).square() for (hx, hy), _ in inside])
    nearest = away.argmin(dim=0)
    result = mask
    for index, ((hx, hy), (tx, ty)) in enumerate(inside):
        part = mask * (nearest == index)
        count = math.ceil(math.dist((hx, hy), (tx, ty)) / max(1.0, STRIDE * min(height, width)))
        for step in range(1, count + 1):
            share = step / count
            result = torch.maximum(result, _moved(part, round(share * (tx - hx)), round(share * (ty - hy))))
    return result


def _at(mask: Float[Tensor, "H W"], x: float, y: float) -> float:
    row, column = min(max(round(y), 0), mask.shape[0] - 1), min(max(round(x), 0), mask.shape[1] - 1)
    return float(mask[row, column])


def _moved(mask: Float[Tensor, "H W"], dx: int, dy: int) -> Float[Tensor, "H W"]:
    """The mask, shifted by whole pixels. What leaves the image is lost."""
    height, width = mask.shape
    result = torch.zeros_like(mask)
    if abs(dx) < width and abs(dy) < height:
        to_x, to_y = slice(max(0, dx), width + min(0, dx)), slice(max(0, dy), height + min(0, dy))
        from_x, from_y = slice(max(0, -dx), width - max(0, dx)), slice(max(0, -dy), height - max(0, dy))
        result[to_y, to_x] = mask[from_y, from_x]
    return result
