"""Analysis by synthesis: fit the renderer's parameters to an image, and measure what they cannot explain.

Levenberg-Marquardt over geometry and appearance jointly, in two rounds, with a search of mouth and nose between them.
The Jacobian is computed by finite differences (one batch of small renders) once per round and then maintained by
Broyden's rank-one update, at one render each. The fit does not depend on how the image was made, so it treats all
editing methods equally.
"""

from dataclasses import dataclass
from itertools import product

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from autodrag.domains.synthface.parameters import GEOMETRY
from autodrag.domains.synthface.places import PARTS, places
from autodrag.domains.synthface.renderer import render

SIZE = 64  # side in pixels at which images and renders are compared
DELTA = 0.04  # finite difference step; parameters are in [-1, 1]
DAMPING = 1e-3  # initial damping, relative to the diagonal
RAISE, LOWER = 8.0, 5.0  # factors of the damping after a rejected and an accepted update
LEAST, MOST = 1e-5, 1e3  # bounds of the damping
PASSES = 4  # maximum passes of the active set of bounds
PATCH, STRIDE = 6, 2  # of the squares of `Fit.patch`, in pixels of SIZE
NO_FACE = [PARTS.index(part) for part in ("background", "body", "back hair", "cap")]  # hair is hard to fit
PRIOR = 1e-6  # penalty on the distance from the start, for unobservable parameters (e.g. gaze behind closed lids)


@dataclass(frozen=True)
class Round:
    """drawn: side of the renders in pixels, averaged to SIZE. blurs: with 3 x 3 boxes. updates: of the parameters."""

    drawn: int
    blurs: int
    updates: int


#: Blurred, to come near: textures, which generators do not reproduce, would obscure the features.
NEAR = Round(drawn=64, blurs=2, updates=4)
#: Parameters whose values are tried between the rounds: from lips to lips that they do not overlap, no gradient leads.
TRIED = (("mouth_open", "smile"), ("nose_length",))
VALUES = (-0.9, -0.45, 0.0, 0.45, 0.9)
TRIAL = Round(drawn=64, blurs=1, updates=0)
#: Sharp, from renders fine enough that lips and lids average as those of an image do.
SHARP = Round(drawn=128, blurs=0, updates=8)


@dataclass(frozen=True)
class Fit:
    """geometry, appearance: in [-1, 1]. residual: root mean square of image minus render, both in [-1, 1]. patch: the
    same of the mean colours of the worst square of the face, a tenth of the image wide; large where a part has faded.
    """

    geometry: Float[Tensor, "N G"]
    appearance: Float[Tensor, "N A"]
    residual: Float[Tensor, " N"]
    patch: Float[Tensor, " N"]


@torch.no_grad()
def fit(images: Float[Tensor, "N 3 H W"], start: Float[Tensor, "N P"]) -> Fit:
    """The faces that best match images in [-1, 1], from an initial guess of (geometry, appearance).

    Finds a local minimum: features of the start, but mouth and nose, should overlap those of the image.
    """
    found = [_fit_one(image, guess) for image, guess in zip(images, start, strict=True)]
    parameters = torch.stack(found)
    difference = _difference(images, parameters)
    squares = F.avg_pool2d(difference * _on_face(parameters), PATCH, STRIDE)
    patch = squares.square().mean(dim=1).amax(dim=(1, 2)).sqrt()
    return Fit(parameters[:, : len(GEOMETRY)], parameters[:, len(GEOMETRY) :], _root_mean_square(difference), patch)


@torch.no_grad()
def residual(images: Float[Tensor, "N 3 H W"], parameters: Float[Tensor, "N P"]) -> Float[Tensor, " N"]:
    """Root mean square of images minus the renders of parameters, as `Fit.residual`."""
    return _root_mean_square(_difference(images, parameters))


def _difference(images: Float[Tensor, "N 3 H W"], parameters: Float[Tensor, "N P"]) -> Float[Tensor, "N 3 S S"]:
    wanted = F.adaptive_avg_pool2d(images.float(), SIZE)
    return wanted - _draw(parameters.clamp(-1, 1), SHARP).view_as(wanted)


