"""Masks: [H, W] in [0, 1], 1 where the picture may change; None, everywhere."""

from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from autodrag.app.pictures import read_picture
from autodrag.app.state import PointList
from autodrag.errors import InputError

FRACTION_BITS = 4  # of OpenCV's coordinates: a sixteenth of a pixel


def read_mask(mask: Any, resolution: tuple[int, int]) -> Float[Tensor, "H W"]:
    """A mask from an array or tensor [H, W] (in [0, 1], or booleans), or a picture file (or its bytes), white 1.

    A picture of another size is resized. Raises InputError where it is no mask of this resolution.
    """
    height, width = resolution
    if isinstance(mask, str | Path | bytes):
        grey = cv2.cvtColor(read_picture(mask), cv2.COLOR_RGB2GRAY)
        mask = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA) / np.float32(255)
    try:
        values = torch.as_tensor(mask).detach().float().cpu().clone()
    except (TypeError, ValueError, RuntimeError):
        raise InputError("The mask is no array of numbers; give [H, W] in [0, 1] or a picture file.") from None
    if values.shape != (height, width):
        raise InputError(f"The mask has shape {list(values.shape)}, but the picture needs [{height}, {width}].")
    if not bool(((values >= 0) & (values <= 1)).all()):
        raise InputError("The mask holds numbers outside [0, 1] or NaN; give 1 where the picture may change, else 0.")
    return values


def paint(
    mask: Float[Tensor, "H W"] | None,
    stroke: PointList,
    radius: int | float,
    what: Literal["change", "keep"],
    resolution: tuple[int, int],
) -> Float[Tensor, "H W"]:
    """The mask after one stroke of a round brush. The first stroke decides what the rest of the picture does.

    With no mask yet, a stroke that lets change leaves everything else fixed, and one that keeps leaves everything else
    free.
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
