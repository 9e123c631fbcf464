"""The interface of drag methods, and their shared input validation and bookkeeping."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from autodrag.errors import InputError
from autodrag.generator import FrozenGenerator
from autodrag.masks import read_mask

#: For float fields that also take integers: the runtime type checker of the tests does not accept an int as a float.
Number = int | float

#: Points (x, y) in pixels of the image: [N, 2] for one image, or one such array for each image (N may differ).
Points = Tensor | np.ndarray | Sequence[object]


@dataclass(frozen=True)
class Step:
    """The state of an edit after one update of the latents.

    index: number of the update, from 1.
    ws: latents [B, L, D] after the update; never modified afterwards.
    seconds: compute time of the method since the call, excluding the caller's time between steps.
    done: [B], True where the edit is finished: its latents and points no longer change.
    short: [B], True where the limits of the latents stopped the drag before its targets; None: unknown.
    look: computes the padded points. valid: True at real points, False at padding.
    """

    index: int
    ws: Float[Tensor, "B L D"]
    seconds: float
    done: Bool[Tensor, " B"]
    short: Bool[Tensor, " B"] | None
    look: Callable[[], Float[Tensor, "B P 2"]] = field(repr=False, compare=False)
    valid: Bool[Tensor, "B P"] = field(repr=False, compare=False)

    @cached_property
    def points(self) -> Float[Tensor, "N 2"] | list[Float[Tensor, "_ 2"]]:
        """Positions of the handles in the image of `ws`: [N, 2] (x, y) pixels for B = 1, else a list of B such arrays.

        Computed on first access if the method does not need them itself; not included in `seconds`.
        """
        points = [p[v] for p, v in zip(self.look(), self.valid, strict=True)]
        return points[0] if len(points) == 1 else points


@runtime_checkable
class DragMethod(Protocol):
    """A drag method: yields a step after each update of the latents."""

    def drag(self, ws: Float[Tensor, "B L D"], handles: Points, targets: Points, mask: Any = None) -> Iterator[Step]:
        """Move the content under the handles to the targets.

        ws: latents of the images to edit.
        handles, targets: [N, 2] (x, y) pixels of the image for B = 1, or a sequence of B such; N >= 1 may differ.
        mask: anything that `read_mask` accepts, or [B, H, W], in [0, 1], 1 = may change; None: everything may change.
        Raises InputError on the call, before the first step, if the input is invalid.
        """
        ...


@dataclass(frozen=True)
class Request:
    """A validated drag: float32 on one device, points padded to the largest N of the batch.

    handles, targets: [B, P, 2] (x, y) pixels. valid: [B, P], True at real points; padding repeats the last one.
    mask: [B, H, W], 1 = may change, or None. whole: True if there is no padding (known without a GPU synchronisation).
    """

    ws: Float[Tensor, "B L D"]
    handles: Float[Tensor, "B P 2"]
    targets: Float[Tensor, "B P 2"]
    valid: Bool[Tensor, "B P"]
    mask: Float[Tensor, "B H W"] | None
    whole: bool


@dataclass(frozen=True)
class Update:
    """What a method's loop yields. Fields as in `Step`, with padded points.

    points: image pixels, or a function that computes them on demand.
    """

    ws: Float[Tensor, "B L D"]
    points: Float[Tensor, "B P 2"] | Callable[[], Float[Tensor, "B P 2"]]
    done: Bool[Tensor, " B"]
    short: Bool[Tensor, " B"] | None = None


def read_request(generator: FrozenGenerator, ws: Tensor, handles: Points, targets: Points, mask: Any) -> Request:
    """Validate the arguments of `drag` and move them to the generator's device.

    Raises InputError for wrong shapes, values that are not finite, and handles outside the image.
    """
    resolution, num_ws, w_dim, device = generator.resolution, generator.num_ws, generator.w_dim, generator.device
    if ws.ndim != 3 or ws.shape[0] == 0 or ws.shape[1:] != (num_ws, w_dim):
        raise InputError(
            f"ws has shape {list(ws.shape)}, but this generator needs [B, {num_ws}, {w_dim}]; get ws from its `map`."
        )
    if not bool(torch.isfinite(ws).all()):
        raise InputError("ws holds NaN or infinite values; give the latents of an image.")
    batch = ws.shape[0]
    starts = _read_points("handles", handles, batch)
    ends = _read_points("targets", targets, batch)
    for start, end in zip(starts, ends, strict=True):
        if len(start) != len(end):
            raise InputError(f"There are {len(start)} handles but {len(end)} targets; give one target for each handle.")
    _check_inside(starts, resolution)
    numbers = [len(start) for start in starts]
    most = max(numbers)
    return Request(
        ws=ws.detach().to(device, torch.float32, copy=True),  # the caller may change its own, also between steps
        handles=_pad(starts, most).to(device),
        targets=_pad(ends, most).to(device),
        valid=(torch.arange(most) < torch.tensor(numbers)[:, None]).to(device),
        mask=None if mask is None else _read_masks(mask, batch, resolution, device),
        whole=min(numbers) == most,
    )


def run_steps(make_updates: Callable[[Request], Iterator[Update]], request: Request) -> Iterator[Step]:
    """Number and time the updates of a method, as steps."""
    updates = make_updates(request)
    seconds = 0.0
    index = 0
    while True:
        start = time.perf_counter()
        update = next(updates, None)
        if update is None:
            return
        if update.ws.is_cuda:
            torch.cuda.synchronize(update.ws.device)
        seconds += time.perf_counter() - start
        index += 1
        found = update.points
        look = found if callable(found) else partial(_same, found)
        yield Step(index, update.ws, seconds, update.done, update.short, look, request.valid)


def _same(points: Float[Tensor, "B P 2"]) -> Float[Tensor, "B P 2"]:
    return points


def check_positive(method: str, **values: object) -> None:
    """Raises InputError for options that are not positive, finite numbers. None means not set."""
    for name, value in values.items():
        if value is not None and not (isinstance(value, int | float) and 0 < value < float("inf")):
            raise InputError(f"{method}: {name} is {value!r}; give a positive number.")


def _read_points(what: str, points: Points, batch: int) -> list[Float[Tensor, "_ 2"]]:
    """One [N, 2] tensor per image, from one array (B = 1), a [B, N, 2] array or a sequence of B arrays.

    On the CPU, so that the checks do not synchronise a GPU.
    """
    sets = [item.detach().cpu() for item in _split(what, points)]
    if len(sets) != batch:
        raise InputError(
            f"There are {what} for {len(sets)} image(s), but ws holds {batch}; give one [N, 2] array for each."
        )
    for index, item in enumerate(sets):
        where = what if batch == 1 else f"{what} of image {index}"
        if item.numel() == 0:
            raise InputError(f"There are no {where}; give at least one (x, y) point.")
        if item.ndim != 2 or item.shape[1] != 2:
            raise InputError(
                f"The {where} have shape {list(item.shape)}; give [N, 2], an (x, y) pair in pixels for each point."
            )
        if not bool(torch.isfinite(item).all()):
            raise InputError(f"The {where} hold NaN or infinite values; give (x, y) in pixels of the image.")
    return [item.float() for item in sets]


def _split(what: str, points: Points) -> list[Tensor]:
    try:
        if isinstance(points, Tensor | np.ndarray):
            whole = torch.as_tensor(points)
            return list(whole) if whole.ndim == 3 else [whole]
        items = [torch.as_tensor(item, dtype=torch.float32) for item in points]
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"The {what} are not an array of numbers ({error}); give [N, 2], an (x, y) pair for each point."
        ) from None
    if items and all(item.ndim == 1 and item.shape == items[0].shape for item in items):
        return [torch.stack(items)]  # [[x, y], ...]: the points of one image
    return items or [torch.empty(0, 2)]


def _check_inside(starts: list[Float[Tensor, "_ 2"]], resolution: tuple[int, int]) -> None:
    height, width = resolution
    for start in starts:
        x, y = start.unbind(1)
        outside = (x < -0.5) | (x > width - 0.5) | (y < -0.5) | (y > height - 0.5)
        if bool(outside.any()):
            point = ", ".join(f"{value:g}" for value in start[outside][0].tolist())
            raise InputError(
                f"The handle ({point}) lies outside the image, which is {width} px wide and {height} px high; "
                f"give (x, y) with 0 <= x <= {width - 1} and 0 <= y <= {height - 1}."
            )


def _read_masks(mask: Any, batch: int, resolution: tuple[int, int], device: torch.device) -> Float[Tensor, "B H W"]:
    """One mask for all images, or one per image as an array."""
    several = isinstance(mask, Tensor | np.ndarray) and mask.ndim == 3 and mask.shape[1:] == resolution
    if several and len(mask) not in (1, batch):
        raise InputError(
            f"There are {len(mask)} masks, but ws holds {batch} image(s); give one for each or one for all."
        )
    masks = [read_mask(one, resolution) for one in (mask if several else [mask])]
    return torch.stack(masks).to(device).expand(batch, *resolution)


def _pad(sets: list[Float[Tensor, "_ 2"]], size: int) -> Float[Tensor, "B P 2"]:
    return torch.stack([torch.cat([item, item[-1:].expand(size - len(item), 2)]) for item in sets])
