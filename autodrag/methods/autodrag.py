"""AutoDrag as a drag method: one or more rounds of the trained model, then optional latent optimisation."""

from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from autodrag.errors import InputError
from autodrag.generator import FrozenGenerator
from autodrag.graphs import Graphed
from autodrag.latents import join, split
from autodrag.losses import drag_loss
from autodrag.methods.base import Points, Request, Step, Update, check_positive, read_request, run_steps
from autodrag.methods.masks import fixed_loss
from autodrag.methods.optimise import EditedRows
from autodrag.models import AutoDrag, DomainShape, Landing, Manifold
from autodrag.tracking import BLOCK, Locator, Tracker, search_radius
from autodrag.weights import find_weights, weights_path

MASK_WEIGHT = 20.0  # as in DragGAN
BUCKET = 8  # larger numbers of point pairs are padded to a multiple of it, to limit the number of CUDA graphs
LEAST_WEIGHT = 0.05  # minimum weight of a point in the polish, for points that the features cannot locate


class Source:
    """Source latents of a drag, with lazily computed features."""

    def __init__(self, generator: FrozenGenerator, ws: Float[Tensor, "B L D"], model: AutoDrag) -> None:
        self.ws = ws
        self._generator, self._model = generator, model

    @cached_property
    def features(self) -> Float[Tensor, "B C h w"]:
        """Output of the generator block used by the model."""
        with torch.no_grad():
            return self._generator.features(self.ws, block=self._model.config.feature_block).float()

    @cached_property
    def image_tokens(self) -> Float[Tensor, "B S E"]:
        """`Predictor.encode_image` of the features."""
        with torch.no_grad():
            return self._model.predictor.encode_image(self.features)

    @cached_property
    def details(self) -> Float[Tensor, "B C h w"]:
        """Output of the generator block used for tracking."""
        with torch.no_grad():
            return self._generator.features(self.ws, block=BLOCK).float()


class AutoDragMethod:
    """The paper's method, with optional refinements (ours). The defaults of rounds and polish are the paper's.

    weights: weights.safetensors of stage 2; None: those that ship with the generator's dataset.
    rounds: number of rounds of the model. The first yields n steps. Each further round yields one: the model runs from
        the source again, with targets corrected by the error measured in generator features.
    polish: number of Adam steps after the last round that move the content under the handles to the targets.
    n: steps of the first round; None: as trained.
    track: points of a step are tracked in its image (when first read) instead of the expected positions.
    polish_lr: learning rate of the polish, in mean standard deviations of W.
    miss: expected error of a round relative to the length of the drag; a prior for measuring it.
    guard: keep edits within the limits of the mapped latents (`models.manifold`, from the weights of method=landing;
        no effect without them). `Step.short` tells whether an edit was cut short.

    Masks affect only the polish: latents cannot keep part of an image fixed; use blending for that. Raises InputError
    for invalid options, and for weights that are missing or do not fit the generator.
    """

    def __init__(
        self,
        generator: FrozenGenerator,
        weights: str | Path | None = None,
        rounds: int = 1,
        polish: int = 0,
        n: int | None = None,
        track: bool = True,
        polish_lr: float = 0.005,
        miss: float = 0.07,
        guard: bool = True,
    ) -> None:
        if rounds < 1 or polish < 0 or (n is not None and n < 1):
            raise InputError(
                f"autodrag got rounds={rounds}, polish={polish}, n={n}; give rounds and n of at least 1 and polish of "
                "at least 0."
            )
        check_positive("autodrag", polish_lr=polish_lr, miss=miss)
        path = weights_path(generator.name) if weights is None else Path(weights)
        self.model = AutoDrag.load(path, generator.device).leave_out_negligible()
        _check_fits(self.model, generator, path)
        self.generator = generator
        self.rounds, self.polish, self.track, self.polish_lr = rounds, polish, track, polish_lr
        self.miss = miss
        self.manifold = _manifold(generator) if guard else None  # limits of edits
        self.n = self.model.config.steps if n is None else n
        self._graphed = Graphed(self._rollout)
        self._source: Source | None = None  # the last one, reused by live drags

    def drag(self, ws: Float[Tensor, "B L D"], handles: Points, targets: Points, mask: Any = None) -> Iterator[Step]:
        """See `DragMethod.drag`. Yields n steps for the first round, one per further round and one per polish step."""
        return run_steps(self._updates, read_request(self.generator, ws, handles, targets, mask))

    def _updates(self, request: Request) -> Iterator[Update]:
        source = self._look(request.ws)
        view = _View(self.generator, source, request, self.track, self.manifold)
        for step, ws in enumerate(self._walk(source, request, request.targets), 1):
            expected = torch.lerp(request.handles, request.targets, step / self.n)
            yield view.update(ws, expected, step == self.n and self.rounds == 1 and self.polish == 0)
        if self.rounds == 1 and self.polish == 0:
            return
        ws = view.guarded(ws)[0]
        locator = Locator(self.generator, source.ws, request.handles)
        aims, length = request.targets, _length(request.targets - request.handles, request.valid)
        for number in range(2, self.rounds + 1):
            missed = request.targets - locator.find(ws, request.targets, self.miss * length).points
            aims, length = aims + missed, _length(missed, request.valid)
            *_, ws = self._walk(source, request, aims)
            ws = view.guarded(ws)[0]
            yield view.update(ws, request.targets, number == self.rounds and self.polish == 0)
        yield from self._polished(request, source, ws, view, locator)

    def _walk(
        self, source: Source, request: Request, targets: Float[Tensor, "B P 2"]
    ) -> Iterator[Float[Tensor, "B L D"]]:
        """The model's steps from the source. On a GPU all at once, replaying a CUDA graph from the second call on."""
        mask = None if request.whole else request.valid
        if self._graphed.usable(source.ws):
            pairs = in_bucket(request.handles, targets, mask)
            return iter(self._graphed(source.ws, source.features, *pairs, n=self.n))
        return self.model.walk(
            *(source.ws, source.features, request.handles, targets, mask, self.n), image=source.image_tokens
        )

    def _rollout(
        self, ws: Tensor, features: Tensor, handles: Tensor, targets: Tensor, mask: Tensor | None, n: int
    ) -> Sequence[Tensor]:
        """n is an argument because copies of this method with other numbers of steps share its recordings."""
        return self.model.rollout(ws, features, handles, targets, mask, n)

    def _look(self, ws: Float[Tensor, "B L D"]) -> Source:
        """The source, cached for as long as the latents stay the same."""
        if self._source is None or not torch.equal(self._source.ws, ws):
            self._source = Source(self.generator, ws, self.model)
        return self._source

    def _polished(
        self, request: Request, source: Source, ws: Float[Tensor, "B L D"], view: "_View", locator: Locator
    ) -> Iterator[Update]:
        """Adam steps on L_drag (Eq. 13) between the handles in the source and the targets, plus the mask term.

        Points are weighted by how well the features locate them: on a jaw that changes shape, for example, they are no
        more reliable than the model.
        """
        if self.polish == 0:
            return
        spread = self.miss * _length(request.targets - request.handles, request.valid)
        weights = locator.find(ws, request.targets, spread).certainty.clamp(min=LEAST_WEIGHT) * request.valid
        scale = self.model.predictor.standardise.std.mean().item()
        rows = EditedRows(self.generator, ws, self.polish_lr * scale, BLOCK)
        for step in range(1, self.polish + 1):
            features, size = rows.features(), self.generator.resolution
            loss = drag_loss(source.details, features, request.handles, request.targets, weights, size).sum()
            if request.mask is not None:
                loss = loss + MASK_WEIGHT * fixed_loss(features - source.details, 1 - request.mask)
            rows.step(loss)
            yield view.update(rows.ws, request.targets, step == self.polish)


