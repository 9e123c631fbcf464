"""Fixed band-limited surface textures, the same on every face, as keypoints for ORB."""

from functools import lru_cache
from math import pi

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from autodrag.seeding import rng

ATLAS = (512, 1024)  # rows over latitude (-pi/2, pi/2), columns over longitude (-pi, pi)
# Channels of the head atlas.
SKIN_LIGHT, SKIN_RED, FRECKLES, STRANDS = range(4)


def band_noise(height: int, width: int, low: float, high: float, stretch: float, seed: int) -> Float[Tensor, "h w"]:
    """Unit-variance noise of `low` to `high` cycles across the width, stretched vertically by `stretch`."""
    white = torch.randn(height, width, generator=rng(seed, "synthface/texture"))
    rows = torch.fft.fftfreq(height)[:, None] * height * stretch
    columns = torch.fft.rfftfreq(width)[None] * width
    radius = (rows.square() + columns.square()).sqrt().clamp(min=1e-3)
    middle, breadth = (low * high) ** 0.5, torch.log(torch.tensor(high / low))
    keep = torch.exp(-0.5 * (torch.log(radius / middle) / (0.5 * breadth)).square())
    noise = torch.fft.irfft2(torch.fft.rfft2(white) * keep, s=(height, width))
    return (noise - noise.mean()) / noise.std()


def _freckles(count: int = 80) -> Float[Tensor, "h w"]:
    """Round spots over the cheeks, nose and forehead, in [0, 1]."""
    draw = torch.rand(count, 4, generator=rng(0, "synthface/freckles"))
    longitude = (draw[:, 0] - 0.5) * 3.4
    latitude = (draw[:, 1] - 0.45) * 2.2
    radius = 0.026 + 0.020 * draw[:, 2]
    lat = torch.linspace(-pi / 2, pi / 2, ATLAS[0])[:, None]
    lon = torch.linspace(-pi, pi, ATLAS[1])[None]
    spots = torch.zeros(ATLAS)
    for a, b, r, strength in zip(longitude, latitude, radius, 0.5 + 0.5 * draw[:, 3], strict=True):
        spots = torch.maximum(spots, strength * torch.exp(-(((lon - a) * b.cos()) ** 2 + (lat - b) ** 2) / (2 * r**2)))
    return spots


@lru_cache(maxsize=1)
def head_atlas() -> Float[Tensor, "1 4 h w"]:
    """Skin lightness, skin redness, freckles and hair strands over (latitude, longitude)."""
    h, w = ATLAS
    light = 0.65 * band_noise(h, w, 10.0, 24.0, 2.0, 1) + 0.35 * band_noise(h, w, 24.0, 42.0, 2.0, 2)
    red = band_noise(h, w, 8.0, 18.0, 2.0, 3)
    strands = 0.70 * band_noise(h, w, 26.0, 48.0, 8.0, 4) + 0.50 * band_noise(h, w, 12.0, 26.0, 4.0, 5)
    return torch.stack([light, red, _freckles(), strands])[None]


@lru_cache(maxsize=1)
def plane_atlas() -> Float[Tensor, "1 4 h w"]:
    """Over the square [-1, 1]^2: background coarse and fine, cloth weave, strands of falling hair."""
    size = 512
    return torch.stack(
        [
            band_noise(size, size, 2.0, 5.0, 1.0, 6),
            band_noise(size, size, 6.0, 11.0, 1.0, 7),
            band_noise(size, size, 10.0, 18.0, 1.0, 8),
            0.70 * band_noise(size, size, 10.0, 20.0, 8.0, 9) + 0.50 * band_noise(size, size, 5.0, 10.0, 4.0, 10),
        ]
    )[None]


def look_up(
    atlas: Float[Tensor, "1 C h w"], x: Float[Tensor, "B H W"], y: Float[Tensor, "B H W"]
) -> Float[Tensor, "B C H W"]:
    """The atlas at (x, y) in [-1, 1], bilinear, mirrored beyond; the whole batch is one call."""
    b, h, w = x.shape
    grid = torch.stack([x, y], dim=-1).view(1, b * h, w, 2)
    found = F.grid_sample(atlas.to(x), grid, mode="bilinear", padding_mode="reflection", align_corners=True)
    return found.view(-1, b, h, w).transpose(0, 1)
