"""Drags in training: model inputs, and rollouts of the model's own predictions."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from autodrag.data.dataset import Batch
from autodrag.generator import FrozenGenerator
from autodrag.latents import progress, walk
from autodrag.models import AutoDrag
from autodrag.tracking import BLOCK, Tracker, search_radius


@dataclass(frozen=True)
class Drags:
    """Motions with the features and points of their first image."""

    ws: Float[Tensor, "B waypoints L D"]  # w_0..w_n
    features: Float[Tensor, "B C h w"]  # F_0 of w_0
    handles: Float[Tensor, "B P 2"]  # image pixels, in I_0
    targets: Float[Tensor, "B P 2"]  # image pixels, in I_n
    mask: Bool[Tensor, "B P"]  # False at padding

    def only(self, chosen: Int[Tensor, " A"]) -> "Drags":
        """A subset of the drags."""
        parts = (self.ws, self.features, self.handles, self.targets, self.mask)
        return Drags(*(part[chosen] for part in parts))

    def replaced(self, chosen: Int[Tensor, " A"], others: "Drags") -> "Drags":
        """The drags, with the chosen ones replaced by `others`, in order."""
        mine = (self.ws, self.features, self.handles, self.targets, self.mask)
        theirs = (others.ws, others.features, others.handles, others.targets, others.mask)
        parts = [part.clone() for part in mine]
        for part, other in zip(parts, theirs, strict=True):
            part[chosen] = other.to(part)
        return Drags(*parts)


class Dragging:
    """A model with its generator, without gradients."""

    def __init__(self, model: AutoDrag, generator: FrozenGenerator) -> None:
        self.model, self.generator = model, generator

    def begin(self, samples: Batch) -> Drags:
        """The drags of a batch, from w_0."""
        features = self._features(samples.ws[:, 0])
        return Drags(samples.ws.float(), features, samples.handles, samples.targets, samples.mask)

    @torch.no_grad()
    def roll(self, drags: Drags) -> Float[Tensor, "B n L D"]:
        """The model's rollout w_hat_1..w_hat_n."""
        return torch.stack(
            self.model.rollout(drags.ws[:, 0], drags.features, drags.handles, drags.targets, drags.mask), dim=1
        )

    @torch.no_grad()
    def continued(self, drags: Drags, step: Int[Tensor, " B"]) -> Drags:
        """Drags to the same w_n that start at step 1..n of the model's rollout, with tracked handles.

        Their steps keep the relative lengths of the motion.
        """
        n = drags.ws.shape[1] - 1
        reached = self.roll(drags)[torch.arange(len(step), device=step.device), step - 1]
        tracker = Tracker(self.generator, self.generator.features(drags.ws[:, 0], block=BLOCK), drags.handles)
        expected = torch.lerp(drags.handles, drags.targets, (step / n)[:, None, None])
        radius = search_radius(drags.handles, drags.targets, self.generator.resolution)
        fractions = torch.stack([progress(ws, n) for ws in drags.ws])
        return replace(
            drags,
            ws=walk(reached, drags.ws[:, -1], fractions),
            features=self._features(reached),
            handles=tracker.find(reached, expected, radius),
        )

    @torch.no_grad()
    def _features(self, ws: Float[Tensor, "B L D"]) -> Float[Tensor, "B C h w"]:
        return self.generator.features(ws, block=self.model.config.feature_block)
