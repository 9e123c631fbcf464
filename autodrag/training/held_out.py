"""How well a model drags samples it was not trained on."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from autodrag.data.dataset import Sample, collate
from autodrag.losses import prediction_loss
from autodrag.training.drags import Dragging, Drags
from autodrag.training.stage import Report
from autodrag.visualize import motion_sheet

CHUNK = 16  # samples at a time
SHOWN = 4  # samples in the pictures


def report_drags(dragging: Dragging, samples: Sequence[Sample]) -> Report:
    """Numbers and pictures of drags that the model does alone.

    `prediction`: L_pred with teacher forcing. `left`: L1 from where the drag ends to w_n, as a share of that from w_0
    to w_n. `left_twice`: the same after a second drag from there, with the handles tracked.
    """
    totals = torch.zeros(4)
    for start in range(0, len(samples), CHUNK):
        totals += _losses(dragging, dragging.begin(collate(samples[start : start + CHUNK]))).cpu()
    prediction, before, once, twice = totals.tolist()
    numbers = {"prediction": prediction / len(samples), "left": once / before, "left_twice": twice / before}
    shown = dragging.begin(collate(samples[:SHOWN]))
    return Report(numbers, {"drags": _picture(dragging, shown)})


def _losses(dragging: Dragging, drags: Drags) -> Float[Tensor, "4"]:
    """Sums over the drags: L_pred with teacher forcing, then L1 to w_n from w_0, after one drag and after two."""
    std = dragging.model.predictor.standardise.std
    taught = dragging.model(drags.ws[:, :-1], drags.features, drags.handles, drags.targets, drags.mask)
    last = torch.full((len(drags.ws),), drags.ws.shape[1] - 1, device=drags.ws.device)
    again = dragging.go_on(drags, last)
    ends = [drags.ws[:, :1], again.ws[:, :1], dragging.roll(again)[:, -1:]]
    losses = [prediction_loss(taught, drags.ws[:, 1:], std)]
    losses += [prediction_loss(end, drags.ws[:, -1:], std) for end in ends]
    return torch.stack([loss.sum() for loss in losses])


def _picture(dragging: Dragging, drags: Drags) -> Tensor:
    """A row a drag: the source with its points, the steps, and the true last image."""
    motion = torch.cat([drags.ws[:, :1], dragging.roll(drags), drags.ws[:, -1:]], dim=1)
    images = dragging.generator.synthesize(motion.flatten(0, 1))
    assert isinstance(images, Tensor)  # no features were asked for
    points = [(h[m], t[m]) for h, t, m in zip(drags.handles, drags.targets, drags.mask, strict=True)]
    return motion_sheet(images.cpu().unflatten(0, tuple(motion.shape[:2])), points)
