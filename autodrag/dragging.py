"""`scripts/drag.py`: drag one image or many, and write results that the editor can open."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from autodrag.config import DatasetConfig, dataset_names
from autodrag.devices import pick_device
from autodrag.editor.drag import as_points
from autodrag.editor.export import sampled
from autodrag.editor.first_frame import of_latent, of_seed
from autodrag.editor.renderer import Renderer
from autodrag.editor.session_file import About, Saved, dump
from autodrag.editor.state import Arrows, Frame, State, start_of_drag
from autodrag.editor.tuning import AS_IS
from autodrag.edits import Edit, read_edits
from autodrag.errors import InputError
from autodrag.files import make_folder, write_whole
from autodrag.films import KINDS, check_rate
from autodrag.generator import Class, FrozenGenerator
from autodrag.loading import load_generator
from autodrag.masks import read_mask
from autodrag.methods import DragMethod, MethodConfig, load_method
from autodrag.methods.base import read_request
from autodrag.precision import Asked, choose
from autodrag.visualize import draw_points, save_animation, save_image

MAX_FRAMES = 10_000  # of an animation
IMAGES, SESSION = (".png", ".jpg", ".jpeg"), ".safetensors"
FILMS = tuple(f".{kind}" for kind in KINDS)


@dataclass(frozen=True)
class DragConfig:
    """`configs/drag.yaml`."""

    dataset: DatasetConfig
    method: MethodConfig
    seed: int  # of the image
    psi: float  # truncation of the image
    latent: str | None  # file of the latents to start from, instead of a seed
    handles: tuple[tuple[float, float], ...]  # (x, y) pixels
    targets: tuple[tuple[float, float], ...]  # (x, y) pixels, one per handle
    mask: str | None  # image file, white where the image may change; None: everywhere
    edits: str | None  # file with a list of edits, instead of the points above
    batch: int  # edits per batch
    wrong: Literal["stop", "skip"]  # how to handle an invalid edit of the list
    out: str  # output file; a folder with `edits`
    frames: int  # of an animation, without the pauses at both ends
    fps: float  # of an animation
    device: str
    dtype: Asked  # of synthesis
    c: int | tuple[float, ...] | None  # class, for a conditional generator


@dataclass(frozen=True)
class Dragged:
    """The result of an edit."""

    edit: Edit
    state: State  # the session after the drag, as in the editor
    points: Float[Tensor, "N 2"]  # final positions of the handles, in pixels
    steps: int
    seconds: float  # of the method, for the whole batch


def run(config: DragConfig) -> None:
    """Drag and write the results. Raises InputError before the first drag if the input is invalid."""
    out = Path(config.out)
    suffix = _checked_suffix(config, out)
    edits = [Edit(out.stem, config.seed, config.latent, config.handles, config.targets)]
    edits = edits if config.edits is None else read_edits(Path(config.edits))
    device = pick_device(config.device)
    generator = load_generator(config.dataset, device, getattr(torch, choose(config.dtype, device)), c=config.c)
    method = load_method(config.method.name, generator, **config.method.options)
    mask = None if config.mask is None else read_mask(config.mask, generator.resolution)
    starts = _valid(edits, generator, mask, config)
    folder = make_folder(out.parent if config.edits is None else out)
    renderer = Renderer(generator)
    begin, dragging = time.perf_counter(), 0.0
    for start in range(0, len(starts), config.batch):
        batch = drag_together(method, starts[start : start + config.batch], mask)
        dragging += batch[0].seconds
        for dragged in batch:
            write(dragged, renderer, folder, suffix, config)
            print(_sentence(dragged), flush=True)
    if len(starts) > 1:
        rate, written = len(starts) / max(dragging, 1e-9), len(starts) / (time.perf_counter() - begin)
        print(f"{len(starts)} edits: {rate:.1f} per second dragged, {written:.1f} written")


def drag_together(
    method: DragMethod, starts: Sequence[tuple[Edit, State]], mask: Float[Tensor, "H W"] | None
) -> list[Dragged]:
    """Several edits as one batch, each from its own state."""
    edits = [edit for edit, _ in starts]
    ws = torch.cat([state.frame.ws for _, state in starts])
    steps = list(method.drag(ws, [list(e.handles) for e in edits], [list(e.targets) for e in edits], mask=mask))
    if not steps:
        return [Dragged(edit, state, torch.tensor(edit.handles), 0, 0.0) for edit, state in starts]
    found = steps[-1].points  # only of the last step: some methods track when the points are read
    points = [found.cpu()] if isinstance(found, Tensor) else [each.cpu() for each in found]
    paths = torch.stack([step.ws for step in steps], dim=1).float().cpu()  # [B, steps, L, D]
    return [
        Dragged(edit, _after_drag(edit, state, path, reached, mask), reached, len(steps), steps[-1].seconds)
        for (edit, state), path, reached in zip(starts, paths, points, strict=True)
    ]


def _after_drag(
    edit: Edit,
    state: State,
    path: Float[Tensor, "steps L D"],
    reached: Float[Tensor, "N 2"],
    mask: Float[Tensor, "H W"] | None,
) -> State:
    """The state after a drag through these latents. Points move in straight lines to their final positions."""
    under, layer, drawn = start_of_drag(state.frame, mask)
    handles = torch.tensor(edit.handles)
    frames = tuple(
        Frame(ws[None], as_points(torch.lerp(handles, reached, index / len(path))), under, layer, drawn)
        for index, ws in enumerate(path, 1)
    )
    return replace(state.dragged(0, frames, Arrows(edit.handles, edit.targets)), mask=mask)


def write(dragged: Dragged, renderer: Renderer, folder: Path, suffix: str, config: DragConfig) -> None:
    """Write the session as NAME.safetensors, and NAME with the suffix if that is another kind of file.

    With an animation or `edits`, also NAME-before.png, NAME-after.png and NAME-arrows.png.
    """
    edit, motion = dragged.edit, dragged.state.motion
    target = Path(config.out) if config.edits is None else folder / f"{edit.name}{suffix}"
    shown = list(sampled(motion, config.frames + 1 if config.frames and suffix in FILMS else 2))
    images = [_image(renderer, frame) for frame in shown]
    handles, targets = torch.tensor(edit.handles), torch.tensor(edit.targets)
    if suffix in IMAGES:
        save_image(images[-1], target)
    if suffix in FILMS:
        save_image(images[0], folder / f"{edit.name}-before.png")
        save_image(images[-1], folder / f"{edit.name}-after.png")
        save_image(draw_points(images[0], handles, targets), folder / f"{edit.name}-arrows.png")
    if suffix in FILMS and config.frames:
        rest = max(1, round(config.fps / 2))  # pause for half a second at the first and last image
        film = [draw_points(image, targets=targets) for image in (*images[:1] * rest, *images)]
        save_animation([*film, *film[-1:] * rest], target, config.fps)
    write_whole(folder / f"{edit.name}{SESSION}", _session(dragged.state, renderer.generator, config))


def _session(state: State, generator: FrozenGenerator, config: DragConfig) -> bytes:
    """The bytes of a session file."""
    name = config.dataset.name
    dataset = name if name in dataset_names() else str(config.dataset.source.path)
    about = About.of(dataset, config.method.name, None, AS_IS, state)
    return dump(Saved(about, state, generator.w_avg, None, {}))


def _image(renderer: Renderer, frame: Frame) -> UInt8[Tensor, "3 H W"]:
    return torch.from_numpy(renderer(frame)).permute(2, 0, 1)


def _checked_suffix(config: DragConfig, out: Path) -> str:
    """The suffix of the output files; with `edits`, that of an animation. Raises InputError if it is unknown."""
    if config.batch < 1 or not 0 <= config.frames <= MAX_FRAMES:
        raise InputError(f"batch must be at least 1, and frames at least 0 and at most {MAX_FRAMES}.")
    suffix = out.suffix.lower() if config.edits is None else ".gif"
    known = (*IMAGES, *FILMS, SESSION)
    if suffix not in known:
        raise InputError(f"{out} cannot be written: give a name that ends in {', '.join(known[:-1])} or {known[-1]}.")
    if suffix in FILMS and (config.edits is None or config.frames):
        check_rate(suffix[1:], config.fps)
    return suffix


def _valid(
    edits: Sequence[Edit], generator: FrozenGenerator, mask: Float[Tensor, "H W"] | None, config: DragConfig
) -> list[tuple[Edit, State]]:
    """The valid edits, each with its initial state.

    An invalid one raises InputError, or is reported and skipped if `wrong` is "skip".
    """
    valid = []
    for number, edit in enumerate(edits, 1):
        start = _start(edit, generator, mask, config.psi, config.c)
        if isinstance(start, State):
            valid.append((edit, start))
            continue
        if config.edits is None:
            raise InputError(start)
        sentence = f"Edit {number} of {config.edits} ({edit.name}): {start}"
        if config.wrong == "stop":
            raise InputError(f"{sentence} No edit was made; set wrong=skip to make the others.")
        print(f"{sentence} It is skipped.", file=sys.stderr, flush=True)
    if not valid:
        raise InputError(f"All edits of {config.edits} are invalid.")
    return valid


def _start(
    edit: Edit, generator: FrozenGenerator, mask: Float[Tensor, "H W"] | None, psi: float, c: Class | None
) -> State | str:
    """The initial state of an edit, or the reason why it is invalid."""
    try:
        given = edit.latent
        state = of_seed(generator, edit.seed, psi, None, c) if given is None else of_latent(generator, given)
        read_request(generator, state.frame.ws, [list(edit.handles)], [list(edit.targets)], mask)
    except InputError as error:
        return str(error)
    return state


def _sentence(dragged: Dragged) -> str:
    targets = torch.tensor(dragged.edit.targets)
    before = (torch.tensor(dragged.edit.handles) - targets).norm(dim=1).mean()
    after = (dragged.points - targets).norm(dim=1).mean()
    distance = f"{before:.1f} px from the targets, now {after:.1f}"
    return f"{dragged.edit.name}: {distance}; {dragged.steps} steps, {dragged.seconds:.2f} s"
