"""Which synthface a picture shows: the renderer's parameters fitted to it, and what they cannot explain of it.

Levenberg-Marquardt over geometry and appearance at once. Derivatives are finite differences, one batch of small
renders, and are kept up between those by Broyden's rank-one update, which costs one render. The fit knows nothing of
what made the picture, so it judges every editing method alike.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from autodrag.domains.synthface.parameters import GEOMETRY
from autodrag.domains.synthface.renderer import render

SIZE = 64  # pixels of the renders that are compared: below, edges are wider than the features that they bound
BLURS = (2, 1)  # of each round, 3 x 3 each: textures, which no generator matches, would hide where features lie
UPDATES = 4  # updates of the parameters in a round
DELTA = 0.04  # step of a derivative; parameters are in [-1, 1]
DAMPING = 1e-3  # of the first update, as a share of the diagonal
RAISE, LOWER = 8.0, 5.0  # factors of the damping after an update that did not help, and after one that did
LEAST, MOST = 1e-5, 1e3  # bounds of the damping
PASSES = 4  # over the bounds that an update runs into
PRIOR = 1e-5  # weight of the way from the start: what nothing shows (a gaze behind closed lids) stays as it was


@dataclass(frozen=True)
class Fit:
    """geometry, appearance: in [-1, 1]. residual: root mean square of picture minus render, of a range from -1 to 1."""

    geometry: Float[Tensor, "N G"]
    appearance: Float[Tensor, "N A"]
    residual: Float[Tensor, " N"]


@torch.no_grad()
def fit(images: Float[Tensor, "N 3 H W"], start: Float[Tensor, "N P"]) -> Fit:
    """The faces that come nearest to pictures in [-1, 1], from a first guess of (geometry, appearance).

    It finds the nearest minimum: a start whose features lie beside the picture's may end beside them.
    """
    found = [_fit_one(image, guess) for image, guess in zip(images, start, strict=True)]
    parameters = torch.stack(found)
    return Fit(parameters[:, : len(GEOMETRY)], parameters[:, len(GEOMETRY) :], residual(images, parameters))


@torch.no_grad()
def residual(images: Float[Tensor, "N 3 H W"], parameters: Float[Tensor, "N P"]) -> Float[Tensor, " N"]:
    """Root mean square of pictures minus the renders of these parameters, as `Fit.residual`."""
    wanted = F.adaptive_avg_pool2d(images.float(), SIZE).flatten(1)
    return (wanted - _draw(parameters.clamp(-1, 1))).square().mean(dim=1).sqrt()


def _fit_one(image: Tensor, start: Tensor) -> Float[Tensor, " P"]:
    small = F.adaptive_avg_pool2d(image.float(), SIZE)[None]
    start = start.float().clamp(-1, 1)
    point = start
    for blur in BLURS:
        wanted, drawn = _blurred(small, blur)[0], _draw(point[None], blur)[0]
        cost, damping = (wanted - drawn).square().mean() + PRIOR * (point - start).square().sum(), DAMPING
        slopes = _slopes(point, drawn, blur)
        for _ in range(UPDATES):
            curvature = slopes @ slopes.T / len(wanted)
            pull = slopes @ (wanted - drawn) / len(wanted) - PRIOR * (point - start)
            curvature.diagonal().mul_(1 + damping).add_(PRIOR)
            candidate = minimum_in_box(point, curvature, pull)
            step, there = candidate - point, _draw(candidate[None], blur)[0]
            slopes += torch.outer(step, there - drawn - step @ slopes) / step.square().sum().clamp(min=1e-12)
            error = (wanted - there).square().mean() + PRIOR * (candidate - start).square().sum()
            if error < cost:
                point, drawn, cost = candidate, there, error
                damping = max(LEAST, damping / LOWER)
            else:
                damping = min(MOST, damping * RAISE)
    return point


def minimum_in_box(
    point: Float[Tensor, " P"], curvature: Float[Tensor, "P P"], pull: Float[Tensor, " P"]
) -> Float[Tensor, " P"]:
    """The minimum of a quadratic around `point` in the box [-1, 1]; what runs into a bound stays there, and the others
    answer to it.

    pull: minus the gradient at `point`.
    """
    free = torch.ones_like(point, dtype=torch.bool)
    candidate = point
    for _ in range(PASSES):
        fixed = candidate - point
        step = torch.linalg.solve(curvature[free][:, free], (pull - curvature[:, ~free] @ fixed[~free])[free])
        candidate = candidate.clone()
        candidate[free] = point[free] + step
        beyond = candidate.abs() > 1
        candidate = candidate.clamp(-1, 1)
        if not bool(beyond.any()):
            break
        free = free & ~beyond
    return candidate


def _slopes(point: Tensor, drawn: Tensor, blur: int) -> Float[Tensor, "P pixels"]:
    """Derivatives of the render, each with a step towards the middle of the range."""
    delta = torch.where(point > 0, -DELTA, DELTA)
    return (_draw(point + delta.diag(), blur) - drawn) / delta[:, None]


def _draw(parameters: Float[Tensor, "N P"], blur: int = 0) -> Float[Tensor, "N pixels"]:
    return _blurred(render(parameters[:, : len(GEOMETRY)], parameters[:, len(GEOMETRY) :], SIZE).image, blur)


def _blurred(images: Float[Tensor, "N 3 h w"], times: int) -> Float[Tensor, "N pixels"]:
    for _ in range(times):
        images = F.avg_pool2d(images, 3, 1, 1, count_include_pad=False)
    return images.flatten(1)
