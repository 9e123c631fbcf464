"""Landing as a drag method: Gauss-Newton on latents through a point motion network, without rendering images."""

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
from autodrag.models.landing import Drag
from autodrag.weights import weights_path


class LandingMethod:
    """Ours: see `models.landing`.

    weights: a weights.safetensors of stage=motion; None: those that ship with the generator's dataset.
    n: steps per drag.
    follow: for live drags: yield a single step, warm-started from the last drag if image and handles are the same.

    Masks are validated and ignored: latents cannot keep part of an image fixed; use blending for that. Raises
    InputError for invalid options, and for weights that are missing or do not fit the generator.
    """

    def __init__(
        self, generator: FrozenGenerator, weights: str | Path | None = None, n: int = 5, follow: bool = False
    ) -> None:
        if n < 1:
            raise InputError(f"landing got n={n}; a drag needs at least one step.")
        path = weights_path(generator.name, "landing.safetensors") if weights is None else Path(weights)
        self.model = Landing.load(path, generator.device)
        if len(self.model.manifold.mean) != generator.w_dim:
            raise InputError(
                f"{path} was trained for latents of width {len(self.model.manifold.mean)}, but those of "
                f"{generator.name} have width {generator.w_dim}; give weights for this generator."
            )
        self.generator, self.n, self.follow = generator, n, follow
        self._last: Drag | None = None  # reused by live drags

    def drag(
        self, ws: Float[Tensor, "B L D"], handles: Points, targets: Points, mask: Tensor | np.ndarray | None = None
    ) -> Iterator[Step]:
        """See `DragMethod.drag`. Points of a step are the positions predicted by the network."""
        return run_steps(self._updates, read_request(self.generator, ws, handles, targets, mask))

    def _updates(self, request: Request) -> Iterator[Update]:
        head, tail = split(request.ws)
        drag = self._begun(head, request)
        if self.follow:
            landed = self.model.follow(drag, request.targets)
            yield Update(join(landed.rows, tail), landed.points, torch.ones_like(landed.short), landed.short)
            return
        for step, landed in enumerate(self.model.walk(drag, request.targets, self.n), 1):
            done = torch.full_like(landed.short, step == self.n)
            yield Update(join(landed.rows, tail), landed.points, done, landed.short)

    def _begun(self, head: Float[Tensor, "B K D"], request: Request) -> Drag:
        """The drag to run: the last one if `follow` is set and image and handles are the same, otherwise a new one."""
        last = self._last
        if last is not None and not torch.equal(last.source.rows, head):
            last = None
        if last is None or not self.follow or not last.starts_at(request.handles, request.valid):
            source = self.model.source(head) if last is None else last.source
            last = self.model.start(source, request.handles, request.valid, self.generator.resolution)
        self._last = last
        return last
