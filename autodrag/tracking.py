"""Where the points of one image are in another, by the generator's features: as DragGAN tracks, but farther."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from autodrag.generator import FrozenGenerator
from autodrag.geometry import corner, sample_at

BLOCK = 6  # of the generator: the features that DragGAN found to tell points apart best
SEARCHES = ((13, 6.0), (7, 3.0), (7, 3.0))  # (places a side, steps from its centre to its edge) of each finer grid
LOCATOR_BLOCK = 5  # whose features change less from one shape of a face to another than those of block 6
LOCATOR_SIDE, WITHIN = 13, 3.0  # places a side of the Locator's grid, which reaches that many deviations
AROUND = 5  # feature pixels whose mean is compared in the first, coarse search


class Tracker:
    """Remembers what lies at points of some images and finds it in others.

    features: of the images, the generator's output of `BLOCK`. points: image pixels.
    """

    def __init__(
        self, generator: FrozenGenerator, features: Float[Tensor, "B C h w"], points: Float[Tensor, "B P 2"]
    ) -> None:
        self._generator = generator
        self._wanted = [self._read(each, points) for each in _coarse_to_fine(features)]  # [B, P, C] each

    def find(
        self, ws: Float[Tensor, "B L D"], expected: Float[Tensor, "B P 2"], radius: Float[Tensor, "B P"]
    ) -> Float[Tensor, "B P 2"]:
        """Where the points are in the images of `ws`.

        Looked for within `radius` pixels of `expected` in x and y: on a grid of 13 x 13 places, then around the best of
        them on two finer ones. What lies outside the image is never chosen.
        """
        return self.find_in(self._generator.features(ws, block=BLOCK), expected, radius)

    def find_in(
        self, features: Float[Tensor, "B C h w"], expected: Float[Tensor, "B P 2"], radius: Float[Tensor, "B P"]
    ) -> Float[Tensor, "B P 2"]:
        """`find`, in images whose features of `BLOCK` are given."""
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
    """points: image pixels. certainty: in [0, 1], the share of what was expected that the features overrule."""

    points: Float[Tensor, "B P 2"]
    certainty: Float[Tensor, "B P"]


class Locator:
    """Where points of some images probably are in others, by the features and by what is expected.

    A jaw looks alike all along, and a mouth that opens does not look as it did: the best match alone can be farther off
    than the drag was. So places are weighed: a normal distribution around where the point should be, times
    exp(-E / 2 E_min), E being the mean square difference of standardised features and E_min the least of them, which
    tells how much the point has changed its looks.
    ws: latents of the images. points: in their pixels.
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
        """Posterior mean in the images of `ws`, over a grid of 13 x 13 places. spread: deviation in x and y, pixels."""
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
    """The map for each search: means of neighbourhoods, which a wide search confuses less, then the features."""
    smooth = F.avg_pool2d(features, AROUND, stride=1, padding=AROUND // 2, count_include_pad=False)
    return [smooth, features, features]


def search_radius(
    handles: Float[Tensor, "B P 2"], targets: Float[Tensor, "B P 2"], image_hw: tuple[int, int]
) -> Float[Tensor, "B P"]:
    """How far from its target a dragged handle may have ended: half its way, from 12 to 64 px of an image 512 high."""
    half_way = (targets - handles).norm(dim=-1) / 2
    return half_way.clamp(12 * image_hw[0] / 512, 64 * image_hw[0] / 512)


def _grid(side: int, like: Tensor) -> Float[Tensor, "places 2"]:
    """Offsets (x, y) from -1 to 1."""
    steps = torch.linspace(-1, 1, side, device=like.device, dtype=like.dtype)
    return torch.cartesian_prod(steps, steps)
