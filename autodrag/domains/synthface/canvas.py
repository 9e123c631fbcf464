"""The image that layers are painted on, with its maps."""

import torch
from torch import Tensor

MAPS = ("head", "longitude", "latitude", "eye", "iris", "brow", "nose", "lip", "mouth", "hair")


def cover(distance: Tensor, pixel: float, softness: float = 1.5) -> Tensor:
    """Anti-aliased coverage from the signed distance to an edge (positive inside), in half image sides like `pixel`."""
    t = (distance / (softness * pixel) + 0.5).clamp(0, 1)
    return t * t * (3 - 2 * t)


def fade(x: Tensor) -> Tensor:
    """exp(-x) for x >= 0, clamped at e^-20: denormal numbers would make the renderer several times slower."""
    return torch.exp(-x.clamp(0, 20))


def bump(first: Tensor, second: Tensor | None = None) -> Tensor:
    """A Gaussian spot: exp of minus the squared length of offsets in units of its radius."""
    squared = first.square()
    return fade(squared if second is None else squared + second.square())


class Canvas:
    """image [B, 3, H, W] in [0, 1]; pixel: the side of one pixel in half image sides; maps: named fields [B, H, W]."""

    def __init__(self, batch: int, size: int, like: Tensor) -> None:
        self.pixel = 2.0 / size
        line = (torch.arange(size, dtype=like.dtype, device=like.device) + 0.5) * self.pixel - 1
        self.u = line.view(1, 1, size).expand(batch, size, size)
        self.v = line.view(1, size, 1).expand(batch, size, size)
        self.image = torch.zeros(batch, 3, size, size, dtype=like.dtype, device=like.device)
        self.maps: dict[str, Tensor] = {}

    def blend(self, colour: Tensor, alpha: Tensor) -> None:
        """Paint `colour` ([B, 3, H, W] or [B, 3, 1, 1]) over the image with coverage alpha [B, H, W]."""
        self.image = torch.lerp(self.image, colour.expand_as(self.image), alpha[:, None].expand_as(self.image))

    def darken(self, amount: Tensor) -> None:
        """Multiply the image by 1 - amount, amount [B, H, W]."""
        self.image = self.image * (1 - amount)[:, None]

    def hide(self, alpha: Tensor) -> None:
        """Attenuate all maps by the coverage alpha of something opaque painted over them."""
        for name, field in self.maps.items():
            self.maps[name] = field * (1 - alpha)
