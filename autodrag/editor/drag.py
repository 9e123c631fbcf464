"""One drag: from the press of the pointer to its release, while its targets move."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from autodrag.editor.growing_mask import grown
from autodrag.editor.model_cache import quickly, untracked
from autodrag.editor.renderer import Renderer
from autodrag.editor.state import MAX_FRAMES, Arrows, Frame, PointList, start_of_drag
from autodrag.errors import InputError
from autodrag.methods import Kind
from autodrag.methods.base import DragMethod, Points, Step
from autodrag.tracking import BLOCK, Tracker, search_radius


@dataclass(frozen=True)
class DragProgress:
    """An intermediate image. step: of the current call, from 1. seconds: of the method's work so far."""

    frame: Frame
    step: int
    seconds: float
    done: bool


class Drag:
    """A drag that starts at one frame and is pulled `toward` targets as often as they change, then kept or dropped.

    start: the picture it starts from, `base` its place in the motion. method: as loaded. A live one starts over at
    `start` with every pull, a moment's work; the others, optimisers, go on from the last picture. mask: the user's;
    with `grow`, what the drag moves out of it stays visible. Points are found in the pictures as they are shown.
    """

    def __init__(
        self,
        method: DragMethod,
        kind: Kind,
        renderer: Renderer,
        start: Frame,
        base: int,
        handles: PointList,
        pins: PointList,
        mask: Float[Tensor, "H W"] | None,
        grow: bool = False,
    ) -> None:
        self.live, self._tracks, self._renderer, self._grow = kind.live, kind.tracks, renderer, grow
        self._tracker: Tracker | None = None
        # Own copies: they remember the features of the picture that this drag starts from.
        self._method, self._quick, self._untracked = copy.copy(method), quickly(method), untracked(method)
        self._under, self._before, self._drawn = start_of_drag(start, mask)
        self._layer = self._before
        self.start, self.base = start, base
        self.arrows = Arrows(handles, handles, pins)
        self.frames: list[Frame] = []
        self.seconds = 0.0
        self.short: bool | None = None  # see `Step.short`

    @property
    def reached(self) -> Frame:
        """The latest frame of the drag."""
        return self.frames[-1] if self.frames else self.start

    def toward(self, targets: PointList, quick: bool = False) -> Iterator[DragProgress]:
        """Drag until the handles are at the targets or the method's steps are used up.

        A live method yields once, at the end. quick: it takes the few steps of a pointer that moves, and the points of
        its last frame are where they should be; otherwise it does all that `drag.py` does, and points are looked for in
        its picture. Raises InputError where points make no sense.
        """
        if len(targets) != len(self.arrows.handles):
            raise InputError(f"There are {len(self.arrows.handles)} handles but {len(targets)} targets; give one each.")
        self.arrows = Arrows(self.arrows.handles, targets, self.arrows.pins)
        if self.live:
            self.frames, self.seconds, self.short = [], 0.0, None
        pinned = self.arrows.handles + self.arrows.pins
        points = self.reached.points if self.frames else pinned
        past = self.seconds
        if self._before is not None and self._grow:
            self._layer = grown(self._before, self.arrows.handles, targets)
            # One mask for all of them: an optimiser's frames would hold one for every move of the pointer.
            self.frames = [replace(frame, mask=self._layer) for frame in self.frames]
        method = self._quick if quick else self._method if self._layer is None else self._untracked
        steps = method.drag(self.reached.ws, points, targets + self.arrows.pins, mask=self._layer)
        if self.live:
            yield self._take_all(list(steps), points, look=not quick and self._layer is not None)
            return
        for step in steps:
            assert isinstance(step.points, Tensor)  # one image
            known = self._tracks and self._layer is None
            yield self._take(step, step.points if known else self._found(self._frame(step), step.points), past)

    def _take_all(self, steps: Sequence[Step], start: PointList, look: bool) -> DragProgress:
        """Take all steps of a live drag. Only the last image is searched for the points, which costs more than an
        image.

        The points of the other steps are on straight lines from their start.
        """
        reached = steps[-1].points
        assert isinstance(reached, Tensor)  # one image
        if look:
            reached = self._found(self._frame(steps[-1]), reached)
        begin = torch.tensor(start, dtype=reached.dtype, device=reached.device)
        for step in steps[:-1]:
            self._take(step, torch.lerp(begin, reached, step.index / len(steps)))
        return self._take(steps[-1], reached)

    def _take(self, step: Step, points: Float[Tensor, "N 2"], past: float = 0.0) -> DragProgress:
        frame = self._frame(step, as_points(points))
        if len(self.frames) >= MAX_FRAMES:
            self.frames = self.frames[::2]
        self.frames.append(frame)
        self.seconds = past + step.seconds
        self.short = None if step.short is None else bool(step.short.any())
        return DragProgress(frame, step.index, step.seconds, bool(step.done.all()))

    def _frame(self, step: Step, points: PointList = ()) -> Frame:
        return Frame(step.ws.detach().cpu(), points, self._under, self._layer, self._drawn)

    def _found(self, frame: Frame, expected: Float[Tensor, "N 2"]) -> Float[Tensor, "N 2"]:
        """Where the handles and pins are in the image of a frame, searched near their expected places."""
        handles = torch.tensor([self.arrows.handles + self.arrows.pins], device=expected.device)
        targets = torch.tensor([self.arrows.targets + self.arrows.pins], device=expected.device)
        generator = self._renderer.generator
        with torch.no_grad():
            if self._tracker is None:
                self._tracker = Tracker(generator, self._renderer.features(self.start, BLOCK), handles)
            radius = search_radius(handles, targets, generator.resolution)
            return self._tracker.find_in(self._renderer.features(frame, BLOCK), expected[None], radius)[0]


def as_points(points: Points) -> PointList:
    """Any [N, 2] as tuples. Raises InputError for anything else."""
    try:
        values = torch.as_tensor(points, dtype=torch.float64).tolist() if len(points) else []
        return tuple((float(x), float(y)) for x, y in values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"The points are no (x, y) pairs ({error}); give [N, 2] pixels of the image.") from None
