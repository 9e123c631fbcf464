"""UserControllableLT (Endo 2022) as a drag method: one forward pass of the latent transformer."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from autodrag.errors import InputError
from autodrag.generator import FrozenGenerator
from autodrag.methods.base import Points, Request, Step, Update, read_request, run_steps
from autodrag.models.autodrag import DomainShape
from autodrag.models.latent_transformer import FEATURE_BLOCK, UNIT_HEIGHT, LatentTransformer
from autodrag.tracking import BLOCK, Tracker, search_radius
from autodrag.weights import weights_path

DRAG_OF_ALPHA_1 = 10.0  # length of a single drag with alpha 1, in pixels of a 256 px image


class LatentTransformerMethod:
    """A drag is one step. Masks are validated and ignored: the method does not support them.

    weights: a weights.safetensors of stage=latent_transformer; None: those that ship with the generator's dataset.
    track: points of the step are tracked in its image instead of the targets. Raises InputError for weights that are
    missing or do not fit the generator.
    """

    def __init__(self, generator: FrozenGenerator, weights: str | Path | None = None, track: bool = True) -> None:
        path = weights_path(generator.name, "latent_transformer.safetensors") if weights is None else Path(weights)
        self.model = LatentTransformer.load(path, generator.device)
        shape = DomainShape(
            generator.num_ws, generator.w_dim, generator.feature_shape(FEATURE_BLOCK), generator.resolution
        )
        if self.model.shape != shape:
            raise InputError(
                f"{path} was trained for a generator with other shapes than {generator.name}; give other weights."
            )
        self.generator, self.track = generator, track

    def drag(self, ws: Float[Tensor, "B L D"], handles: Points, targets: Points, mask: Any = None) -> Iterator[Step]:
        """See `DragMethod.drag`."""
        return run_steps(self._updates, read_request(self.generator, ws, handles, targets, mask))

    @torch.no_grad()
    def _updates(self, request: Request) -> Iterator[Update]:
        motion, alpha = self._motion(request)
        features = self.generator.features(request.ws, block=FEATURE_BLOCK).float()
        change = self.model(request.ws, features, request.handles, motion, request.valid)
        ws = request.ws + alpha[:, None, None] * change
        points = partial(self._found, request, ws) if self.track else request.targets
        yield Update(ws, points, torch.ones(len(ws), dtype=torch.bool, device=ws.device))

    @torch.no_grad()
    def _found(self, request: Request, ws: Float[Tensor, "B L D"]) -> Float[Tensor, "B P 2"]:
        """The handles, tracked in the images of `ws`."""
        before = self.generator.features(request.ws, block=BLOCK).float()
        radius = search_radius(request.handles, request.targets, self.generator.resolution)
        return Tracker(self.generator, before, request.handles).find(ws, request.targets, radius)

    def _motion(self, request: Request) -> tuple[Float[Tensor, "B P 3"], Float[Tensor, " B"]]:
        """Motion (dx, dy, log expansion) and alpha: direction and length of a single drag, else the drags and 1."""
        drag = (request.targets - request.handles) * UNIT_HEIGHT / self.generator.resolution[0]
        length = drag.norm(dim=2, keepdim=True)
        single = request.valid.sum(dim=1) == 1
        direction = drag / length.clamp(min=1e-8)
        motion = torch.where(single[:, None, None], direction, drag / self.model.scale.flow)
        alpha = torch.where(single, length[:, 0, 0] / DRAG_OF_ALPHA_1, 1.0)
        return torch.cat([motion, torch.zeros_like(length)], dim=2), alpha
