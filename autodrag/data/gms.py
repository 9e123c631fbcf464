"""Grid-based Motion Statistics (Bian et al. 2017): keeps raw matches that move consistently with their neighbours.

Equal to `cv2.xfeatures2d.matchGMS` without rotation and scale, but independent of OpenCV's contrib modules. Both images
are divided into 20 x 20 cells. The destination of a cell is the cell that most of its matches map to. It is accepted if
enough matches of the 3 x 3 neighbourhood of the cell map to the corresponding neighbours of the destination: at least a
factor times the square root of the mean number of matches in these cells. This is repeated with the grid of the first
image shifted by half a cell in x, y and both; a match is kept if any of the four grids accepts it.
"""

import numpy as np
from jaxtyping import Bool, Float32, Int

GRID = 20
HALF_CELL_SHIFTS = ((0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.5, 0.5))


def gms_inliers(
    points1: Float32[np.ndarray, "N 2"],
    size1: tuple[int, int],
    points2: Float32[np.ndarray, "N 2"],
    size2: tuple[int, int],
    threshold_factor: float = 6.0,
) -> Bool[np.ndarray, " N"]:
    """True for matches supported by the motion statistics.

    points1, points2: ends of each match, (x, y) pixels. size1, size2: (width, height) of the images.
    """
    cells2 = _cells(points2, size2, (0.0, 0.0))
    inliers = np.zeros(len(points1), dtype=bool)
    for shift in HALF_CELL_SHIFTS:
        cells1 = _cells(points1, size1, shift)
        accepted = _accepted_destination(cells1, cells2, threshold_factor)
        inliers |= (cells1 >= 0) & (accepted[cells1] == cells2)
    return inliers


def _cells(
    points: Float32[np.ndarray, "N 2"], size: tuple[int, int], shift: tuple[float, float]
) -> Int[np.ndarray, " N"]:
    """Cell index of each point, -1 outside the shifted grid. float32 before the shift, as in OpenCV."""
    in_cells = points / np.array(size, dtype=np.float32) * np.float32(GRID)
    x, y = np.floor(in_cells.astype(np.float64) + shift).astype(np.int64).T
    return np.where((x < GRID) & (y < GRID), x + GRID * y, -1)


def _accepted_destination(
    cells1: Int[np.ndarray, " N"], cells2: Int[np.ndarray, " N"], threshold_factor: float
) -> Int[np.ndarray, " cells"]:
    """Destination in image 2 of each cell of image 1, or -2 if its neighbours do not support it."""
    here = cells1 >= 0
    cells = GRID * GRID
    votes = np.bincount(cells1[here] * cells + cells2[here], minlength=cells * cells).reshape(cells, cells)
    points_in_cell = votes.sum(axis=1)
    best = votes.argmax(axis=1)  # the first of ties, as in OpenCV

    near1, near2 = NEIGHBOURS, NEIGHBOURS[best]  # [cells, 9]
    both = (near1 >= 0) & (near2 >= 0)
    score = np.where(both, votes[near1, near2], 0).sum(axis=1)
    support = np.where(both, points_in_cell[near1], 0).sum(axis=1)
    accepted = score >= threshold_factor * np.sqrt(support / both.sum(axis=1))
    return np.where(accepted & (points_in_cell > 0), best, -2)


def _neighbours() -> Int[np.ndarray, "cells 9"]:
    """The 3 x 3 neighbourhood of each cell, row by row, -1 outside the grid."""
    y, x = np.divmod(np.arange(GRID * GRID), GRID)
    dy, dx = np.divmod(np.arange(9), 3)
    ny, nx = y[:, None] + dy - 1, x[:, None] + dx - 1
    inside = (nx >= 0) & (nx < GRID) & (ny >= 0) & (ny < GRID)
    return np.where(inside, nx + GRID * ny, -1)


NEIGHBOURS = _neighbours()
