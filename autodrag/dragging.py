"""`scripts/drag.py`: drag one image or many, and keep pictures, an animation and the latents."""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from autodrag.blending import Kept
from autodrag.config import DatasetConfig
from autodrag.devices import pick_device
from autodrag.editor.latent_files import DRAG_FORMAT, read_latent, signature
from autodrag.edits import Edit, read_edits
from autodrag.errors import InputError
from autodrag.files import write_tensors
from autodrag.films import check_rate, film_kind
from autodrag.generator import FrozenGenerator, load_generator
from autodrag.images import to_uint8
from autodrag.masks import read_mask
from autodrag.methods import METHODS, DragMethod, check_options, load_method
from autodrag.methods.base import read_request
from autodrag.precision import Asked, choose
from autodrag.seeding import rng
from autodrag.visualize import draw_points, save_animation, save_image

PASS = 8  # images rendered at a time
MAX_FRAMES = 10_000  # of an animation


@dataclass(frozen=True)
class MethodChoice:
    """`configs/method/`. options: of `load_method`; those that are None are left to the method."""

    name: str
    label: str
    options: dict[str, bool | int | float | str | None]

    def __post_init__(self) -> None:
        if self.name in METHODS:  # "oracle" is for evaluations alone, which is said when it is loaded
            check_options(self.name, self.options, "method.options.")


@dataclass(frozen=True)
class DragConfig:
    """`configs/drag.yaml`."""

    dataset: DatasetConfig
    method: MethodChoice
    seed: int
    psi: float
    latent: str | None
    handles: tuple[tuple[float, float], ...]
    targets: tuple[tuple[float, float], ...]
    mask: str | None
    edits: str | None
    batch: int
    wrong: Literal["stop", "skip"]
    out: str
    frames: int
    fps: float
    device: str
    dtype: Asked
    c: int | tuple[float, ...] | None


@dataclass(frozen=True)
class Dragged:
    """What came of an edit.

    motion: w_0 and the latents after each step. points: where the handles ended. seconds: that the method worked on all
    the edits of its batch.
    """

    edit: Edit
    motion: Float[Tensor, "steps L D"]
    points: Float[Tensor, "N 2"]
    seconds: float


def run(config: DragConfig) -> None:
    """Drag, and write beside `out`: before, after, arrows, the animation, and the latents, which load back."""
    if config.batch < 1 or not 0 <= config.frames <= MAX_FRAMES:
        raise InputError(f"batch must be at least 1, and frames at least 0 and at most {MAX_FRAMES}.")
    out = Path(config.out)
    suffix = out.suffix if config.edits is None else ".gif"
    if config.edits is None or config.frames:
        check_rate(film_kind(f"out{suffix}" if config.edits else config.out), config.fps)
    edits = [_only(config, out)] if config.edits is None else read_edits(Path(config.edits))
    device = pick_device(config.device)
    dtype = getattr(torch, choose(config.dtype, device))
    generator = load_generator(config.dataset, device, dtype, c=config.c)
    method = load_method(config.method.name, generator, **config.method.options)
    mask = None if config.mask is None else read_mask(config.mask, generator.resolution)
    edits = _makeable(edits, generator, mask, config)
    folder = out.parent if config.edits is None else out
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The folder {folder} cannot be made ({error.strerror}); choose another out=.") from None
    begin, dragging = time.perf_counter(), 0.0
    for start in range(0, len(edits), config.batch):
        part = edits[start : start + config.batch]
        batch = drag_together(generator, method, part, config.psi, mask)
        dragging += batch[0].seconds
        for dragged in batch:
            write(dragged, generator, mask, folder, suffix, config)
            print(_sentence(dragged), flush=True)
    if len(edits) > 1:
        rate, written = len(edits) / max(dragging, 1e-9), len(edits) / (time.perf_counter() - begin)
        print(f"{len(edits)} edits: {rate:.1f} a second dragged, {written:.1f} written")


def drag_together(
    generator: FrozenGenerator, method: DragMethod, edits: Sequence[Edit], psi: float, mask: Float[Tensor, "H W"] | None
) -> list[Dragged]:
    """Several edits as one batch. psi: truncation of the images of seeds. Raises InputError."""
    ws = torch.cat([starting_latent(generator, edit, psi) for edit in edits])
    handles = [list(edit.handles) for edit in edits]
    targets = [list(edit.targets) for edit in edits]
    motion, points, seconds = [ws], [torch.tensor(edit.handles) for edit in edits], 0.0
    steps = list(method.drag(ws, handles, targets, mask=mask))
    if steps:
        found = steps[-1].points  # only here: some methods look for their handles when they are read
        points, seconds = [found] if isinstance(found, Tensor) else found, steps[-1].seconds
        motion += [step.ws for step in steps]
    paths = torch.stack(motion, dim=1).cpu()
    return [
        Dragged(edit, path, reached.cpu(), seconds) for edit, path, reached in zip(edits, paths, points, strict=True)
    ]


