"""Point motion: where points of an image go when its latent moves. A forward model of drags.

Ours, not the paper's. Many latents are equally near to w_n and differ in where they put the handles. L_drag of Eq. 13
distinguishes them by the generator's features, at ten times the cost of a step. This network needs latents only, and
has a useful gradient far from the target too, where features have none: the distal teacher of Jordan and Rumelhart
(Cognitive Science 16, 1992).

A point is first encoded as what it is (the tip of this nose), then the code is located in both images. A network
without this code, from both latents and the point at once, has a third more error.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from autodrag.geometry import to_unit
from autodrag.latents import EDITED_ROWS
from autodrag.losses import landing_loss
from autodrag.models.statistics import Standardise
from autodrag.models.tokens import fourier

BANDS = 4  # shortest wave: an eighth of the image side. Neighbouring points move alike
CODE = 16  # size of the code of a point
MOST = 16  # largest number of points of a sample in the landing loss: more of them add cost and little information
SCALE = 1 / 16  # unit of the predicted places, of the image side: displacements are small


@dataclass(frozen=True)
class PointMotionConfig:
    """Size of the network."""

    width: int  # of the layers for latents; those for points and outputs have a quarter of it


class _Product(nn.Module):
    """An MLP whose hidden layer is the product of one latent's features and those of many queries."""

    def __init__(self, w_dim: int, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        narrow = max(1, width // 4)
        read = nn.Linear(EDITED_ROWS * w_dim, width)
        with torch.no_grad():  # starts as the mean of the rows
            read.weight.copy_(read.weight[:, :w_dim].repeat(1, EDITED_ROWS) / EDITED_ROWS**0.5)
        self.latent = nn.Sequential(read, nn.GELU(), nn.Linear(width, width))
        self.question = nn.Sequential(nn.Linear(inputs, narrow), nn.GELU(), nn.Linear(narrow, width))
        self.think = nn.Sequential(nn.GELU(), nn.Linear(width, narrow), nn.GELU())
        self.answer = nn.Linear(narrow, outputs)

    def forward(self, w: Float[Tensor, "B KD"], queries: Float[Tensor, "B P A"]) -> Float[Tensor, "B P T"]:
        thought = self.think(self.latent(w)[:, None] * self.question(queries))
        with torch.autocast("cpu" if w.is_meta else w.device.type, enabled=False):  # places do not survive bfloat16
            return self.answer(thought.float())

    def derivative(self, w: Float[Tensor, "B KD"], queries: Float[Tensor, "B P A"]) -> Float[Tensor, "B P T KD"]:
        """Of the outputs by the latents, by the chain rule: all points share the layers of the latent."""
        read, bend, tell = self.latent
        before = read(w)
        question = self.question(queries)
        product = tell(bend(before))[:, None] * question  # [B, P, width]
        _, narrow, _ = self.think
        narrowed = narrow(F.gelu(product))
        slope = self.answer.weight * _gelu_slope(narrowed)[:, :, None]  # [B, P, T, narrow]
        slope = (slope @ narrow.get_parameter("weight")) * (_gelu_slope(product) * question)[
            :, :, None
        ]  # [B, P, T, width]
        return ((slope @ tell.weight) * _gelu_slope(before)[:, None, None]) @ read.weight


class PointMotion(nn.Module):
    """Predicts the displacement of points from the edited rows before and after a move."""

    def __init__(
        self,
        config: PointMotionConfig,
        w_dim: int,
        mean: Float[Tensor, " D"] | None = None,
        std: Float[Tensor, " D"] | None = None,
    ) -> None:
        """mean, std: of W per dimension; None: identity, to be loaded."""
        super().__init__()
        self.config = config
        self.standardise = Standardise(
            torch.zeros(w_dim) if mean is None else mean, torch.ones(w_dim) if std is None else std
        )
        self.identify = _Product(w_dim, 2 * (2 * BANDS + 1), CODE, config.width)
        self.locate = _Product(w_dim, CODE, 2, config.width)

    def forward(
        self,
        before: Float[Tensor, "B K D"],
        after: Float[Tensor, "B K D"],
        points: Float[Tensor, "B P 2"],
        image_hw: tuple[int, int],
    ) -> Float[Tensor, "B P 2"]:
        """points: pixels of the image of `before`. Displacements in units in which the image spans -1..1."""
        codes = self.codes(before, points, image_hw)
        return self.places(after, codes) - self.places(before, codes)

    def codes(
        self, rows: Float[Tensor, "B K D"], points: Float[Tensor, "B P 2"], image_hw: tuple[int, int]
    ) -> Float[Tensor, "B P C"]:
        """Codes of what lies at points (pixels) of the images of edited rows."""
        with torch.autocast("cpu" if rows.is_meta else rows.device.type, enabled=False):
            places = fourier(to_unit(points.float(), image_hw), BANDS)
        return self.identify(self._read(rows), places)

    def places(self, rows: Float[Tensor, "B K D"], codes: Float[Tensor, "B P C"]) -> Float[Tensor, "B P 2"]:
        """Where the codes are in the images of edited rows, up to a constant; an image spans -1..1."""
        return self.locate(self._read(rows), codes) * SCALE

    def derivative(self, rows: Float[Tensor, "B K D"], codes: Float[Tensor, "B P C"]) -> Float[Tensor, "B P 2 K D"]:
        """Of `places` by the rows."""
        slopes = self.locate.derivative(self._read(rows), codes) * SCALE
        return slopes.unflatten(3, rows.shape[1:]) / self.standardise.std

    def _read(self, rows: Float[Tensor, "B K D"]) -> Float[Tensor, "B KD"]:
        """All rows: those of mapped latents are equal, those of inverted pictures are not."""
        with torch.autocast("cpu" if rows.is_meta else rows.device.type, enabled=False):
            return self.standardise(rows.float()).flatten(1)

    def missed(
        self,
        before: Float[Tensor, "B K D"],
        after: Float[Tensor, "B K D"],
        handles: Float[Tensor, "B P 2"],
        targets: Float[Tensor, "B P 2"],
        mask: Bool[Tensor, "B P"],
        image_hw: tuple[int, int],
    ) -> Float[Tensor, " B"]:
        """`landing_loss` of the first points: how far from the targets a move to `after` puts them."""
        handles, targets, mask = handles[:, :MOST], targets[:, :MOST], mask[:, :MOST]
        return landing_loss(self(before, after, handles, image_hw), handles, targets, mask, image_hw)


def _gelu_slope(x: Tensor) -> Tensor:
    return (1 + torch.erf(x / 2**0.5)) / 2 + x * torch.exp(-x.square() / 2) / (2 * torch.pi) ** 0.5
