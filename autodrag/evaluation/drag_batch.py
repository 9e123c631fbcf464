"""Running a drag method over many images, and timing it on single ones."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from autodrag.generator import FrozenGenerator
from autodrag.methods import DragMethod

Pairs = Sequence[Float[Tensor, "_ 2"]]

WARM_UPS = 2  # the first call chooses kernels, the second records CUDA graphs


@dataclass(frozen=True)
class Edited:
    """Results of drags: latents and number of steps of each image; seconds of the whole batch."""

    ws: Float[Tensor, "B L D"]
    steps: Int[Tensor, " B"]
    seconds: float


def edit(method: DragMethod, ws: Float[Tensor, "B L D"], handles: Pairs, targets: Pairs) -> Edited:
    """Drag a batch of images to the end."""
    steps = torch.zeros(len(ws), dtype=torch.long)
    done = torch.zeros(len(ws), dtype=torch.bool)
    last, seconds = ws, 0.0
    for step in method.drag(ws, list(handles), list(targets)):
        steps[~done] = step.index
        done = step.done.cpu()
        last, seconds = step.ws, step.seconds
    return Edited(last, steps, seconds)


@dataclass(frozen=True)
class Timing:
    """Seconds of single edits: of the method alone, and including the rendered result."""

    method: list[float]
    rendered: list[float]


def time_edits(
    generator: FrozenGenerator, method: DragMethod, ws: Float[Tensor, "B L D"], handles: Pairs, targets: Pairs
) -> Timing:
    """Time each edit alone (batch 1), synchronised, after warm-ups."""
    warm_up(generator, method, ws[:1], handles[:1], targets[:1])
    timing = Timing([], [])
    for index in range(len(ws)):
        edited = edit(method, ws[index : index + 1], handles[index : index + 1], targets[index : index + 1])
        start = time.perf_counter()
        _render(generator, edited)
        timing.method.append(edited.seconds)
        timing.rendered.append(edited.seconds + time.perf_counter() - start)
    return timing


def warm_up(
    generator: FrozenGenerator, method: DragMethod, ws: Float[Tensor, "1 L D"], handles: Pairs, targets: Pairs
) -> None:
    """Edits before those that are timed, of another image: methods remember the features of the last one."""
    for _ in range(WARM_UPS):
        _render(generator, edit(method, torch.lerp(ws, generator.w_avg.to(ws), 0.5), handles, targets))


@torch.no_grad()
def _render(generator: FrozenGenerator, edited: Edited) -> None:
    generator.synthesize(edited.ws)
    if edited.ws.is_cuda:
        torch.cuda.synchronize(edited.ws.device)
