"""What an editing session is at a time: pictures as latents, the motion that led to them, arrows, a mask."""

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


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture: its latents, and under a mask the picture that stays around them. Never changed once made.

    ws: [1, L, D]. points: where handles, then pins are in it, (x, y) pixels. mask: [H, W], 1 where `ws` shows and 0
    where `under` does; both are None or neither. drawn: the user's mask, which `mask` is or has grown from.
    """

    ws: Float[Tensor, "1 L D"]
    points: PointList = ()
    under: "Frame | None" = None
    mask: Float[Tensor, "H W"] | None = None
    drawn: Float[Tensor, "H W"] | None = None

    @property
    def layers(self) -> int:
        """How many pictures lie under this one."""
        count, frame = 0, self.under
        while frame is not None:
            count, frame = count + 1, frame.under
        return count


@dataclass(frozen=True)
class Origin:
    """Where the first picture came from.

    seed: None for one of the user's own. style: seed of rows 6.., if another. c: class, of a generator that has some.
    """

    seed: int | None
    psi: float
    style: int | None = None
    c: int | tuple[float, ...] | None = None


@dataclass(frozen=True)
class Arrows:
    """What a drag is asked for, in the picture it starts from: handles with their targets, and pins, which stay."""

    handles: PointList = ()
    targets: PointList = ()
    pins: PointList = ()


@dataclass(frozen=True, eq=False)
class State:
    """All of a session that undo brings back.

    motion: from the first picture to the picture now. base: index of the frame that the last drag started from.
    arrows: of the last drag. plan: arrows set in the picture now that no drag has followed yet; None: those of the last
    drag are what is shown. grow: whether the editable region of `mask` grows with what a drag moves.
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
        """The picture now."""
        return self.motion[-1]

    def dragged(self, base: int, frames: tuple[Frame, ...], arrows: Arrows) -> "State":
        """After a drag from frame `base`, whose frames replace whatever came after it.

        Of a drag, DRAG_FRAMES are kept, and of a past that gets too long every second.
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
    """At most `count` of the frames, evenly chosen, the last among them."""
    last = len(frames) - 1
    if last < count:
        return frames
    return tuple(frames[round((i + 1) * last / count)] for i in range(count))


class _Swap:
    """Frames with their latents mapped; frames that lie under several stay shared."""

    def __init__(self, change: Callable[[Tensor], Tensor]) -> None:
        self._change = change
        self._made: dict[int, Frame] = {}

    def __call__(self, frame: Frame) -> Frame:
        if id(frame) not in self._made:
            under = None if frame.under is None else self(frame.under)
            self._made[id(frame)] = replace(frame, ws=self._change(frame.ws), under=under)
        return self._made[id(frame)]


def start_of_drag(frame: Frame, mask: Float[Tensor, "H W"] | None) -> tuple[Frame | None, Tensor | None]:
    """(under, mask) of the frames of a drag that starts at `frame` with `mask`.

    A mask keeps the picture as it was when it was first used, so that several drags under one mask do not pile up.
    Raises InputError where more than MAX_LAYERS masks would lie over each other.
    """
    if mask is None:
        return None, None
    if frame.drawn is mask:
        return frame.under, frame.mask
    if frame.layers >= MAX_LAYERS:
        raise InputError(f"{MAX_LAYERS} masks were used one over the other; undo some, or start from a new picture.")
    return frame, mask