def starting_latent(generator: FrozenGenerator, edit: Edit, psi: float) -> Float[Tensor, "1 L D"]:
    """The latent of the edit's seed, or that of its file."""
    if edit.latent is None:
        z = torch.randn(1, generator.z_dim, generator=rng(edit.seed, "editor"))  # the same picture as in the editor
        return generator.map(z, psi=psi)
    return read_latent(Path(edit.latent), generator)


def write(
    dragged: Dragged,
    generator: FrozenGenerator,
    mask: Float[Tensor, "H W"] | None,
    folder: Path,
    suffix: str,
    config: DragConfig,
) -> None:
    """NAME-before.png, NAME-after.png, NAME-arrows.png, NAME and the suffix of an animation, NAME.safetensors."""
    edit = dragged.edit
    keep = None if mask is None else generator.keep(dragged.motion[:1], mask)
    shown = between(dragged.motion, config.frames) if config.frames else dragged.motion[[0, -1]]
    images = render(generator, shown, keep)
    handles, targets = torch.tensor(edit.handles), torch.tensor(edit.targets)
    save_image(images[0], folder / f"{edit.name}-before.png")
    save_image(images[-1], folder / f"{edit.name}-after.png")
    save_image(draw_points(images[0], handles, targets), folder / f"{edit.name}-arrows.png")
    if config.frames:
        rest = max(1, round(config.fps / 2))  # the first and the last picture stay for half a second
        film = [draw_points(frame, targets=targets) for frame in (*images[:1].expand(rest, -1, -1, -1), *images)]
        save_animation([*film, *film[-1:] * rest], folder / f"{edit.name}{suffix}", config.fps)
    tensors = {"motion": dragged.motion, "handles": handles, "targets": targets, "points": dragged.points}
    about = {
        "format": DRAG_FORMAT,
        "generator": generator.name,
        "w_avg": signature(generator),
        "method": config.method.label,
        "seed": json.dumps(edit.seed),
    }
    try:
        write_tensors(folder / f"{edit.name}.safetensors", tensors, about)
    except OSError as error:
        raise InputError(f"{error}; make room or choose another out=.") from None


@torch.no_grad()
def render(
    generator: FrozenGenerator, ws: Float[Tensor, "frames L D"], keep: Kept | None = None
) -> UInt8[Tensor, "frames 3 H W"]:
    """The images of latents as bytes; with `keep`, one after another."""
    images = []
    for part in ws.split(PASS if keep is None else 1):
        image = generator.synthesize(part, keep=keep)
        assert isinstance(image, Tensor)  # no features were asked for
        images.append(to_uint8(image).cpu())
    return torch.cat(images)


def between(motion: Float[Tensor, "steps L D"], count: int) -> Float[Tensor, "frames L D"]:
    """`count` latents and the start, evenly along the steps of the motion, with straight lines in between."""
    place = torch.linspace(0, len(motion) - 1, count + 1)
    low = place.long().clamp(max=max(0, len(motion) - 2))
    high = (low + 1).clamp(max=len(motion) - 1)
    return torch.lerp(motion[low], motion[high], (place - low)[:, None, None])


def _makeable(
    edits: Sequence[Edit], generator: FrozenGenerator, mask: Float[Tensor, "H W"] | None, config: DragConfig
) -> list[Edit]:
    """The edits that can be made, all checked before the first one is.

    Raises InputError, which names the edit, for one that cannot, unless `wrong` is "skip": then that is printed.
    """
    good = []
    for number, edit in enumerate(edits, 1):
        problem = _problem(edit, generator, mask, config.psi)
        if problem is None:
            good.append(edit)
            continue
        if config.edits is None:
            raise InputError(problem)
        sentence = f"Edit {number} of {config.edits} ({edit.name}): {problem}"
        if config.wrong == "stop":
            raise InputError(f"{sentence} None was made; with wrong=skip the others are.")
        print(f"{sentence} It is left out.", file=sys.stderr, flush=True)
    if not good:
        raise InputError(f"None of the edits of {config.edits} can be made.")
    return good


def _problem(edit: Edit, generator: FrozenGenerator, mask: Float[Tensor, "H W"] | None, psi: float) -> str | None:
    """Why an edit cannot be made; None where it can."""
    try:
        ws = starting_latent(generator, edit, psi)
        read_request(generator, ws, [list(edit.handles)], [list(edit.targets)], mask)
    except InputError as error:
        return str(error)
    return None


def _only(config: DragConfig, out: Path) -> Edit:
    return Edit(out.stem, config.seed, config.latent, config.handles, config.targets)


def _sentence(dragged: Dragged) -> str:
    targets = torch.tensor(dragged.edit.targets)
    before = (torch.tensor(dragged.edit.handles) - targets).norm(dim=1).mean()
    after = (dragged.points - targets).norm(dim=1).mean()
    steps = len(dragged.motion) - 1
    way = f"{before:.1f} px from the targets, now {after:.1f}"
    return f"{dragged.edit.name}: {way}; {steps} steps, {dragged.seconds:.2f} s"
