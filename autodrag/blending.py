"""Blending: keeps an image outside a mask, by blending generator features with a soft edge.

Rows 0-5 of `ws` control the blocks up to 32 px; later blocks differ between two images of a drag only by their inputs.
So features are blended from 32 px on, each map with the mask at its resolution and an edge as wide as one of its cells:
coarse structure blends gradually, and later blocks render it as one image. The image is blended last, with an edge
inside the mask, so that outside it equals the kept image exactly.
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

FIRST, LAST = 32, 256  # heights of the first and last feature map that are blended
EDGE = 1 / 64  # width of the soft edge in the image, relative to its height


@dataclass(frozen=True, eq=False)
class Record:
    """Hook that records a synthesis: (features, image so far) by block, counted from 1, both after blending."""

    outputs: dict[int, tuple[Tensor, Tensor | None]] = field(default_factory=dict)

    def __call__(self, block: int, features: Tensor, image: Tensor | None, last: bool) -> tuple[Tensor, Tensor | None]:
        """Called by a synthesis after each block, which continues with the returned values."""
        if last:
            self.outputs[block] = (features[:, :0], image)  # its features are not needed
        elif FIRST <= features.shape[-2] <= LAST:
            self.outputs[block] = (features, image)
        return features, image


@dataclass(frozen=True, eq=False)
class Kept:
    """Hook that blends with the recorded outputs of the kept image. mask: [1, 1, H, W], 1 where the new image shows."""

    outputs: dict[int, tuple[Tensor, Tensor | None]]
    mask: Float[Tensor, "1 1 H W"]

    def __call__(self, block: int, features: Tensor, image: Tensor | None, last: bool) -> tuple[Tensor, Tensor | None]:
        """Called by a synthesis after each block, which continues with the returned values."""
        if block not in self.outputs:
            return features, image
        old_features, old_image = self.outputs[block]
        if last:
            assert image is not None and old_image is not None  # both syntheses are complete
            return features, torch.lerp(old_image, image, inner_edge(self.mask))
        mask = shrunk(self.mask, (features.shape[-2], features.shape[-1]))
        blended = torch.lerp(old_features, features, mask.to(features))
        return blended, image if image is None or old_image is None else torch.lerp(old_image, image, mask)


def shrunk(mask: Float[Tensor, "1 1 H W"], size: tuple[int, int]) -> Float[Tensor, "1 1 h w"]:
    """The mask at the size of a feature map: averaged over cells, then blurred by about one cell."""
    small = F.interpolate(mask, size, mode="area")
    padded = F.pad(small, (1, 1, 1, 1), mode="replicate")
    return F.avg_pool2d(F.avg_pool2d(F.pad(padded, (1, 1, 1, 1), mode="replicate"), 3, 1), 3, 1)


def inner_edge(mask: Float[Tensor, "1 1 H W"]) -> Float[Tensor, "1 1 H W"]:
    """The mask with a soft edge on its inner side: 0 wherever the mask is 0."""
    radius = max(1, round(mask.shape[-2] * EDGE))
    blurred = mask
    for _ in range(2):
        blurred = F.avg_pool2d(F.pad(blurred, (radius,) * 4, mode="replicate"), 2 * radius + 1, 1)
    return (2 * blurred - 1).clamp(0, 1) * mask
