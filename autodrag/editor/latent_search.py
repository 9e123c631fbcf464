"""Inversion after the encoder: refine its latents while keeping them editable.

Drag methods are trained on mapped latents, which vary along few directions of W. Latents outside this subspace
reproduce images best but do not respond well to drags. So the variables are whitened coordinates of W
(`models.whitening`): one offset shared by the edited rows, one shared by the kept rows, and one per row, as in e4e (Tov
et al. 2021). The objective is

    dissimilarity(G(w), image) + mean_weight |y_mean|^2
        + edited_weight |y_edited - mean|^2 + kept_weight |y_kept - mean|^2,

averaged over coordinates. The average effect of offsets on images (`Encoder.image_directions`) gives an approximate
Gauss-Newton matrix for free, which preconditions L-BFGS.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from autodrag.editor.quasi_newton import minimise
from autodrag.generator import FrozenGenerator
from autodrag.latents import EDITED_ROWS, split
from autodrag.models import Encoder
from autodrag.vision.image_loss import Distance

CURVATURE = 10.0  # of the dissimilarity, per mean square change of pixels
FLOOR = 3e-3  # curvature along directions that do not change the image


@dataclass(frozen=True)
class SearchConfig:
    """Weights of the penalties, on squared whitened coordinates of W."""

    mean_weight: float = 1e-2  # of the mean of the rows
    edited_weight: float = 0.1  # of the edited rows' differences from their mean
    kept_weight: float = 1e-3  # of the kept rows' differences from theirs


class LatentSearch:
    """picture: in [-1, 1]. start: the encoder's latents. distance: dissimilarity of two images."""

    def __init__(
        self,
        generator: FrozenGenerator,
        encoder: Encoder,
        picture: Float[Tensor, "1 3 H W"],
        start: Float[Tensor, "1 L D"],
        distance: Distance,
        config: SearchConfig,
    ) -> None:
        self._generator, self._whitening, self._config = generator, encoder.whitening, config
        self._picture, self._distance = picture, distance
        self._start = self._whitening.coordinates(start[0])  # [L, Y]
        self._solve = inverse_of_curvature(encoder, config)

    def run(self, evaluations: int) -> Iterator[tuple[float, Float[Tensor, "1 L D"]]]:
        """Yield the best loss so far and its latents after each evaluation (one synthesis with gradient)."""
        zeros = self._start.new_zeros((2 + len(self._start)) * self._start.shape[1])
        for loss, moves in minimise(self._evaluate, zeros, self._solve, evaluations):
            yield loss, self._whitening.latents(self._moved(moves))[None]

    def _moved(self, moves: Float[Tensor, " N"]) -> Float[Tensor, "L Y"]:
        """Coordinates of all rows. moves: offsets shared by the edited rows, by the kept rows, and per row."""
        edited, kept, own = moves.view(-1, self._start.shape[1]).split([1, 1, len(self._start)])
        count = min(EDITED_ROWS, len(self._start))
        shared = torch.cat([edited.expand(count, -1), kept.expand(len(self._start) - count, -1)])
        return self._start + shared + own

    def _evaluate(self, moves: Float[Tensor, " N"]) -> tuple[float, Float[Tensor, " N"]]:
        config = self._config
        with torch.enable_grad():
            moves = moves.detach().requires_grad_()
            y = self._moved(moves)
            image = self._generator.synthesize(self._whitening.latents(y)[None]).float()
            loss = self._distance(image, self._picture)
            for rows, apart in zip(split(y), (config.edited_weight, config.kept_weight), strict=True):
                if len(rows):
                    mean = rows.mean(dim=0)
                    loss = loss + config.mean_weight * mean.square().mean() + apart * (rows - mean).square().mean()
            (gradient,) = torch.autograd.grad(loss, moves)
        return loss.item(), gradient


def inverse_of_curvature(encoder: Encoder, config: SearchConfig) -> Callable[[Tensor], Tensor]:
    """Multiplication by (CURVATURE S^T S + diagonal)^-1, by the Woodbury identity. S: encoder's `image_directions`."""
    rows, size = encoder.num_ws, encoder.whitening.size
    seen = encoder.image_directions @ encoder.whitening.basis  # [R, L, Y]
    edited, kept = split(seen)
    shown = torch.cat([edited.sum(dim=1, keepdim=True), kept.sum(dim=1, keepdim=True), seen], dim=1).flatten(1)
    own = torch.full((rows, size), FLOOR, device=seen.device)
    for part, apart in zip(split(own), (config.edited_weight, config.kept_weight), strict=True):
        part += 2 * apart / max(1, part.numel())
    diagonal = torch.cat([torch.full((2, size), FLOOR, device=seen.device), own]).flatten()
    scaled = shown / diagonal
    inner = torch.linalg.cholesky(torch.eye(len(shown), device=seen.device) / CURVATURE + scaled @ shown.T)

    def solve(gradient: Tensor) -> Tensor:
        moved = torch.cholesky_solve((scaled @ gradient)[:, None], inner)[:, 0]
        return gradient / diagonal - moved @ scaled

    return solve
