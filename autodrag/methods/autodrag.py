"""AutoDrag as a drag method: the trained model, asked once or several times, and optimisation to finish if wanted."""

from collections.abc import Iterator
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from autodrag.errors import InputError
from autodrag.generator import FrozenGenerator
from autodrag.losses import drag_loss
from autodrag.methods.base import Number, Points, Request, Step, Update, check_positive, read_request, run_steps
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
    polish: Adam steps at the end, which bring what lay under the handles to the targets (0: the paper); their size is
    `polish_lr` mean deviations of W. near: pixels; an edit whose handles are found as near to their targets on average
    is not dragged again, for they cannot be found more exactly; None: max(2 h / 512, 2), which ends DragGAN, too. n:
    steps of a drag; None: as trained. track: a step's points are the handles found in its image (when they are read);
    otherwise they are where the handles should be by then.
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
        near: Number | None = None,
    ) -> None:
        if rounds < 1 or polish < 0 or (n is not None and n < 1):
            raise InputError(
                f"autodrag cannot work with rounds={rounds}, polish={polish}, n={n}; give at least one round and one "
                "step, and polish of 0 or more."
            )
        check_positive("autodrag", polish_lr=polish_lr, near=near)
        path = weights_path(generator.name) if weights is None else Path(weights)
        self.model = AutoDrag.load(path, generator.device).requires_grad_(False)
        _check_fits(self.model, generator, path)
        self.generator = generator
        self.rounds, self.polish, self.track, self.polish_lr = rounds, polish, track, polish_lr
        self.near = max(2 * generator.resolution[0] / 512, 2) if near is None else near
        self.n = self.model.config.steps if n is None else n
        self._source: Source | None = None  # the last one: a live drag starts from it many times

    def drag(
        self, ws: Float[Tensor, "B L D"], handles: Points, targets: Points, mask: Tensor | np.ndarray | None = None
    ) -> Iterator[Step]:
        """See `DragMethod.drag`. A step of the drag is a step here: n a round, then those of the polish."""
        return run_steps(self._updates, read_request(self.generator, ws, handles, targets, mask))

    def _updates(self, request: Request) -> Iterator[Update]:
        start = here = self._look(request.ws)
        finder, handles = _Finder(self.generator, start, request.handles), request.handles
        arrived = torch.zeros(len(request.ws), dtype=torch.bool, device=request.ws.device)
        for number in range(1, self.rounds + 1):
            radius = search_radius(handles, request.targets, self.generator.resolution)
            motion = self.model.walk(here.ws, here.features, handles, request.targets, request.valid, self.n)
            ws = here.ws
            for step, reached in enumerate(motion, 1):
                ws = torch.where(arrived[:, None, None], here.ws, reached)
                expected = torch.lerp(handles, request.targets, step / self.n)
                points = partial(finder.find, ws, expected, radius) if self.track else expected
                yield Update(ws, points, _done(ws, (number, step, self.polish) == (self.rounds, self.n, 0)))
            here = Source(self.generator, ws, self.model.config.feature_block)
            if number < self.rounds:
                handles = finder.find(ws, request.targets, radius)
                apart = ((handles - request.targets).norm(dim=2) * request.valid).sum(dim=1)
                arrived = arrived | (apart <= self.near * request.valid.sum(dim=1))
                if bool(arrived.all()):
                    break
        yield from self._polished(request, start, here.ws, finder, radius)

    def _look(self, ws: Float[Tensor, "B L D"]) -> Source:
        """The source, with its features at hand if it is the same as last time."""
        if self._source is None or not torch.equal(self._source.ws, ws):
            self._source = Source(self.generator, ws, self.model.config.feature_block)
        return self._source

    def _polished(
        self,
        request: Request,
        start: Source,
        ws: Float[Tensor, "B L D"],
        finder: "_Finder",
        radius: Float[Tensor, "B P"],
    ) -> Iterator[Update]:
        """Gradient steps on Eq. 13's distance between the source's handles and the targets, and on the mask's term."""
        scale = self.model.predictor.standardise.std.mean().item()
        rows = EditedRows(self.generator, ws, self.polish_lr * scale, BLOCK)
        for step in range(1, self.polish + 1):
            features, size = rows.features(), self.generator.resolution
            loss = drag_loss(start.details, features, request.handles, request.targets, request.valid, size).sum()
            if request.mask is not None:
                loss = loss + MASK_WEIGHT * fixed_loss(features - start.details, 1 - request.mask)
            rows.step(loss)
            points = partial(finder.find, rows.ws, request.targets, radius) if self.track else request.targets
            yield Update(rows.ws, points, _done(ws, step == self.polish))


class _Finder:
    """Finds the handles of the source; learns what they look like when it is first asked."""

    def __init__(self, generator: FrozenGenerator, start: Source, handles: Float[Tensor, "B P 2"]) -> None:
        self._generator, self._start, self._handles = generator, start, handles

    @cached_property
    def _tracker(self) -> Tracker:
        return Tracker(self._generator, self._start.details, self._handles)

    @torch.no_grad()
    def find(
        self, ws: Float[Tensor, "B L D"], expected: Float[Tensor, "B P 2"], radius: Float[Tensor, "B P"]
    ) -> Float[Tensor, "B P 2"]:
        """See `Tracker.find`."""
        return self._tracker.find(ws, expected, radius)


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
