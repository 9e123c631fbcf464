"""Painted masks: [H, W] in [0, 1], 1 where the image may change; None: everywhere."""

from typing import Literal

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from autodrag.editor.state import PointList

FRACTION_BITS = 4  # of OpenCV's coordinates: a sixteenth of a pixel


def paint(
    mask: Float[Tensor, "H W"] | None,
    stroke: PointList,
    radius: int | float,
    what: Literal["change", "keep"],
    resolution: tuple[int, int],
) -> Float[Tensor, "H W"]:
    """The mask after one stroke of a round brush.

    The first stroke decides about the rest of the image: a stroke that frees protects everything else, and a stroke
    that protects frees everything else.
    """
    height, width = resolution
    if mask is None:
        mask = torch.full((height, width), 0.0 if what == "change" else 1.0)
    limit = 2 * max(height, width)  # what lies further out paints nothing, and OpenCV counts in 32 bits
    scale = 1 << FRACTION_BITS
    line = np.clip(np.asarray(stroke, np.float64), -limit, limit) * scale
    canvas = np.zeros((height, width), np.uint8)
    thickness = max(1, round(2 * min(radius, limit)))
    path = np.round(line).astype(np.int32)[:, None]
    cv2.polylines(canvas, [path], False, 255, thickness, cv2.LINE_AA, FRACTION_BITS)
    for x, y in path[[0, -1], 0]:
        cv2.circle(canvas, (int(x), int(y)), round(thickness / 2 * scale), 255, -1, cv2.LINE_AA, FRACTION_BITS)
    covered = torch.from_numpy(canvas).float() / 255
    return torch.maximum(mask, covered) if what == "change" else torch.minimum(mask, 1 - covered)
