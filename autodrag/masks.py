"""Masks: [H, W] in [0, 1], 1 where the image may change."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from autodrag.errors import InputError
from autodrag.pictures import as_array, read_pixels

EXPECTED = "give [H, W] in [0, 1], 1 where the image may change, or a picture file"
UNIFORM = 1 / 16  # maximum range of the levels of a mask that counts as uniform


def read_mask(mask: Any, resolution: tuple[int, int]) -> Float[Tensor, "H W"]:
    """Read a mask from an image (white = 1) or an array.

    Images are files, their bytes, or PIL images: they are rotated upright and resized to the resolution, and
    transparency counts as black. Arrays and tensors must have the image's size, with or without channels, and hold
    booleans, floats in [0, 1], or integers in 0..1 or 0..255. Values are rounded to 255ths, so that bytes hold them
    exactly. Raises InputError for anything else, and for a uniform image.
    """
    given = isinstance(mask, str | Path | bytes | Image.Image)
    return from_levels(to_levels(_of_picture(mask, resolution) if given else _of_array(mask, resolution)))


def to_levels(mask: Float[Tensor, "*n H W"]) -> UInt8[Tensor, "*n H W"]:
    """[0, 1] to 0..255, rounded to nearest."""
    return (mask * 255).round().to(torch.uint8)


def from_levels(levels: UInt8[Tensor, "*n H W"]) -> Float[Tensor, "*n H W"]:
    """0..255 to [0, 1]; the inverse of `to_levels` for any mask of `read_mask`."""
    return levels.float() / 255


def _of_picture(mask: str | Path | bytes | Image.Image, resolution: tuple[int, int]) -> Float[Tensor, "H W"]:
    name = f"The mask {mask}" if isinstance(mask, str | Path) else "The mask"
    rgb, alpha = read_pixels(mask, name)
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    if alpha is not None:
        grey *= alpha.astype(np.float32) / 255
    low, high = float(grey.min()), float(grey.max())
    if high - low <= UNIFORM:
        colour = "black (or transparent)" if high <= UNIFORM else "white" if low >= 1 - UNIFORM else "grey"
        raise InputError(
            f"{name} is {colour} everywhere: paint white where the image may change and black elsewhere, or leave out "
            "the mask."
        )
    height, width = resolution
    shrinks = grey.shape[0] >= height and grey.shape[1] >= width
    resized = cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    return torch.from_numpy(resized.clip(0, 1))


def _of_array(mask: Any, resolution: tuple[int, int]) -> Float[Tensor, "H W"]:
    array = as_array(mask)
    if array is None or array.dtype.kind not in "buif":
        raise InputError(f"The mask is not an array of numbers; {EXPECTED}.")
    height, width = resolution
    values = array.astype(np.float32)
    if array.dtype.kind in "ui" and array.size and 1 < array.max() <= 255:
        values /= 255
    if values.ndim == 3 and values.shape[2] in (3, 4) and values.shape[:2] == resolution:
        values = cv2.cvtColor(values[:, :, :3], cv2.COLOR_RGB2GRAY) * (values[:, :, 3] if values.shape[2] == 4 else 1)
    if values.size == height * width and tuple(n for n in values.shape if n != 1) == resolution:
        values = values.reshape(resolution)
    if values.shape != resolution:
        raise InputError(f"The mask has shape {list(array.shape)}, but the image needs [{height}, {width}]; resize it.")
    if not bool(((values >= 0) & (values <= 1)).all()):
        raise InputError("The mask holds NaN or numbers outside [0, 1]; give 1 where the image may change, else 0.")
    return torch.from_numpy(np.ascontiguousarray(values))
