"""Point tracking between images by generator features, as in DragGAN but over larger distances."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from autodrag.generator import FrozenGenerator
from autodrag.geometry import corner, sample_at

BLOCK = 6  # generator block with the most discriminative features, according to DragGAN
SEARCHES = ((13, 6.0), (7, 3.0), (7, 3.0))  # (points per side, steps from centre to edge) of each finer grid
LOCATOR_BLOCK = 5  # generator block whose features change less with the shape of a face than those of block 6
LOCATOR_SIDE, WITHIN = 13, 3.0  # points per side of the Locator's grid, and its extent in standard deviations
AROUND = 5  # side of the averaging window of the first, coarse search, in feature pixels


class Tracker:
    """Stores the features at points of some images and finds these points in others.

    features: of the images, from block `BLOCK`. points: image pixels.
    """

    def __init__(
        self, generator: FrozenGenerator, features: Float[Tensor, "B C h w"], points: Float[Tensor, "B P 2"]
    ) -> None:
        self._generator = generator
        self._wanted = [self._read(each, points) for each in _coarse_to_fine(features)]  # [B, P, C] each

    def find(
        self, ws: Float[Tensor, "B L D"], expected: Float[Tensor, "B P 2"], radius: Float[Tensor, "B P"]
    ) -> Float[Tensor, "B P 2"]:
        """Track the points to the images of `ws`. Returns image pixels.

        Searches within `radius` pixels of `expected` in x and y: on a grid of 13 x 13 positions, then on two finer
        grids around the best one. Positions are clamped to the image.
        """
        return self.find_in(self._generator.features(ws, block=BLOCK), expected, radius)

    def find_in(
        self, features: Float[Tensor, "B C h w"], expected: Float[Tensor, "B P 2"], radius: Float[Tensor, "B P"]
    ) -> Float[Tensor, "B P 2"]:
        """`find`, given the features from `BLOCK`."""
        maps = _coarse_to_fine(features)
        height, width = self._generator.resolution
        limit = corner(expected, (height, width))
        best, reach = expected, radius
        for (side, steps), level, wanted in zip(SEARCHES, maps, self._wanted, strict=True):
            places = best[:, :, None] + _grid(side, expected) * reach[:, :, None, None]
            places = torch.minimum(places.clamp(min=0), limit)  # [B, P, side * side, 2]
            found = self._read(level, places.flatten(1, 2)).unflatten(1, places.shape[1:3])
            distance = (found - wanted[:, :, None]).square().sum(dim=3)
            nearest = distance.argmin(dim=2)[:, :, None, None].expand(-1, -1, 1, 2)
            best, reach = places.gather(2, nearest)[:, :, 0], reach / steps
        return best

    def _read(self, features: Float[Tensor, "B C h w"], points: Float[Tensor, "B N 2"]) -> Float[Tensor, "B N C"]:
        return sample_at(features, points, self._generator.resolution)


@dataclass(frozen=True)
class Located:
    """points: image pixels. certainty: in [0, 1], 0 where the features do not improve on the prior."""

    points: Float[Tensor, "B P 2"]
    certainty: Float[Tensor, "B P"]


class Locator:
    """Bayesian point tracking: combines features with a prior on the position.

    A jaw looks the same along its length, and an opening mouth changes its appearance, so the error of the best match
    can exceed the length of the drag. So positions are averaged with weights: a normal prior around the expected one,
    times the likelihood exp(-E / 2 E_min), with E the mean squared difference of standardised features and E_min their
    minimum, which measures how much the appearance of the point has changed.

    ws: latents of the images. points: image pixels in them.
    """

    def __init__(self, generator: FrozenGenerator, ws: Float[Tensor, "B L D"], points: Float[Tensor, "B P 2"]) -> None:
        self._generator = generator
        features = self._features(ws)
        self._std = features.std(dim=(2, 3))[:, None].clamp(min=1e-6)  # [B, 1, C]
        self._wanted = self._read(features, points)

    @torch.no_grad()
    def find(
        self, ws: Float[Tensor, "B L D"], expected: Float[Tensor, "B P 2"], spread: Float[Tensor, " B"]
    ) -> Located:
        """Posterior mean in the images of `ws`, on a grid of 13 x 13 positions. spread: of the prior, in pixels."""
        height, width = self._generator.resolution
        unit = WITHIN * _grid(LOCATOR_SIDE, expected)  # [places, 2], in deviations
        sigma = spread.clamp(min=1e-3)[:, None, None]
        places = expected[:, :, None] + unit * sigma[..., None]  # [B, P, places, 2]
        inside = torch.minimum(places.clamp(min=0), corner(places, (height, width)))
        found = self._read(self._features(ws), inside.flatten(1, 2)).unflatten(1, places.shape[1:3])
        difference = (found - self._wanted[:, :, None]).square().mean(dim=3)
        likely = difference / difference.amin(dim=2, keepdim=True).clamp(min=1e-6)
        chance = (-(likely + unit.square().sum(dim=1)) / 2).softmax(dim=2)[..., None]
        mean = (chance * unit).sum(dim=2)  # [B, P, 2]
        variance = (chance * (unit - mean[:, :, None]).square()).sum(dim=2).mean(dim=2)
        return Located(expected + mean * sigma, (1 - variance).clamp(0, 1))

    def _features(self, ws: Float[Tensor, "B L D"]) -> Float[Tensor, "B C h w"]:
        return self._generator.features(ws, block=LOCATOR_BLOCK).float()

    def _read(self, features: Float[Tensor, "B C h w"], points: Float[Tensor, "B N 2"]) -> Float[Tensor, "B N C"]:
        return sample_at(features, points, self._generator.resolution) / self._std


def _coarse_to_fine(features: Float[Tensor, "B C h w"]) -> list[Float[Tensor, "B C h w"]]:
    """The feature map of each search: averaged for the first, wide search, then unchanged."""
    smooth = F.avg_pool2d(features, AROUND, stride=1, padding=AROUND // 2, count_include_pad=False)
    return [smooth, features, features]


def search_radius(
    handles: Float[Tensor, "B P 2"], targets: Float[Tensor, "B P 2"], image_hw: tuple[int, int]
) -> Float[Tensor, "B P"]:
    """Search radius in pixels: half the length of a drag, clamped to 12 to 64 px at a height of 512."""
    half_way = (targets - handles).norm(dim=-1) / 2
    return half_way.clamp(12 * image_hw[0] / 512, 64 * image_hw[0] / 512)


def _grid(side: int, like: Tensor) -> Float[Tensor, "places 2"]:
    """Offsets (x, y) from -1 to 1."""
    steps = torch.linspace(-1, 1, side, device=like.device, dtype=like.dtype)
    return torch.cartesian_prod(steps, steps)
