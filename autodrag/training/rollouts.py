"""A batch of drags as the model sees them in training, and what comes of it when the model does them alone."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from autodrag.data.dataset import Batch
from autodrag.generator import FrozenGenerator
from autodrag.latents import pace, walk
from autodrag.models import AutoDrag
from autodrag.tracking import BLOCK, Tracker, search_radius


@dataclass(frozen=True)
class Drags:
    """Motions w_0..w_n to be learnt, features F_0 of their w_0, and points in pixels of its image."""

    ws: Float[Tensor, "B waypoints L D"]
    features: Float[Tensor, "B C h w"]
    handles: Float[Tensor, "B P 2"]
    targets: Float[Tensor, "B P 2"]
    mask: Bool[Tensor, "B P"]

    def only(self, chosen: Int[Tensor, " A"]) -> "Drags":
        """Some of them."""
        parts = (self.ws, self.features, self.handles, self.targets, self.mask)
        return Drags(*(part[chosen] for part in parts))

    def replaced(self, chosen: Int[Tensor, " A"], others: "Drags") -> "Drags":
        """All of them, the chosen ones (in order) being those of `others`."""
        mine = (self.ws, self.features, self.handles, self.targets, self.mask)
        theirs = (others.ws, others.features, others.handles, others.targets, others.mask)
        parts = [part.clone() for part in mine]
        for part, other in zip(parts, theirs, strict=True):
            part[chosen] = other.to(part)
        return Drags(*parts)


class Dragging:
    """A model at work on its generator. Nothing here has a gradient."""

    def __init__(self, model: AutoDrag, generator: FrozenGenerator) -> None:
        self.model, self.generator = model, generator

    def begin(self, samples: Batch) -> Drags:
        """Drags from the w_0 of the samples."""
        features = self._features(samples.ws[:, 0])
        return Drags(samples.ws.float(), features, samples.handles, samples.targets, samples.mask)

    @torch.no_grad()
    def roll(self, drags: Drags) -> Float[Tensor, "B n L D"]:
        """The model's own w_hat_1..w_hat_n."""
        return torch.stack(
            self.model.rollout(drags.ws[:, 0], drags.features, drags.handles, drags.targets, drags.mask), dim=1
        )

    @torch.no_grad()
    def go_on(self, drags: Drags, step: Int[Tensor, " B"]) -> Drags:
        """Drags to the same w_n from step 1..n of a rollout, at the motions' pace, with the handles tracked there."""
        n = drags.ws.shape[1] - 1
        reached = self.roll(drags)[torch.arange(len(step), device=step.device), step - 1]
        tracker = Tracker(self.generator, self.generator.features(drags.ws[:, 0], block=BLOCK), drags.handles)
        expected = torch.lerp(drags.handles, drags.targets, (step / n)[:, None, None])
        radius = search_radius(drags.handles, drags.targets, self.generator.resolution)
        paces = torch.stack([pace(ws, n) for ws in drags.ws])
        return replace(
            drags,
            ws=walk(reached, drags.ws[:, -1], paces),
            features=self._features(reached),
            handles=tracker.find(reached, expected, radius),
        )

    @torch.no_grad()
    def _features(self, ws: Float[Tensor, "B L D"]) -> Float[Tensor, "B C h w"]:
        return self.generator.features(ws, block=self.model.config.feature_block)
