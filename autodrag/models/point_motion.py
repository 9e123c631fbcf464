"""Point motion: predicts where points of an image move when its latent changes. A forward model of drags.

Ours, not the paper's. Many latents are equally close to w_n but place the handles differently. L_drag of Eq. 13 tells
them apart by generator features, at ten times the cost of a training step. This network reads only latents, and its
gradient is useful even far from the target, where that of features vanishes (the distal teacher of Jordan and
Rumelhart, Cognitive Science 16, 1992).

A point is first encoded as what it is (e.g. the tip of the nose), then its code is located in both images. A network
that maps both latents and the point directly to a displacement has a third more error.
"""

import math
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
from autodrag.typed import check_bounds

BANDS = 4  # Fourier frequencies; the shortest wave is an eighth of the image side, as neighbouring points move alike
CODE = 16  # size of the code of a point
MOST = 16  # maximum number of points per sample in the landing loss: more add cost and little information
SCALE = 1 / 16  # unit of the predicted positions relative to the image: displacements are small


@dataclass(frozen=True)
class PointMotionConfig:
    """Size of the network."""

    width: int  # of the layers for latents; a quarter of it for points and outputs

    def __post_init__(self) -> None:
        check_bounds("motion.network", self, width=(1, math.inf))


class _Product(nn.Module):
    """An MLP whose hidden layer is the product of the features of one latent and of many queries."""

    def __init__(self, w_dim: int, inputs: int, outputs: int, width: int) -> None:
        super().__init__()
        narrow = max(1, width // 4)
        read = nn.Linear(EDITED_ROWS * w_dim, width)
        with torch.no_grad():  # initialised to average the rows
            read.weight.copy_(read.weight[:, :w_dim].repeat(1, EDITED_ROWS) / EDITED_ROWS**0.5)
        self.latent = nn.Sequential(read, nn.GELU(), nn.Linear(width, width))
        self.question = nn.Sequential(nn.Linear(inputs, narrow), nn.GELU(), nn.Linear(narrow, width))
        self.think = nn.Sequential(nn.GELU(), nn.Linear(width, narrow), nn.GELU())
        self.answer = nn.Linear(narrow, outputs)

    def forward(self, w: Float[Tensor, "B KD"], queries: Float[Tensor, "B P A"]) -> Float[Tensor, "B P T"]:
        hidden = self.think(self.latent(w)[:, None] * self.question(queries))
        with torch.autocast(
            "cpu" if w.is_meta else w.device.type, enabled=False
        ):  # bfloat16 is too coarse for positions
            return self.answer(hidden.float())

    def derivative(self, w: Float[Tensor, "B KD"], queries: Float[Tensor, "B P A"]) -> Float[Tensor, "B P T KD"]:
        """Jacobian of the outputs with respect to the latent, by the chain rule: all points share its layers."""
        first, activation, second = self.latent
        before = first(w)
        query = self.question(queries)
        product = second(activation(before))[:, None] * query  # [B, P, width]
        _, narrow, _ = self.think
        narrowed = narrow(F.gelu(product))
        jacobian = self.answer.weight * _gelu_derivative(narrowed)[:, :, None]  # [B, P, T, narrow]
        jacobian = (jacobian @ narrow.get_parameter("weight")) * (_gelu_derivative(product) * query)[
            :, :, None
        ]  # [B, P, T, width]
        return ((jacobian @ second.weight) * _gelu_derivative(before)[:, None, None]) @ first.weight


class PointMotion(nn.Module):
    """Predicts the displacements of points from the edited rows before and after an edit."""

    def __init__(
        self,
        config: PointMotionConfig,
        w_dim: int,
        mean: Float[Tensor, " D"] | None = None,
        std: Float[Tensor, " D"] | None = None,
    ) -> None:
        """mean, std: of W per dimension; None: identity until loaded."""
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
        """points: pixels of the image of `before`. Returns displacements; the image spans [-1, 1]."""
        codes = self.codes(before, points, image_hw)
        return self.places(after, codes) - self.places(before, codes)

    def codes(
        self, rows: Float[Tensor, "B K D"], points: Float[Tensor, "B P 2"], image_hw: tuple[int, int]
    ) -> Float[Tensor, "B P C"]:
        """Codes of the content at points (image pixels) in the images of the edited rows."""
        with torch.autocast("cpu" if rows.is_meta else rows.device.type, enabled=False):
            places = fourier(to_unit(points.float(), image_hw), BANDS)
        return self.identify(self._read(rows), places)

    def places(self, rows: Float[Tensor, "B K D"], codes: Float[Tensor, "B P C"]) -> Float[Tensor, "B P 2"]:
        """Positions of the codes in the images of the edited rows, up to a constant; the image spans [-1, 1]."""
        return self.locate(self._read(rows), codes) * SCALE

    def derivative(self, rows: Float[Tensor, "B K D"], codes: Float[Tensor, "B P C"]) -> Float[Tensor, "B P 2 K D"]:
        """Jacobian of `places` with respect to the rows."""
        jacobian = self.locate.derivative(self._read(rows), codes) * SCALE
        return jacobian.unflatten(3, rows.shape[1:]) / self.standardise.std

    def _read(self, rows: Float[Tensor, "B K D"]) -> Float[Tensor, "B KD"]:
        """Standardised and concatenated rows: they differ for inverted images."""
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
        normals: Float[Tensor, "B P 2"] | None = None,
    ) -> Float[Tensor, " B"]:
        """`landing_loss` of the first MOST points for an edit to `after`. handles, targets: image pixels."""
        handles, targets, mask = handles[:, :MOST], targets[:, :MOST], mask[:, :MOST]
        normals = None if normals is None else normals[:, :MOST]
        return landing_loss(self(before, after, handles, image_hw), handles, targets, mask, image_hw, normals)


def _gelu_derivative(x: Tensor) -> Tensor:
    return (1 + torch.erf(x / 2**0.5)) / 2 + x * torch.exp(-x.square() / 2) / (2 * torch.pi) ** 0.5
