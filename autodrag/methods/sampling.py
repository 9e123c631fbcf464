"""Features of a batch at ragged sets of points: at single positions, and in windows of the resized map.

The points of all images are in one list, and `owner` is the image index of each.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def every(flags: Bool[Tensor, " M"], owner: Int[Tensor, " M"], images: int) -> Bool[Tensor, " B"]:
    """True for images whose points all have the flag set."""
    missing = torch.zeros(images, dtype=torch.long, device=flags.device)
    return missing.index_add_(0, owner, (~flags).long()) == 0


def indices(flags: Bool[Tensor, " M"]) -> Int[Tensor, " K"] | slice:
    """Indices of the set flags. Synchronises a GPU once; indexing with the flags would do so every time."""
    asked = flags.tolist()
    if all(asked):
        return slice(None)
    return torch.tensor([i for i, flag in enumerate(asked) if flag], dtype=torch.long, device=flags.device)


def read(
    features: Float[Tensor, "B C h w"], owner: Int[Tensor, " *n"], points: Float[Tensor, "*n 2"]
) -> Float[Tensor, "*n C"]:
    """Bilinear values at points (x, y) in feature pixels, border-clamped.

    Same order of operations as the official code, to reproduce its results.
    """
    channels, height, width = features.shape[1:]
    table = features.permute(0, 2, 3, 1).reshape(-1, channels)
    x, y = points[..., 0].clamp(0, width - 1), points[..., 1].clamp(0, height - 1)
    left, top = x.floor(), y.floor()
    right, bottom = (left + 1).clamp(max=width - 1), (top + 1).clamp(max=height - 1)
    dx, dy = x - left, y - top

    def corner(row: Tensor, column: Tensor, weight: Tensor) -> Tensor:
        index = (owner * height + row.long()) * width + column.long()
        return table.index_select(0, index.flatten()).unflatten(0, index.shape) * weight[..., None]

    upper = corner(top, left, (1 - dx) * (1 - dy)) + corner(bottom, left, (1 - dx) * dy)
    return upper + corner(top, right, dx * (1 - dy)) + corner(bottom, right, dx * dy)


@dataclass(frozen=True)
class Windows:
    """Square windows around points, of the feature map resized bilinearly to the image, without resizing all of it.

    Half-pixel centres, border-clamped. Bilinear interpolation is separable: a window is R P C^T, with P the few feature
    cells under it and R, C matrices of hat functions; a shift multiplies by two more such matrices.

    cells: [M, ch, cw, C]. rows [M, k, ch], columns [M, k, cw]: interpolation weights of the cells at pixels
    y - r .. y + r and x - r .. x + r. y, x: [M, k] those pixels, some of which may be outside the image.
    """

    cells: Float[Tensor, "M ch cw C"]
    rows: Float[Tensor, "M k ch"]
    columns: Float[Tensor, "M k cw"]
    y: Float[Tensor, "M k"]
    x: Float[Tensor, "M k"]
    image_hw: tuple[int, int]

    def values(self) -> Float[Tensor, "M k k C"]:
        """The resized map at every pixel of the window."""
        return _interpolate(self.rows, self.cells, self.columns)

    def shifted(self, shift: Float[Tensor, "M 2"]) -> Float[Tensor, "M k k C"]:
        """The resized map, sampled bilinearly at every pixel + shift (x, y); zero outside the image.

        Correct only at pixels at least |shift| + 1 from the border of the window.
        """
        rows = _resample(self.y, shift[:, 1], self.image_hw[0]) @ self.rows
        columns = _resample(self.x, shift[:, 0], self.image_hw[1]) @ self.columns
        return _interpolate(rows, self.cells, columns)


def read_windows(
    features: Float[Tensor, "B C h w"],
    owner: Int[Tensor, " M"],
    centres: Float[Tensor, "M 2"],
    radius: int,
    image_hw: tuple[int, int],
) -> Windows:
    """Windows of 2 radius + 1 pixels around whole-pixel centres (x, y). owner: image of each point."""
    batch, channels, height, width = features.shape
    reach = torch.arange(-radius, radius + 1, device=centres.device, dtype=centres.dtype)
    x, y = (centres[:, axis, None] + reach for axis in (0, 1))
    row_cells, rows = _weights(y, image_hw[0], height)
    column_cells, columns = _weights(x, image_hw[1], width)
    row_cells, column_cells = row_cells.clamp(0, height - 1), column_cells.clamp(0, width - 1)
    index = (owner[:, None, None] * height + row_cells[:, :, None]) * width + column_cells[:, None, :]
    table = features.permute(0, 2, 3, 1).reshape(batch * height * width, channels)
    cells = table.index_select(0, index.flatten()).unflatten(0, index.shape)
    return Windows(cells, rows, columns, y, x, image_hw)


def _weights(pixels: Float[Tensor, "M k"], size: int, cells: int) -> tuple[Int[Tensor, "M c"], Float[Tensor, "M k c"]]:
    """Indices of the cells under a run of pixels, and the weight of each cell at each pixel (0 outside the map)."""
    scale = cells / size
    place = ((pixels + 0.5) * scale - 0.5).clamp(0, cells - 1)
    count = int((pixels.shape[1] - 1) * scale) + 3
    index = place[:, :1].floor() + torch.arange(count, device=pixels.device, dtype=pixels.dtype)
    return index.long(), _hat(place[:, :, None] - index[:, None, :])


def _resample(pixels: Float[Tensor, "M k"], shift: Float[Tensor, " M"], size: int) -> Float[Tensor, "M k k"]:
    """Bilinear weights of the pixels at positions pixels + shift; 0 for pixels outside the image."""
    inside = (pixels >= 0) & (pixels <= size - 1)
    return _hat((pixels + shift[:, None])[:, :, None] - pixels[:, None, :]) * inside[:, None, :]


def _hat(distance: Tensor) -> Tensor:
    return (1 - distance.abs()).clamp(min=0)


def _interpolate(
    rows: Float[Tensor, "M k ch"], cells: Float[Tensor, "M ch cw C"], columns: Float[Tensor, "M k cw"]
) -> Float[Tensor, "M k k C"]:
    tall = torch.bmm(rows, cells.flatten(2)).unflatten(2, cells.shape[2:])  # [M, k, cw, C]
    return torch.matmul(columns[:, None], tall)
