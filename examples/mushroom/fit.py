"""Which mushroom an image shows: the renderer's parameters fitted to it, and where the handles of a drag have gone.

Nothing here knows the method that made the image.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from renderer import GEOMETRY, Places, render, where
from torch import Tensor
from torch.func import jacfwd, vmap
from torch.nn import functional as F

from autodrag.seeding import rng

GUESSES = 400  # random geometries of which the most similar ones are starts
STARTS = 2
STEPS = 10  # of Levenberg-Marquardt
LIMIT = 1.1  # of the parameters; those of the domain are in [-1, 1]


@dataclass(frozen=True)
class Fit:
    """geometry, colours: of the most similar mushroom. residual: root mean square error, of a range from -1 to 1."""

    geometry: Float[Tensor, "B 7"]
    colours: Float[Tensor, "B 5"]
    residual: Float[Tensor, " B"]


def fit(images: Float[Tensor, "B 3 S S"], geometry: Float[Tensor, "B 7"], colours: Float[Tensor, "B 5"]) -> Fit:
    """The best of several starts: the given parameters (those before the edit), and the most similar of random ones."""
    drawn = rng(0, "mushroom/guesses")
    guesses = torch.tanh(0.8 * torch.randn(GUESSES, GEOMETRY, generator=drawn))
    found = []
    for image, own, colour in zip(images, geometry, colours, strict=True):
        renders = F.avg_pool2d(render(guesses, colour.expand(GUESSES, -1)), 4)
        unlike = (renders - F.avg_pool2d(image[None], 4)).square().mean(dim=(1, 2, 3))
        starts = torch.cat([own[None], guesses[unlike.topk(STARTS, largest=False).indices]])
        found.append(_best(image, torch.cat([starts, colour.expand(len(starts), -1)], dim=1)))
    best = torch.stack([parameters for parameters, _ in found])
    return Fit(best[:, :GEOMETRY], best[:, GEOMETRY:], torch.stack([residual for _, residual in found]))


def _best(image: Float[Tensor, "3 S S"], starts: Float[Tensor, "B P"]) -> tuple[Float[Tensor, " P"], Float[Tensor, ""]]:
    """Levenberg-Marquardt from all starts at once, first on a blurred image; the best end and its residual."""
    point = starts
    for blur in (True, False):
        damping = torch.full((len(point),), 1e-2)
        missed = _missed(point, image, blur)
        for _ in range(STEPS):
            slopes = _slopes(point, image, blur)
            curvature = slopes.transpose(1, 2) @ slopes
            curvature = curvature + damping[:, None, None] * torch.diag_embed(curvature.diagonal(dim1=1, dim2=2) + 1e-3)
            step = torch.linalg.solve(curvature, slopes.transpose(1, 2) @ missed[..., None])[..., 0]
            candidate = (point - step).clamp(-LIMIT, LIMIT)
            there = _missed(candidate, image, blur)
            better = there.square().sum(dim=1) < missed.square().sum(dim=1)
            point = torch.where(better[:, None], candidate, point)
            missed = torch.where(better[:, None], there, missed)
            damping = torch.where(better, damping / 4, damping * 8).clamp(1e-6, 1e4)
    residuals = _missed(point, image, False).square().mean(dim=1).sqrt()
    return point[residuals.argmin()], residuals.min()


def _missed(parameters: Float[Tensor, "B P"], image: Float[Tensor, "3 S S"], blur: bool) -> Float[Tensor, "B pixels"]:
    """Render minus image."""
    difference = render(parameters[:, :GEOMETRY], parameters[:, GEOMETRY:]) - image
    return (F.avg_pool2d(difference, 2) if blur else difference).flatten(1)


def _slopes(point: Float[Tensor, "B P"], image: Float[Tensor, "3 S S"], blur: bool) -> Float[Tensor, "B pixels P"]:
    return vmap(jacfwd(lambda one: _missed(one[None], image, blur)[0]))(point)


def reach(
    geometry: Float[Tensor, "B 7"], seen: Places, targets: Float[Tensor, "B N 2"], size: int
) -> Float[Tensor, " B"]:
    """The least mean distance in pixels at which any mushroom of the domain has the places from the targets."""
    coordinate = geometry.clamp(-0.97, 0.97).atanh().requires_grad_()
    optimiser = torch.optim.Adam([coordinate], lr=0.1)
    best = torch.full((len(geometry),), torch.inf)
    for _ in range(200):
        distance = (where(coordinate.tanh(), seen, size) - targets).norm(dim=2).mean(dim=1)
        best = torch.minimum(best, distance.detach())
        optimiser.zero_grad()
        distance.sum().backward()
        optimiser.step()
    return best
