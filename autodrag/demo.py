"""The whole pipeline on the bundled domain in minutes: trajectories, brief training, then drags of unseen faces."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from autodrag.config import MODEL_DIR, DatasetConfig
from autodrag.devices import pick_device
from autodrag.errors import InputError
from autodrag.evaluation.metrics import mean_distance
from autodrag.files import make_folder
from autodrag.generator import FrozenGenerator
from autodrag.images import to_pixels, to_uint8
from autodrag.loading import load_generator
from autodrag.methods import DragMethod, load_method
from autodrag.seeding import rng
from autodrag.vision.detectors import load_detector
from autodrag.visualize import draw_points, save_animation, save_image, sheet
from autodrag.weights import weights_path

# Landmarks that are dragged: outer and inner corners of the eyes, base of the nose, corners of the mouth, chin.
DRAGGED = (36, 39, 42, 45, 33, 48, 54, 8)
HOLD = 6  # frames that the animation pauses at either end


# Stages in the order of training: config section, and overrides that point to results of previous stages.
STAGES: dict[int | str, tuple[str, dict[str, int | str]]] = {
    1: ("stage1", {}),
    "motion": ("motion", {}),
    "aim": ("aim", {"motion": "motion"}),
    2: ("stage2", {"start": 1, "motion": "motion", "aim": "aim"}),
}


@dataclass(frozen=True)
class DemoConfig:
    """`scripts/demo.py`."""

    dataset: DatasetConfig
    out: str  # output folder of samples, runs and pictures
    samples: int  # number of trajectories
    epochs: tuple[int, int, int, int]  # for each of `STAGES`, of `epoch_samples` each
    epoch_samples: int
    faces: int  # number of faces to drag
    draggan_steps: int  # of DragGAN, if the dataset has no trained AutoDrag
    device: str
    seed: int


@dataclass(frozen=True)
class Pair:
    """A face and the targets of its landmarks."""

    ws: Float[Tensor, "1 L D"]
    handles: Float[Tensor, "68 2"]
    targets: Float[Tensor, "68 2"]


def run(config: DemoConfig) -> None:
    """Run the demo. Raises InputError if a step fails, after the step has printed its own message."""
    out = make_folder(Path(config.out))
    _train_briefly(config, out)
    generator = load_generator(config.dataset, pick_device(config.device))
    method, label = _method(config, generator)
    print(f"\nDragging {config.faces} unseen faces with {label}")
    _drag(config, generator, method, out)


def _command(words: Sequence[str]) -> None:
    print(f"\n$ autodrag {' '.join(words)}", flush=True)
    if subprocess.run([sys.executable, "-m", "autodrag.commands", *words], check=False).returncode != 0:
        raise InputError(f"The demo stops because `autodrag {' '.join(words)}` failed; see its message above.")


def _train_briefly(config: DemoConfig, out: Path) -> None:
    """The real commands with little data and few steps: enough to see every loss decrease."""
    data, device = f"data={out}/data", f"device={config.device}"
    made = ["experiment=synthface_trajectories", f"count={config.samples}", "trajectory.outlines=true"]
    made += [f"out={out}/data", device]
    _command(["trajectories", *made])
    for (stage, (section, read)), epochs in zip(STAGES.items(), config.epochs, strict=True):
        run_folder = out / f"stage{stage}"
        budget = [f"{section}.budget.epochs={epochs}", f"{section}.budget.samples={config.epoch_samples}"]
        budget.append(f"{section}.validation={config.samples // 4}")
        if stage == "motion":
            budget.append(f"motion.folders=[{out}/data]")
        if stage != 1:
            budget.append(f"{section}.metric_latents=1")  # a rough estimate suffices, at a quarter of the cost or less
        before = [f"{section}.{part}={out}/stage{name}/weights.safetensors" for part, name in read.items()]
        words = [f"stage={stage}", "experiment=synthface", data, f"out={run_folder}", device, "loop.logger.log_every=5"]
        _command(["train", *words, *budget, *before])
        losses = [json.loads(line) for line in (run_folder / "stats.jsonl").read_text(encoding="utf-8").splitlines()]
        trained = [line["loss"] for line in losses if "loss" in line]
        third = max(1, len(trained) // 3)  # single values vary with the drags in the batch
        first, last = (sum(part) / third for part in (trained[:third], trained[-third:]))
        print(f"stage {stage}: mean loss {first:.4f} in the first third, {last:.4f} in the last")


def _method(config: DemoConfig, generator: FrozenGenerator) -> tuple[DragMethod, str]:
    for name in ("landing", "autodrag"):
        try:
            weights_path(config.dataset.name, f"{name}.safetensors")
        except InputError:
            continue
        return load_method(name, generator), f"the trained weights of method={name}"
    label = f"DragGAN, {config.draggan_steps} steps ({config.dataset.name} has no trained weights yet)"
    return load_method("draggan", generator, max_steps=config.draggan_steps, lr=config.dataset.draggan_lr), label


def _pairs(config: DemoConfig, generator: FrozenGenerator) -> list[Pair]:
    """Pairs of faces with landmarks detected in both."""
    detector = load_detector(config.dataset.name, MODEL_DIR)
    pairs: list[Pair] = []
    index = 0
    while len(pairs) < config.faces:
        z = torch.randn(2, generator.z_dim, generator=rng(config.seed, "demo", index))
        ws = generator.map(z, psi=config.dataset.psi)
        first, second = detector(to_pixels(generator.synthesize(ws)))
        if first is not None and second is not None:
            pairs.append(Pair(ws[:1], first, second))
        index += 1
    return pairs


def _drag(config: DemoConfig, generator: FrozenGenerator, method: DragMethod, out: Path) -> None:
    detector, chosen = load_detector(config.dataset.name, MODEL_DIR), list(DRAGGED)
    rows, frames, before, after = [], [], [], []
    for number, pair in enumerate(_pairs(config, generator), start=1):
        handles, targets = pair.handles[chosen], pair.targets[chosen]
        steps = list(method.drag(pair.ws, handles, targets))
        images = generator.synthesize(torch.cat([pair.ws, *(step.ws for step in steps)]))
        found = detector(to_pixels(images[-1:]))[0]
        before.append(float(mean_distance(handles[None], targets[None])))
        after.append(before[-1] if found is None else float(mean_distance(found[None, chosen], targets[None])))
        print(
            f"face {number}: {before[-1]:5.2f} px before, {after[-1]:5.2f} after, {steps[-1].seconds:.2f} s", flush=True
        )
        pictures = to_uint8(images.cpu())
        start, end = draw_points(pictures[0], handles, targets), draw_points(pictures[-1], targets=targets)
        rows.append([start, pictures[len(pictures) // 2], pictures[-1], end])
        moving = [draw_points(p, targets=targets) for p in _even(list(pictures), 18)]
        frames.append([start] * HOLD + moving + [end] * HOLD)
    mean = sum(after) / len(after), sum(before) / len(before)
    print(f"mean distance of {len(chosen)} landmarks: {mean[1]:.2f} px -> {mean[0]:.2f} px ({mean[0] / mean[1]:.0%})")
    save_image(sheet(rows), out / "drags.png")
    width = min(4, len(frames))
    save_animation([sheet([list(row[:width])]) for row in zip(*frames, strict=True)], out / "drags.gif")
    print(f"See {out / 'drags.png'} and {out / 'drags.gif'}")


def _even(items: list[Tensor], count: int) -> list[Tensor]:
    """`count` evenly spaced items, including the last one."""
    return [items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)]
