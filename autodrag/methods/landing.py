"""Landing as a drag method: a few Gauss-Newton steps on latents, by a network of where points go. No image is made."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from autodrag.errors import InputError
from autodrag.generator import FrozenGenerator
from autodrag.latents import join, split
from autodrag.methods.base import Points, Request, Step, Update, read_request, run_steps
from autodrag.models import Landing
from autodrag.weights import weights_path


class LandingMethod:
    """Ours: see `models.landing`.

    weights: a weights.safetensors of stage=motion; None: those that ship with the generator's dataset. n: steps of a
    drag. A mask has no part in it: latents cannot hold a part of an image still, blending can.
    """

    def __init__(self, generator: FrozenGenerator, weights: str | Path | None = None, n: int = 5) -> None:
        if n < 1:
            raise InputError(f"n of landing is {n}; a drag needs at least one step.")
        path = weights_path(generator.name, "landing.safetensors") if weights is None else Path(weights)
        self.model = Landing.load(path, generator.device)
        if len(self.model.manifold.mean) != generator.w_dim:
            raise InputError(
                f"{path} was trained for latents of width {len(self.model.manifold.mean)}, but those of "
                f"{generator.name} have {generator.w_dim}; give the weights of this generator."
            )
        self.generator, self.n = generator, n

    def drag(
        self, ws: Float[Tensor, "B L D"], handles: Points, targets: Points, mask: Tensor | np.ndarray | None = None
    ) -> Iterator[Step]:
        """See `DragMethod.drag`. The points of a step are where the network says that the handles are."""
        return run_steps(self._updates, read_request(self.generator, ws, handles, targets, mask))

    def _updates(self, request: Request) -> Iterator[Update]:
        head, tail = split(request.ws)
        mask = None if request.whole else request.valid
        drag = (request.handles, request.targets, mask, self.generator.resolution)
        for step, landed in enumerate(self.model.walk(head, *drag, self.n), 1):
            done = torch.full_like(landed.short, step == self.n)
            yield Update(join(landed.rows, tail), landed.points, done, landed.short)
