"""Visualisation of drags: images with points, sheets of images, animations."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from autodrag.errors import InputError
from autodrag.files import write_whole
from autodrag.films import film_kind, write_film
from autodrag.images import to_uint8

HANDLE, TARGET, ARROW = (230, 57, 70), (38, 100, 235), (255, 255, 255)  # RGB: red to blue, as in the paper's figures
SUB = 4  # fractional bits of the coordinates in OpenCV


def draw_points(
    image: UInt8[Tensor, "3 H W"],
    handles: Float[Tensor, "P 2"] | None = None,
    targets: Float[Tensor, "P 2"] | None = None,
) -> UInt8[Tensor, "3 H W"]:
    """Draw handles (red), targets (blue) and, given both, arrows from handles to targets."""
    canvas = image.permute(1, 2, 0).cpu().contiguous().numpy().copy()  # a copy
    size = max(1.0, image.shape[1] / 128)
    if handles is not None and targets is not None:
        for start, end in zip(_fixed(handles), _fixed(targets), strict=True):
            length = float(np.hypot(end[0] - start[0], end[1] - start[1])) / 2**SUB
            tip = min(0.3, 4 * size / max(length, 1e-3))
            cv2.arrowedLine(canvas, start, end, ARROW, round(size), cv2.LINE_AA, SUB, tip)
    for points, colour in ((targets, TARGET), (handles, HANDLE)):
        for centre in _fixed(points) if points is not None else ():
            cv2.circle(canvas, centre, round(1.9 * size * 2**SUB), ARROW, -1, cv2.LINE_AA, SUB)
            cv2.circle(canvas, centre, round(1.4 * size * 2**SUB), colour, -1, cv2.LINE_AA, SUB)
    return torch.from_numpy(canvas).permute(2, 0, 1)


def sheet(rows: Sequence[Sequence[UInt8[Tensor, "3 H W"]]], gap: int = 4) -> UInt8[Tensor, "3 height width"]:
    """Images of the same size as a grid on white, `gap` pixels apart; rows may differ in length."""
    height, width = rows[0][0].shape[1:]
    columns = max(len(row) for row in rows)
    table = torch.full((3, len(rows) * (height + gap) + gap, columns * (width + gap) + gap), 255, dtype=torch.uint8)
    for i, row in enumerate(rows):
        for j, image in enumerate(row):
            top, left = gap + i * (height + gap), gap + j * (width + gap)
            table[:, top : top + height, left : left + width] = image.cpu()
    return table


def motion_sheet(
    images: Float[Tensor, "B frames 3 H W"], points: Sequence[tuple[Float[Tensor, "_ 2"], Float[Tensor, "_ 2"]]]
) -> UInt8[Tensor, "3 height width"]:
    """One row per motion: the first image with (handles, targets) and arrows, the others with targets."""
    rows = []
    for frames, (handles, targets) in zip(to_uint8(images), points, strict=True):
        first = draw_points(frames[0], handles, targets)
        rows.append([first, *(draw_points(frame, targets=targets) for frame in frames[1:])])
    return sheet(rows)


def save_image(image: UInt8[Tensor, "3 H W"], path: Path | str) -> None:
    """Write an image in the format given by the suffix. Raises InputError if it cannot be written."""
    try:
        Image.fromarray(image.permute(1, 2, 0).cpu().numpy()).save(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be written ({error}); give a .png or .jpg in a folder that exists.") from None


def save_animation(frames: Sequence[UInt8[Tensor, "3 H W"]], path: Path | str, fps: int | float = 12.0) -> None:
    """Write frames as a looping .gif or as .mp4. Raises InputError for other suffixes."""
    kind = film_kind(path)
    pictures = [np.ascontiguousarray(frame.permute(1, 2, 0).cpu().numpy()) for frame in frames]
    write_whole(Path(path), write_film(kind, pictures, fps))


def _fixed(points: Float[Tensor, "P 2"]) -> list[tuple[int, int]]:
    """Coordinates in OpenCV's fixed-point format."""
    return [(round(x * 2**SUB), round(y * 2**SUB)) for x, y in points.tolist()]