def _on_face(parameters: Float[Tensor, "N P"]) -> Bool[Tensor, "N 1 S S"]:
    """Pixels of skin, eyes, brows, nose and mouth."""
    line = torch.arange(SIZE, dtype=torch.float32)
    y, x = torch.meshgrid(line, line, indexing="ij")
    pixels = torch.stack([x.flatten(), y.flatten()], dim=1)
    parts = torch.stack([places(face[: len(GEOMETRY)], pixels, SIZE).part for face in parameters])
    return ~torch.isin(parts, torch.tensor(NO_FACE)).view(-1, 1, SIZE, SIZE)


def _root_mean_square(difference: Float[Tensor, "N 3 S S"]) -> Float[Tensor, " N"]:
    return difference.square().mean(dim=(1, 2, 3)).sqrt()


def _fit_one(image: Tensor, start: Tensor) -> Float[Tensor, " P"]:
    small = F.adaptive_avg_pool2d(image.float(), SIZE)[None]
    point = _updated(small, start.float().clamp(-1, 1), NEAR)
    for names in TRIED:
        point = _best_values(small, point, names)
    return _updated(small, point, SHARP)


def _updated(small: Float[Tensor, "1 3 S S"], start: Float[Tensor, " P"], stage: Round) -> Float[Tensor, " P"]:
    """One round of Levenberg-Marquardt."""
    wanted, drawn, point = _blurred(small, stage.blurs)[0], _draw(start[None], stage)[0], start
    cost, damping = (wanted - drawn).square().mean(), DAMPING
    jacobian = _jacobian(point, drawn, stage)
    for _ in range(stage.updates):
        curvature = jacobian @ jacobian.T / len(wanted)
        pull = jacobian @ (wanted - drawn) / len(wanted) - PRIOR * (point - start)
        curvature.diagonal().mul_(1 + damping).add_(PRIOR)
        candidate = minimum_in_box(point, curvature, pull)
        step, there = candidate - point, _draw(candidate[None], stage)[0]
        jacobian += torch.outer(step, there - drawn - step @ jacobian) / step.square().sum().clamp(min=1e-12)
        error = (wanted - there).square().mean() + PRIOR * (candidate - start).square().sum()
        if error < cost:
            point, drawn, cost = candidate, there, error
            damping = max(LEAST, damping / LOWER)
        else:
            damping = min(MOST, damping * RAISE)
    return point


def _best_values(
    small: Float[Tensor, "1 3 S S"], point: Float[Tensor, " P"], names: tuple[str, ...]
) -> Float[Tensor, " P"]:
    """`point`, or the same with the values of some parameters that fit better."""
    entries = [[name for name, _, _ in GEOMETRY].index(name) for name in names]
    candidates = point.repeat(len(VALUES) ** len(names) + 1, 1)
    candidates[1:, entries] = torch.tensor(list(product(VALUES, repeat=len(names))))
    errors = (_draw(candidates, TRIAL) - _blurred(small, TRIAL.blurs)).square().mean(dim=1)
    return candidates[errors.argmin()]


def minimum_in_box(
    point: Float[Tensor, " P"], curvature: Float[Tensor, "P P"], pull: Float[Tensor, " P"]
) -> Float[Tensor, " P"]:
    """Minimum of a quadratic around `point` within the box [-1, 1], by an active set.

    Parameters that reach a bound are fixed there, and the others are solved again. pull: negative gradient at `point`.
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


def _jacobian(point: Tensor, drawn: Tensor, stage: Round) -> Float[Tensor, "P pixels"]:
    """Jacobian of the render, by finite differences towards the middle of the range."""
    delta = torch.where(point > 0, -DELTA, DELTA)
    return (_draw(point + delta.diag(), stage) - drawn) / delta[:, None]


def _draw(parameters: Float[Tensor, "N P"], stage: Round) -> Float[Tensor, "N pixels"]:
    drawn = render(parameters[:, : len(GEOMETRY)], parameters[:, len(GEOMETRY) :], stage.drawn).image
    return _blurred(F.adaptive_avg_pool2d(drawn, SIZE), stage.blurs)


def _blurred(images: Float[Tensor, "N 3 h w"], times: int) -> Float[Tensor, "N pixels"]:
    for _ in range(times):
        images = F.avg_pool2d(images, 3, 1, 1, count_include_pad=False)
    return images.flatten(1)
