"""Validation of stage 2: drags of held-out samples."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from autodrag.data.dataset import Sample, collate
from autodrag.losses import prediction_loss
from autodrag.training.rollouts import Dragging, Drags
from autodrag.training.stages.base import Report
from autodrag.visualize import motion_sheet

CHUNK = 16  # samples per batch
SHOWN = 4  # samples in the logged image


def report_drags(dragging: Dragging, samples: Sequence[Sample], units: Float[Tensor, "D U"]) -> Report:
    """Metrics and images of the model's rollouts. units: as in `prediction_loss`.

    `prediction`: L_pred with teacher forcing. `distance`: mean distance from handles to targets after the drag,
    relative to that before. `left`: L1 between the last latent and w_n, relative to that between w_0 and w_n.
    `left_twice`: the same after a second drag from there, with tracked handles.
    """
    totals: dict[str, float] = {}
    for start in range(0, len(samples), CHUNK):
        for name, value in _sums(dragging, dragging.begin(collate(samples[start : start + CHUNK])), units).items():
            totals[name] = totals.get(name, 0.0) + value.item()
    numbers = {
        "prediction": totals["prediction"] / len(samples),
        "distance": totals["found"] / totals["asked"],
        "left": totals["once"] / totals["whole"],
        "left_twice": totals["twice"] / totals["whole"],
    }
    shown = dragging.begin(collate(samples[:SHOWN]))
    return Report(numbers, {"drags": _picture(dragging, shown)})


def _sums(dragging: Dragging, drags: Drags, units: Tensor) -> dict[str, Float[Tensor, ""]]:
    """Sums over drags: L_pred; L1 to w_n before, after one and after two drags; distances to the targets."""
    taught = dragging.model(drags.ws[:, :-1], drags.features, drags.handles, drags.targets, drags.mask)
    last = torch.full((len(drags.ws),), drags.ws.shape[1] - 1, device=drags.ws.device)
    again = dragging.continued(drags, last)
    ends = {"whole": drags.ws[:, :1], "once": again.ws[:, :1], "twice": dragging.roll(again)[:, -1:]}
    sums = {name: prediction_loss(end, drags.ws[:, -1:], units).sum() for name, end in ends.items()}
    sums["prediction"] = prediction_loss(taught, drags.ws[:, 1:], units).sum()
    for name, points in (("asked", drags.handles), ("found", again.handles)):
        sums[name] = (points - drags.targets).norm(dim=2)[drags.mask].sum()
    return sums


def _picture(dragging: Dragging, drags: Drags) -> Tensor:
    """One row per drag: the source with its points, the steps, and the true last image."""
    motion = torch.cat([drags.ws[:, :1], dragging.roll(drags), drags.ws[:, -1:]], dim=1)
    images = dragging.generator.synthesize(motion.flatten(0, 1))
    points = [(h[m], t[m]) for h, t, m in zip(drags.handles, drags.targets, drags.mask, strict=True)]
    return motion_sheet(images.cpu().unflatten(0, tuple(motion.shape[:2])), points)
