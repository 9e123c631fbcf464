"""Input tokens of the predictor: the source's feature map, and the handle and target points.

Image and point tokens share one positional embedding, which relates a point to its surroundings.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from autodrag.geometry import patches, rescale
from autodrag.models.attention import mlp

PATCH = 7  # Eq. 9: patches of 7 x 7 feature pixels
BANDS = 8  # frequencies; the shortest wave is 1/128 of the image side


def fourier(x: Float[Tensor, "*batch k"], bands: int = BANDS) -> Float[Tensor, "*batch features"]:
    """Fourier features: x, then sin and cos of 2^j pi x for j < bands; [..., k (2 bands + 1)]."""
    waves = x[..., None] * (math.pi * 2.0 ** torch.arange(bands, device=x.device, dtype=x.dtype))
    return torch.cat([x, waves.sin().flatten(-2), waves.cos().flatten(-2)], dim=-1)


class FourierLinear(nn.Module):
    """Linear layer on the Fourier features of k numbers, in float32: bfloat16 is too coarse for coordinates."""

    def __init__(self, k: int, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(k * (2 * BANDS + 1), width)

    def forward(self, x: Float[Tensor, "*batch k"]) -> Float[Tensor, "*batch E"]:
        """[..., k] -> [..., width]."""
        with torch.autocast("cpu" if x.is_meta else x.device.type, enabled=False):
            return self.linear(fourier(x).to(self.linear.weight.dtype))


class FeatureTokens(nn.Module):
    """F_0 -> strided convolutions -> F_seq: one token per cell of a grid of at most `side` x `side`, row by row.

    Each convolution halves the resolution and doubles the channels, up to `width`. F_0 may have any size.
    """

    def __init__(self, feature_shape: tuple[int, int, int], width: int, side: int) -> None:
        super().__init__()
        channels, height, breadth = feature_shape
        longest = max(height, breadth)
        self.grid = (min(height, max(1, side * height // longest)), min(breadth, max(1, side * breadth // longest)))
        halvings = max(0, math.ceil(math.log2(longest / side)))
        widths = [max(16, width >> left) for left in reversed(range(max(1, halvings)))]
        stride = 2 if halvings else 1
        layers: list[nn.Module] = []
        for inputs, outputs in zip([channels, *widths], widths, strict=False):
            layers += [nn.Conv2d(inputs, outputs, 3, stride, padding=1), nn.GELU()]
        self.convolutions = nn.Sequential(*layers)
        self.mlp = mlp(width, width, width)

    def forward(self, features: Float[Tensor, "B C h w"]) -> Float[Tensor, "B S E"]:
        """features: standardised F_0."""
        x = self.convolutions(features)  # [B, E, about side, about side]
        if tuple(x.shape[-2:]) != self.grid:
            x = F.adaptive_avg_pool2d(x, self.grid)
        return self.mlp(x.flatten(2).transpose(1, 2))  # [B, S, E]

    def cell_centres(self) -> Float[Tensor, "S 2"]:
        """Centres of the cells, (x, y) in [-1, 1]."""
        rows, columns = self.grid
        y = (torch.arange(rows) + 0.5) / rows * 2 - 1
        x = (torch.arange(columns) + 0.5) / columns * 2 - 1
        return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).reshape(-1, 2)


class PointTokens(nn.Module):
    """One token per point, from the 7 x 7 patch of F_0 around it, reduced to width / 4 channels."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.reduce = nn.Linear(channels, width // 4)
        self.mlp = mlp(PATCH * PATCH * (width // 4), width, width)

    def forward(
        self, features: Float[Tensor, "B C h w"], points: Float[Tensor, "B N 2"], image_hw: tuple[int, int]
    ) -> Float[Tensor, "B N E"]:
        """features: standardised F_0. points: image pixels."""
        hw = (features.shape[-2], features.shape[-1])
        places = rescale(points, image_hw, hw)
        if PATCH**2 * points.shape[1] < hw[0] * hw[1]:
            around = self.reduce(patches(features, places, PATCH))  # [B, N, 49, E / 4]
        else:  # both steps are linear, so their order is free: this one is cheaper for many points
            reduced = self.reduce(features.movedim(1, -1)).movedim(-1, 1)  # [B, E / 4, h, w]
            around = patches(reduced, places, PATCH).to(reduced.dtype)  # [B, N, 49, E / 4]
        # contiguous: GELU's backward pass is slow on strided tensors
        return self.mlp(F.gelu(around.contiguous()).flatten(2))  # [B, N, E]
