"""The state of an editing session: images as latents, the motion that led to them, arrows, a mask."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from autodrag.errors import InputError

#: (x, y) in pixels of the generator's image.
PointList = tuple[tuple[float, float], ...]

MAX_FRAMES = 512  # of a whole motion
DRAG_FRAMES = 64  # of one drag, once it is over
MAX_LAYERS = 16
MAX_PSI = 2.0  # below 0: the opposite of a picture


@dataclass(frozen=True, eq=False)
class Frame:
    """An immutable image: its latents and, under a mask, the image around them.

    ws: [1, L, D]. points: (x, y) pixels of handles, then pins. mask: [H, W], 1 where `ws` is visible and 0 where
    `under` is; both are None or neither. drawn: the user's mask, which `mask` equals or has grown from.
    """

    ws: Float[Tensor, "1 L D"]
    points: PointList = ()
    under: "Frame | None" = None
    mask: Float[Tensor, "H W"] | None = None
    drawn: Float[Tensor, "H W"] | None = None

    @property
    def layers(self) -> int:
        """Number of images under this one."""
        count, frame = 0, self.under
        while frame is not None:
            count, frame = count + 1, frame.under
        return count


@dataclass(frozen=True)
class Origin:
    """The source of the first image.

    seed: None for a user's own image. style: seed of rows 6.., if another. c: class, for a conditional generator.
    """

    seed: int | None
    psi: float
    style: int | None = None
    c: int | tuple[float, ...] | None = None


@dataclass(frozen=True)
class Arrows:
    """The input of a drag, in its first image: handles with targets, and pins."""

    handles: PointList = ()
    targets: PointList = ()
    pins: PointList = ()


@dataclass(frozen=True, eq=False)
class State:
    """The part of a session that undo restores.

    motion: from the first to the current image. base: index of the frame where the last drag started. arrows: of the
    last drag. plan: arrows that are set but not dragged yet; None: the last drag's arrows are shown. grow: whether the
    editable region of `mask` grows with a drag.
    """

    origin: Origin
    motion: tuple[Frame, ...]
    base: int = 0
    arrows: Arrows = field(default_factory=Arrows)
    mask: Float[Tensor, "H W"] | None = None
    plan: Arrows | None = None
    grow: bool = False

    @property
    def frame(self) -> Frame:
        """The current image."""
        return self.motion[-1]

    def dragged(self, base: int, frames: tuple[Frame, ...], arrows: Arrows) -> "State":
        """After a drag from frame `base`, whose frames replace the later ones.

        At most DRAG_FRAMES of a drag are kept; a motion that gets too long is thinned by half.
        """
        past = self.motion[: base + 1]
        while len(past) > MAX_FRAMES - DRAG_FRAMES:
            past = (*past[:-1:2], past[-1])
        return replace(self, motion=past + thinned(frames), base=len(past) - 1, arrows=arrows, plan=None)

    def restyled(self, origin: Origin, tail: Float[Tensor, "1 M D"]) -> "State":
        """The same motion with other rows 6.., which no drag changes."""
        swap = _Swap(lambda ws: torch.cat([ws[:, : ws.shape[1] - tail.shape[1]], tail], dim=1))
        return replace(self, origin=origin, motion=tuple(map(swap, self.motion)))


def thinned(frames: tuple[Frame, ...], count: int = DRAG_FRAMES) -> tuple[Frame, ...]:
    """At most `count` of the frames, evenly spaced, with the last."""
    last = len(frames) - 1
    if last < count:
        return frames
    return tuple(frames[round((i + 1) * last / count)] for i in range(count))


class _Swap:
    """Frames with mapped latents; frames that lie under several others stay shared."""

    def __init__(self, change: Callable[[Tensor], Tensor]) -> None:
        self._change = change
        self._made: dict[int, Frame] = {}

    def __call__(self, frame: Frame) -> Frame:
        if id(frame) not in self._made:
            under = None if frame.under is None else self(frame.under)
            self._made[id(frame)] = replace(frame, ws=self._change(frame.ws), under=under)
        return self._made[id(frame)]


def start_of_drag(frame: Frame, mask: Float[Tensor, "H W"] | None) -> tuple[Frame | None, Tensor | None, Tensor | None]:
    """(under, mask, drawn) of the frames of a drag that starts at `frame` with the user's `mask`.

    A mask keeps the image as it was when the mask was first used, so that several drags with equal masks add no layers.
    Raises InputError beyond MAX_LAYERS layers.
    """
    if mask is None:
        return None, None, None
    if frame.drawn is not None and torch.equal(frame.drawn, mask):
        return frame.under, frame.mask, frame.drawn
    if frame.layers >= MAX_LAYERS:
        raise InputError(f"{MAX_LAYERS} masks were used one over the other; undo some, or start from a new picture.")
    return frame, mask, mask
