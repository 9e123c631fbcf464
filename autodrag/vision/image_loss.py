"""The dissimilarity of images that inversions minimise."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from autodrag.errors import InputError
from autodrag.vision.networks import load_lpips

SCALES = 5

Distance = Callable[[Float[Tensor, "B 3 H W"], Float[Tensor, "B 3 H W"]], Float[Tensor, ""]]


def load_distance(device: torch.device) -> Distance:
    """`pixel_distance`, plus LPIPS if its weights are installed."""
    try:
        network = load_lpips(download=False).to(device).eval().requires_grad_(False)
    except InputError:
        return pixel_distance
    return lambda a, b: pixel_distance(a, b) + network(_at_most_256(a), _at_most_256(b)).mean()


def pixel_distance(a: Float[Tensor, "B 3 H W"], b: Float[Tensor, "B 3 H W"]) -> Float[Tensor, ""]:
    """Mean absolute error of pixels and image gradients, averaged over an image pyramid."""
    total = a.new_zeros(())
    count = 0
    for _ in range(SCALES):
        total = total + (a - b).abs().mean()
        for axis in (2, 3):
            total = total + (a.diff(dim=axis) - b.diff(dim=axis)).abs().mean()
        count += 1
        if min(a.shape[-2:]) < 16:
            break
        a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
    return total / count


def _at_most_256(image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B 3 h w"]:
    factor = image.shape[-2] // 256
    return image if factor < 2 else F.avg_pool2d(image, factor)