def in_bucket(
    handles: Float[Tensor, "B P 2"], targets: Float[Tensor, "B P 2"], mask: Bool[Tensor, "B P"] | None
) -> tuple[Float[Tensor, "B Q 2"], Float[Tensor, "B Q 2"], Bool[Tensor, "B Q"] | None]:
    """Pad more than `BUCKET` pairs to a multiple of it: each CUDA graph has a fixed number of pairs."""
    count = handles.shape[1]
    more = -count % BUCKET if count > BUCKET else 0
    if more == 0:
        return handles, targets, mask
    real = torch.ones_like(handles[..., 0], dtype=torch.bool) if mask is None else mask
    return F.pad(handles, (0, 0, 0, more)), F.pad(targets, (0, 0, 0, more)), F.pad(real, (0, more))


class _View:
    """Makes updates from latents: applies the guard, and tracks points when they are first read."""

    def __init__(
        self,
        generator: FrozenGenerator,
        source: Source,
        request: Request,
        track: bool,
        manifold: Manifold | None,
    ) -> None:
        self._generator, self._source, self._request, self._track = generator, source, request, track
        self._manifold = manifold

    def update(self, ws: Float[Tensor, "B L D"], expected: Float[Tensor, "B P 2"], done: bool) -> Update:
        """expected: positions of the handles in the images of `ws`, as known without tracking."""
        ws, short = self.guarded(ws)
        points = partial(self._find, ws, expected) if self._track else expected
        return Update(ws, points, torch.full((len(ws),), done, device=ws.device), short)

    def guarded(self, ws: Float[Tensor, "B L D"]) -> tuple[Float[Tensor, "B L D"], Bool[Tensor, " B"] | None]:
        """Latents within the limits of the manifold, and which edits were cut short; None without a manifold."""
        if self._manifold is None:
            return ws, None
        head, tail = split(ws)
        kept, short = self._manifold.guarded(head, split(self._source.ws)[0])
        return join(kept, tail), short

    @cached_property
    def _tracker(self) -> Tracker:
        return Tracker(self._generator, self._source.details, self._request.handles)

    @cached_property
    def _radius(self) -> Float[Tensor, "B P"]:
        return search_radius(self._request.handles, self._request.targets, self._generator.resolution)

    @torch.no_grad()
    def _find(self, ws: Float[Tensor, "B L D"], expected: Float[Tensor, "B P 2"]) -> Float[Tensor, "B P 2"]:
        return self._tracker.find(ws, expected, self._radius)


def _length(ways: Float[Tensor, "B P 2"], valid: Bool[Tensor, "B P"]) -> Float[Tensor, " B"]:
    """Root mean square length over the real points of each image."""
    squares = ways.square().sum(dim=2) * valid
    return (squares.sum(dim=1) / valid.sum(dim=1)).sqrt()


def _manifold(generator: FrozenGenerator) -> Manifold | None:
    """The manifold of this generator; None if there are no weights with it."""
    path = find_weights(generator.name, "landing.safetensors")
    if path is None:
        return None
    manifold = Landing.load(path, generator.device).manifold
    return manifold if len(manifold.mean) == generator.w_dim else None


def _check_fits(model: AutoDrag, generator: FrozenGenerator, path: Path) -> None:
    shape = model.shape
    feature_shape = generator.feature_shape(model.config.feature_block)
    if shape != DomainShape(generator.num_ws, generator.w_dim, feature_shape, generator.resolution):
        raise InputError(
            f"{path} was trained for a generator with {shape.num_ws} x {shape.w_dim} latents and images of "
            f"{list(shape.resolution)} px, but {generator.name} has {generator.num_ws} x {generator.w_dim} and "
            f"{list(generator.resolution)} px, or other features; give weights for this generator."
        )
