"""Sheets of pictures: Fig. 5 (restored outliers), Fig. 6 (a motion sequence), Fig. 8 and 10 (methods side by side)."""

from collections.abc import Callable
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from autodrag.config import load_yaml
from autodrag.evaluation.folder import EvaluationFolder, chunks
from autodrag.evaluation.instruments import Instruments
from autodrag.evaluation.manifest import read_manifest
from autodrag.evaluation.report.results import Result, of_task
from autodrag.evaluation.run import EvalConfig
from autodrag.evaluation.tasks import make_task
from autodrag.generator import FrozenGenerator, load_generator
from autodrag.latents import corrupt
from autodrag.models import AutoDrag
from autodrag.seeding import rng
from autodrag.visualize import draw_points, motion_sheet, sheet, to_bytes
from autodrag.weights import weights_path

SHOWN = 8  # rows of a sheet
NOISE, DROP = 0.5, 0.25  # of Fig. 5's outliers: those of stage 1

Picture = UInt8[Tensor, "3 height width"]


def fig8(results: list[Result], dataset: str) -> Tensor | None:
    """The first items of the landmark task: the source with its points, the target, and what each method made of it."""
    found = {k: r for k, r in of_task(results, "landmarks", dataset).items() if k not in ("no-edit", "oracle")}
    if not found:
        return None
    config = load_yaml(next(iter(found.values())).folder / "config.yaml", EvalConfig)
    generator = load_generator(config.dataset)
    task = make_task(config.task, config.dataset, generator, Instruments(None, None, [], {}), config.seed)
    setting = "5" if "5" in task.settings else next(iter(task.settings))
    manifest = read_manifest(Path(config.manifest))
    items = manifest.items[:SHOWN]
    latents = task.latents(items)
    assert latents.goal is not None
    pairs = [item.pair(task.settings[setting]) for item in items]
    sources = to_bytes(task.images(latents.source))
    rows = [[draw_points(image, *pair)] for image, pair in zip(sources, pairs, strict=True)]
    for result in found.values():
        size = load_yaml(result.folder / "config.yaml", EvalConfig).batch
        folder = EvaluationFolder(result.folder)
        read = [c for c in chunks([setting], manifest.items, size) if c.items[0].index < len(items)]
        ws = torch.cat([folder.read_prediction(c, task.latents(c.items).source).ws for c in read])[: len(items)]
        for row, image, (_, targets) in zip(rows, to_bytes(task.images(ws)), pairs, strict=True):
            row.append(draw_points(image, targets=targets))
    for row, image in zip(rows, to_bytes(task.images(latents.goal)), strict=True):
        row.append(image)
    return sheet(rows)


def fig5(results: list[Result], dataset: str) -> Tensor | None:
    """A row a latent: w, the outlier w' that Eq. 1 makes of it, and what the regularizer makes of that."""
    generator, model = load_generator(dataset), AutoDrag.load(weights_path(dataset))
    if model.regularizer is None:
        return None
    ws = _latents(generator, SHOWN)
    std = model.regularizer.standardise.std
    with torch.no_grad():
        outliers = corrupt(ws, std, NOISE, DROP, "element", rng(0, "fig5 noise"))
        columns = [_images(generator, w) for w in (ws, outliers, model.regularizer(outliers))]
    return sheet([list(row) for row in zip(*columns, strict=True)])


def fig6(results: list[Result], dataset: str) -> Tensor | None:
    """A row a drag of the trained model: the source with its points, w_1 .. w_n."""
    config = next((r for r in of_task(results, "landmarks", dataset).values()), None)
    if config is None:
        return None
    given = load_yaml(config.folder / "config.yaml", EvalConfig)
    generator, model = load_generator(given.dataset), AutoDrag.load(weights_path(dataset))
    task = make_task(given.task, given.dataset, generator, Instruments(None, None, [], {}), given.seed)
    items = read_manifest(Path(given.manifest)).items[: SHOWN // 2]
    setting = "5" if "5" in task.settings else next(iter(task.settings))
    pairs = [item.pair(task.settings[setting]) for item in items]
    handles, targets = (torch.stack(part) for part in zip(*pairs, strict=True))
    ws = task.latents(items).source
    with torch.no_grad():
        features = generator.features(ws, block=model.config.feature_block).float()
        motion = torch.stack([ws, *model.rollout(ws, features, handles, targets)], dim=1)
    images = torch.stack([task.images(frames) for frames in motion])
    return motion_sheet(images, pairs)


SHEETS: dict[str, Callable[[list[Result], str], Tensor | None]] = {"fig5": fig5, "fig6": fig6, "fig8": fig8}


def _latents(generator: FrozenGenerator, count: int) -> Float[Tensor, "B L D"]:
    return generator.map(torch.randn(count, generator.z_dim, generator=rng(0, "fig5 latents")), psi=0.7)


def _images(generator: FrozenGenerator, ws: Float[Tensor, "B L D"]) -> Tensor:
    images = generator.synthesize(ws)
    assert isinstance(images, Tensor)  # no features were asked for
    return to_bytes(images)
