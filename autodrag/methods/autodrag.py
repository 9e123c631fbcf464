"""AutoDrag as a drag method: the trained model, asked once or several times, and optimisation to finish if wanted."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from autodrag.errors import InputError
from autodrag.generator import FrozenGenerator
from autodrag.losses import drag_loss
from autodrag.methods.base import Points, Request, Step, Update, check_positive, read_request, run_steps
from autodrag.methods.masks import fixed_loss
from autodrag.methods.optimise import EditedRows
from autodrag.models import AutoDrag, DomainShape
from autodrag.tracking import BLOCK, Tracker, search_radius
from autodrag.weights import weights_path

MASK_WEIGHT = 20.0  # DragGAN's


class Source:
    """The images that a drag starts from, with features for the model (`features`) and for tracking (`details`)."""

    def __init__(self, generator: FrozenGenerator, ws: Float[Tensor, "B L D"], block: int) -> None:
        self.ws = ws
        self._generator, self._block = generator, block

    @cached_property
    def features(self) -> Float[Tensor, "B C h w"]:
        """Output of the block that the model reads."""
        with torch.no_grad():
            return self._generator.features(self.ws, block=self._block).float()

    @cached_property
    def details(self) -> Float[Tensor, "B C h w"]:
        """Output of the block that points are told apart by."""
        with torch.no_grad():
            return self._generator.features(self.ws, block=BLOCK).float()


class AutoDragMethod:
    """The paper's method.

    weights: a weights.safetensors of stage 2; None: those that ship with the generator's dataset. rounds: drags one
    after another, each from where the generator's features find the handles after the one before (1: the paper).
    polish: Adam steps of size `polish_lr` at the end, which bring what lay under the handles to the targets (0: the
    paper). n: steps of a drag; None: as trained. track: find the handles in the image of every step; otherwise they are
    looked for only where a next round begins, and the points that are yielded are where they should be.
    A mask takes part in polishing alone: latents cannot hold a part of an image still, blending can.
    """

    def __init__(
        self,
        generator: FrozenGenerator,
        weights: str | Path | None = None,
        rounds: int = 1,
        polish: int = 0,
        n: int | None = None,
        track: bool = True,
        polish_lr: float = 0.01,
    ) -> None:
        if rounds < 1 or polish < 0 or (n is not None and n < 1):
            raise InputError(
                f"autodrag cannot work with rounds={rounds}, polish={polish}, n={n}; give at least one round and one "
                "step, and polish of 0 or more."
            )
        check_positive("autodrag", polish_lr=polish_lr)
        path = weights_path(generator.name) if weights is None else Path(weights)
        self.model = AutoDrag.load(path, generator.device).requires_grad_(False)
        _check_fits(self.model, generator, path)
        self.generator = generator
        self.rounds, self.polish, self.track, self.polish_lr = rounds, polish, track, polish_lr
        self.n = self.model.config.steps if n is None else n
        self._source: Source | None = None  # the last one: a live drag starts from it many times

    def drag(
        self, ws: Float[Tensor, "B L D"], handles: Points, targets: Points, mask: Tensor | np.ndarray | None = None
    ) -> Iterator[Step]:
        """See `DragMethod.drag`. A step of the drag is a step here: n a round, then those of the polish."""
        return run_steps(self._updates, read_request(self.generator, ws, handles, targets, mask))

    def _updates(self, request: Request) -> Iterator[Update]:
        start = here = self._look(request.ws)
        points = request.handles
        follow = self.track or self.rounds > 1
        tracker = Tracker(self.generator, start.details, points) if follow else None
        for number in range(1, self.rounds + 1):
            with torch.no_grad():
                motion = self.model.rollout(here.ws, here.features, points, request.targets, request.valid, self.n)
                places = self._places(tracker, motion, points, request.targets, last=number == self.rounds)
            for step, (ws, points) in enumerate(zip(motion, places, strict=True), 1):
                final = self.polish == 0 and number == self.rounds and step == self.n
                yield Update(ws, points, _done(ws, final))
            here = Source(self.generator, motion[-1], self.model.config.feature_block)
        yield from self._polished(request, start, here.ws, points)

    def _look(self, ws: Float[Tensor, "B L D"]) -> Source:
        """The source, with its features at hand if it is the same as last time."""
        if self._source is None or not torch.equal(self._source.ws, ws):
            self._source = Source(self.generator, ws, self.model.config.feature_block)
        return self._source

    def _places(
        self,
        tracker: Tracker | None,
        motion: list[Float[Tensor, "B L D"]],
        handles: Float[Tensor, "B P 2"],
        targets: Float[Tensor, "B P 2"],
        last: bool,
    ) -> list[Float[Tensor, "B P 2"]]:
        """Where the handles are after each step: found, or supposed to be on the straight way to the targets."""
        places = [torch.lerp(handles, targets, (i + 1) / len(motion)) for i in range(len(motion))]
        radius = search_radius(handles, targets, self.generator.resolution)
        for i, ws in enumerate(motion):
            wanted = self.track or (not last and i == len(motion) - 1)
            if tracker is not None and wanted:
                places[i] = tracker.find(ws, places[i], radius)
        return places

    def _polished(
        self, request: Request, start: Source, ws: Float[Tensor, "B L D"], points: Float[Tensor, "B P 2"]
    ) -> Iterator[Update]:
        """Gradient steps on Eq. 13's distance between the source's handles and the targets, and on the mask's term."""
        if self.polish == 0:
            return
        rows = EditedRows(self.generator, ws, self.polish_lr, BLOCK)
        before, size = start.details, self.generator.resolution
        tracker = Tracker(self.generator, before, request.handles) if self.track else None
        radius = search_radius(points, request.targets, size)
        for step in range(1, self.polish + 1):
            features = rows.features()
            loss = drag_loss(before, features, request.handles, request.targets, request.valid, size).sum()
            if request.mask is not None:
                loss = loss + MASK_WEIGHT * fixed_loss(features - before, 1 - request.mask)
            rows.step(loss)
            ws = rows.ws
            with torch.no_grad():
                points = tracker.find(ws, request.targets, radius) if tracker else request.targets
            yield Update(ws, points, _done(ws, step == self.polish))


def _done(ws: Float[Tensor, "B L D"], done: bool) -> Tensor:
    return torch.full((len(ws),), done, device=ws.device)


def _check_fits(model: AutoDrag, generator: FrozenGenerator, path: Path) -> None:
    shape = model.shape
    feature_shape = generator.feature_shape(model.config.feature_block)
    if shape != DomainShape(generator.num_ws, generator.w_dim, feature_shape, generator.resolution):
        raise InputError(
            f"{path} was trained for a generator of {shape.num_ws} rows of {shape.w_dim} at {list(shape.resolution)} "
            f"px, but {generator.name} has {generator.num_ws} of {generator.w_dim} at {list(generator.resolution)}, "
            "or other widths; give the weights of this generator."
        )
