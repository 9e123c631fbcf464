"""Where points of an image go when its latent moves: the drag's question the other way round, for training alone.

Ours, not the paper's. Many latents are as near to w_n as a prediction is, and differ in where they put the handles.
L_drag of Eq. 13 tells them apart by the generator's features, at ten times the cost of a step; this network does so
from latents alone, and says something far from the target too, where features say nothing: the distal teacher of Jordan
and Rumelhart (Cognitive Science 16, 1992).

A point is first given a code that says what it is (the tip of this nose), then places are found for the code in both
images. Without that detour, from both latents and the point at once, the network errs a third more.
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
CODE = 16  # numbers that say what a point is
MOST = 16  # points of a sample whose landing is looked at, at most: more of them cost more than they tell
SCALE = 1 / 16  # places are told by a sixteenth of the image: displacements are small beside its side


@dataclass(frozen=True)
class PointMotionConfig:
    """width: of the layers that read the latents; points are read, and answers written, by a quarter of that."""

    width: int


class _Product(nn.Module):
    """An MLP of a latent and what is asked about it, which meet in a product: one latent, many questions."""

    def __init__(self, w_dim: int, asked: int, told: int, width: int) -> None:
        super().__init__()
        narrow = max(1, width // 4)
        read = nn.Linear(EDITED_ROWS * w_dim, width)
        with torch.no_grad():  # begins with the mean of the rows
            read.weight.copy_(read.weight[:, :w_dim].repeat(1, EDITED_ROWS) / EDITED_ROWS**0.5)
        self.latent = nn.Sequential(read, nn.GELU(), nn.Linear(width, width))
        self.question = nn.Sequential(nn.Linear(asked, narrow), nn.GELU(), nn.Linear(narrow, width))
        self.think = nn.Sequential(nn.GELU(), nn.Linear(width, narrow), nn.GELU())
        self.answer = nn.Linear(narrow, told)

    def forward(self, w: Float[Tensor, "B KD"], asked: Float[Tensor, "B P A"]) -> Float[Tensor, "B P T"]:
        thought = self.think(self.latent(w)[:, None] * self.question(asked))
        with torch.autocast("cpu" if w.is_meta else w.device.type, enabled=False):  # places do not survive bfloat16
            answer: Tensor = self.answer(thought.float())
        return answer

    def derivative(self, w: Float[Tensor, "B KD"], asked: Float[Tensor, "B P A"]) -> Float[Tensor, "B P T KD"]:
        """Of the answers by the latents: the chain rule written out, for all points share what reads the latent."""
        read, bend, tell = self.latent
        before = read(w)
        question = self.question(asked)
        product = tell(bend(before))[:, None] * question  # [B, P, width]
        _, narrow, _ = self.think
        narrowed = narrow(F.gelu(product))
        slope = self.answer.weight * _gelu_slope(narrowed)[:, :, None]  # [B, P, T, narrow]
        slope = (slope @ narrow.get_parameter("weight")) * (_gelu_slope(product) * question)[
            :, :, None
        ]  # [B, P, T, width]
        by_latent: Tensor = ((slope @ tell.weight) * _gelu_slope(before)[:, None, None]) @ read.weight
        return by_latent


class PointMotion(nn.Module):
    """Edited rows before and after, and points of the image before, in; how far each of them moves out."""

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
        """What lies at points (pixels) of the images of edited rows."""
        with torch.autocast("cpu" if rows.is_meta else rows.device.type, enabled=False):
            places = fourier(to_unit(points.float(), image_hw), BANDS)
        return self.identify(self._read(rows), places)

    def places(self, rows: Float[Tensor, "B K D"], codes: Float[Tensor, "B P C"]) -> Float[Tensor, "B P 2"]:
        """Where that lies in the images of edited rows, up to a constant, in units in which an image spans -1..1."""
        return self.locate(self._read(rows), codes) * SCALE

    def derivative(self, rows: Float[Tensor, "B K D"], codes: Float[Tensor, "B P C"]) -> Float[Tensor, "B P 2 K D"]:
        """Of `places` by the rows."""
        slopes = self.locate.derivative(self._read(rows), codes) * SCALE
        return slopes.unflatten(3, rows.shape[1:]) / self.standardise.std

    def _read(self, rows: Float[Tensor, "B K D"]) -> Float[Tensor, "B KD"]:
        """Every row counts by itself: those of mapped latents are equal, those of inverted pictures are not."""
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
