"""Where the handles of a drag really are on synthface, by the renderer, which no method was trained on.

The renderer's parameters are fitted to the images before and after the drag. A handle is a place on the first face; the
same place on the second face is where the handle is after the drag. An image that no face fits is broken.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from autodrag.domains.synthface import GEOMETRY
from autodrag.domains.synthface.fit import SHARP, Fit, fit, residual
from autodrag.domains.synthface.places import BACKGROUND, places, where
from autodrag.domains.synthface.reader import Reader

#: `Fit.residual` and `Fit.patch` from which a picture is none of the domain.
BROKEN, BROKEN_PATCH = 0.1, 0.16
#: Who measures, for results to name: measures of another judge do not compare.
JUDGE = f"renders of {SHARP.drawn} px"


@dataclass(frozen=True)
class Measured:
    """N edited images."""

    points: list[Float[Tensor, "_ 2"]]  # the handles after the drag, (x, y) pixels; NaN for handles on the background
    distance: Float[Tensor, " N"]  # mean pixels from there to the targets; NaN where no handle has a truth
    broken: Bool[Tensor, " N"]  # no face of the domain fits, so `points` mean nothing
    fit: Fit  # of the edited images


@torch.no_grad()
def fit_source(reader: Reader, images: Float[Tensor, "N 3 H W"], known: Float[Tensor, "N P"] | None = None) -> Fit:
    """What pictures show before an edit. known: parameters (geometry, then appearance) of which they were made."""
    return fit(images, _read(reader, images) if known is None else known)


@torch.no_grad()
def measure(
    reader: Reader,
    images: Float[Tensor, "N 3 H W"],
    before: Float[Tensor, "N 3 H W"],
    source: Fit,
    handles: Sequence[Float[Tensor, "_ 2"]],
    targets: Sequence[Float[Tensor, "_ 2"]],
) -> Measured:
    """Judge edited pictures in [-1, 1]; `before` and `source`: the pictures they were made of, and their fit."""
    after = fit_edited(reader, images, before, source)
    size = images.shape[-1]
    points = [
        where(end[None], places(start, handle, size), size)[0]
        for start, end, handle in zip(source.geometry, after.geometry, handles, strict=True)
    ]
    distance = [(found - target).norm(dim=1).nanmean() for found, target in zip(points, targets, strict=True)]
    broken = (after.residual > BROKEN) | (after.patch > BROKEN_PATCH)
    return Measured(points, torch.stack(distance), broken, after)


@torch.no_grad()
def fit_edited(reader: Reader, images: Float[Tensor, "N 3 H W"], before: Float[Tensor, "N 3 H W"], source: Fit) -> Fit:
    """The fit of edited pictures, from the best of three starts.

    The face before, for small edits; what the reader sees, for large ones; and the face before moved by as much as the
    reader's view of it has, which leaves out the reader's own error. The appearance starts as it was.
    """
    seen, was = _read(reader, images), _read(reader, before)
    here = torch.cat([source.geometry, source.appearance], dim=1)
    starts = [here, here + seen - was, torch.cat([seen[:, : len(GEOMETRY)], source.appearance], dim=1)]
    misfit = torch.stack([residual(images, start) for start in starts])  # [3, N]
    best = torch.stack(starts)[misfit.argmin(dim=0), torch.arange(len(images))]
    return fit(images, best)


def on_background(source: Float[Tensor, " G"], handles: Float[Tensor, "P 2"], size: int) -> Bool[Tensor, " P"]:
    """Which handles have no truth."""
    return places(source, handles, size).part == BACKGROUND


def _read(reader: Reader, images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N P"]:
    return torch.cat([reader.geometry(images), reader.appearance(images)], dim=1)
