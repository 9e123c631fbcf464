"""Sheets of pictures: Fig. 5 (restored outliers), Fig. 6 (Eq. 7), the steps of drags, Fig. 8 and 10 (methods)."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional as F

from autodrag.config import DatasetConfig, load_yaml
from autodrag.evaluation.folder import EvaluationFolder, chunks
from autodrag.evaluation.manifest import read_manifest
from autodrag.evaluation.metric_networks import MetricNetworks
from autodrag.evaluation.report import paper
from autodrag.evaluation.report.results import Result, of_task, settings_of
from autodrag.evaluation.report.tables import ABLATION, steps_of
from autodrag.evaluation.run import EvalConfig
from autodrag.evaluation.tasks import Item, Task, make_task
from autodrag.generator import FrozenGenerator
from autodrag.images import to_uint8
from autodrag.latents import constant_fractions, corrupt, perturb, split
from autodrag.loading import load_generator
from autodrag.models import AutoDrag
from autodrag.seeding import rng
from autodrag.visualize import draw_points, sheet
from autodrag.weights import weights_path

SHOWN = 6  # rows of a sheet
DRAGS, ABREAST = 20, 4  # drags in the sheet of our method, and how many of them in a row
PULLED = 8  # faces of the sheet of pulls
SIDE = 256  # height of an image in a sheet, in pixels
GAP = 4
TITLE = 22  # pixels of a line above the columns
FEW = 8  # more points than this would hide the images
SEQUENCES, STEPS = 3, 5  # of Fig. 6: latents, and steps of each
NOISE, DROP = 0.5, 0.25  # of Fig. 5's outliers: those of stage 1
LEFT_OUT = ("no-edit", "oracle")  # of the side-by-side sheets, whose first and last column show them

Picture = UInt8[Tensor, "3 H W"]


def fig8(results: list[Result], dataset: str) -> Tensor | None:
    """Items of the landmark task: the source with its points, the result of each method, and the goal."""
    return _side_by_side(of_task(results, "landmarks", dataset), "5")


def fig10(results: list[Result], dataset: str) -> Tensor | None:
    """The same for the paired task, with the seconds of an edit for each method."""
    return _side_by_side(of_task(results, "paired", dataset), None, timed=True)


def fig5(results: list[Result], dataset: DatasetConfig) -> Tensor | None:
    """One row for each latent: w, its outlier w' by Eq. 1, and the outlier restored by the regularizer."""
    model = AutoDrag.load(weights_path(dataset.name))
    if model.regularizer is None:
        return None
    generator = load_generator(dataset)
    z = torch.stack([torch.randn(generator.z_dim, generator=rng(0, "fig5 latents", i)) for i in range(SHOWN)])
    ws = generator.map(z, psi=dataset.psi)
    with torch.no_grad():
        std = model.regularizer.standardise.std
        outliers = corrupt(ws, std, NOISE, DROP, "element", rng(0, "fig5 noise"))
        columns = [_bytes(generator, w) for w in (ws, outliers, model.regularizer(outliers))]
    return _titled(["w", "outlier w'", "restored"], list(zip(*columns, strict=True)))


def fig6(results: list[Result], dataset: DatasetConfig) -> Tensor | None:
    """The sequence w_0 .. w_n of Eq. 7, two rows for each latent: away from w*, as printed, and towards it.

    lambda is the middle of the dataset's range.
    """
    generator = load_generator(dataset)
    z, star = (
        torch.stack([torch.randn(generator.z_dim, generator=rng(0, f"fig6 {which}", i)) for i in range(SEQUENCES)])
        for which in ("latents", "stars")
    )
    ws = generator.map(z, psi=dataset.psi)
    stars = split(generator.map(star, psi=dataset.psi))[0][:, None].expand(-1, STEPS, -1, -1)
    lam = torch.full((SEQUENCES,), sum(dataset.lam) / 2)
    directions: tuple[Literal["away", "toward"], ...] = ("away", "toward")
    motions = [perturb(ws, stars, constant_fractions(lam, STEPS, direction)) for direction in directions]
    rows = [list(_bytes(generator, motion[i])) for i in range(SEQUENCES) for motion in motions]
    return _titled([f"w{n}" for n in range(STEPS + 1)], rows)


def steps(results: list[Result], dataset: str) -> Tensor | None:
    """One row for each drag of the trained model: the source with its points, then w_1 .. w_n."""
    found = of_task(results, "landmarks", dataset)
    if not found:
        return None
    model = AutoDrag.load(weights_path(dataset))
    task, items = _task(next(iter(found.values())))
    pairs = [item.pair(_points(task, "5")) for item in items]
    handles, targets = (torch.stack(part) for part in zip(*pairs, strict=True))
    ws = task.latents(items).source
    with torch.no_grad():
        features = task.generator.features(ws, block=model.config.feature_block).float()
        motion = [ws, *model.rollout(ws, features, handles, targets)]
    frames = [_bytes(task.generator, w) for w in motion]
    rows = []
    for index, pair in enumerate(pairs):
        steps = [draw_points(frame[index], targets=pair[1]) for frame in frames[1:]]
        rows.append([draw_points(frames[0][index], *pair), *steps])
    return _titled(["source", *(f"step {n}" for n in range(1, len(frames)))], rows)


def drags(results: list[Result], dataset: str) -> Tensor | None:
    """Our first drags of five landmarks, without selection: each source with its points, and its edit."""
    ours = of_task(results, "landmarks", dataset).get("autodrag")
    if ours is None:
        return None
    task, items = _task(ours, DRAGS)
    name = "5" if "5" in ours.summary["settings"] else next(iter(ours.summary["settings"]))
    sources = _bytes(task.generator, task.latents(items).source)
    edited = _bytes(task.generator, _edited(ours, task, name, DRAGS)[: len(items)])
    pictures = []
    for item, source, image in zip(items, sources, edited, strict=True):
        handles, targets = item.pair(task.settings[name])
        pictures += [_small(draw_points(source, handles, targets)), _small(draw_points(image, targets=targets))]
    return sheet([pictures[i : i + 2 * ABREAST] for i in range(0, len(pictures), 2 * ABREAST)], GAP)


def pull_sheet(results: list[Result], dataset: str) -> Tensor | None:
    """Pulls of the first faces by our method, without selection: a row a face, its source and the edit of each pull."""
    found = of_task(results, "pulls", dataset)
    ours = found.get("landing") or found.get("autodrag")
    shown = [name for name in ours.summary["settings"] if name.startswith("free")] if ours else []
    if ours is None or not shown:
        return None
    task, items = _task(ours, PULLED)
    columns = [list(_bytes(task.generator, task.latents(items).source))]
    for name in shown:
        edited = _bytes(task.generator, _edited(ours, task, name, PULLED)[: len(items)])
        pairs = (item.pair(task.settings[name]) for item in items)
        columns.append([draw_points(image, *pair) for image, pair in zip(edited, pairs, strict=True)])
    return _titled(["source", *shown], list(zip(*columns, strict=True)))


Sheet: TypeAlias = Callable[[list[Result], DatasetConfig], Tensor | None]


def _named(make: Callable[[list[Result], str], Tensor | None]) -> Sheet:
    """A sheet of results, which need the name of their dataset alone."""
    return lambda results, dataset: make(results, dataset.name)


SHEETS: dict[str, Sheet] = {
    "fig5": fig5,
    "fig6": fig6,
    "steps": _named(steps),
    "fig8": _named(fig8),
    "fig10": _named(fig10),
    "drags": _named(drags),
    "pull_sheet": _named(pull_sheet),
}


def _side_by_side(found: dict[str, Result], setting: str | None, timed: bool = False) -> Tensor | None:
    """The methods that were run with a setting, and the items that all of them have.

    setting: its points are dragged; None, or one that was not run: the first. timed: show the seconds of an edit.
    """
    order = [label for label in paper.METHODS if label in found] + sorted(set(found) - set(paper.METHODS))
    apart = [label for label in order if label in LEFT_OUT or steps_of(label) or label.startswith(ABLATION)]
    names = settings_of(found[label] for label in order if label not in apart)
    if not names:
        return None
    name = setting if setting in names else names[0]
    shown = [label for label in order if label not in apart and name in found[label].summary["settings"]]
    task, items = _task(found[shown[0]])
    items = items[: min(found[label].items_of(name) for label in shown)]
    pairs = [item.pair(task.settings[name]) for item in items]
    latents = task.latents(items)
    sources = _bytes(task.generator, latents.source)
    columns = [[draw_points(image, *pair) for image, pair in zip(sources, pairs, strict=True)]]
    for label in shown:
        images = _bytes(task.generator, _edited(found[label], task, name)[: len(items)])
        aims = [target if len(target) <= FEW else target[:0] for _, target in pairs]
        columns.append([draw_points(image, targets=aim) for image, aim in zip(images, aims, strict=True)])
    titles = ["source", *(paper.METHODS.get(label, label) for label in shown)]
    times = ["", *(_seconds(found[label]) for label in shown)] if timed else []
    if latents.goal is not None:
        columns.append(list(_bytes(task.generator, latents.goal)))
        titles.append("to be matched")
        times += [""] if timed else []
    return _titled(titles, list(zip(*columns, strict=True)), times)


def _seconds(result: Result) -> str:
    """Of one edit; empty where none was timed."""
    found = result.summary["seconds"]
    return "" if found is None else f"{found['method']['mean']:.2g} s"


def _task(result: Result, shown: int = SHOWN) -> tuple[Task, Sequence[Item]]:
    """The task of an evaluation, and the items that a sheet shows."""
    config = load_yaml(result.folder / "config.yaml", EvalConfig)
    generator = load_generator(config.dataset, c=config.c)
    task = make_task(config.task, config.dataset, generator, MetricNetworks(None, None, [], {}), config.seed)
    return task, _items(config)[:shown]


def _items(config: EvalConfig) -> Sequence[Item]:
    """Those of an evaluation."""
    return read_manifest(Path(config.manifest)).items[: config.items]


def _points(task: Task, setting: str) -> list[int]:
    return task.settings.get(setting) or next(iter(task.settings.values()))


def _edited(result: Result, task: Task, setting: str, shown: int = SHOWN) -> Tensor:
    """Latents [at least `shown`, L, D] of the edits of the first items, or of all where there are fewer."""
    config, folder = load_yaml(result.folder / "config.yaml", EvalConfig), EvaluationFolder(result.folder)
    read = [c for c in chunks([setting], _items(config), config.batch) if c.items[0].index < shown]
    return torch.cat([folder.read_prediction(c, task.latents(c.items).source).ws for c in read])


@torch.no_grad()
def _bytes(generator: FrozenGenerator, ws: Tensor) -> UInt8[Tensor, "B 3 H W"]:
    """The images of latents, one at a time because the paper's generators are large."""
    return torch.cat([to_uint8(generator.synthesize(w).cpu()) for w in ws.split(1)])


def _titled(titles: Sequence[str], rows: Sequence[Sequence[Picture]], below: Sequence[str] = ()) -> Tensor:
    """A sheet with a title above each column, in up to two lines. below: another line for each title."""
    table = sheet([[_small(picture) for picture in row] for row in rows], GAP)
    width = _small(rows[0][0]).shape[2] + GAP
    font = ImageFont.load_default(size=TITLE * 2 // 3)
    wrapped = [_wrapped(title, lambda text: font.getlength(text) <= width - 2 * GAP) for title in titles]
    wrapped = [[*lines, *last] for lines, last in zip(wrapped, [[b] for b in below] or [[]] * len(titles), strict=True)]
    height = TITLE * max(map(len, wrapped))
    head = Image.new("RGB", (table.shape[2], height), "white")
    draw = ImageDraw.Draw(head)
    for column, lines in enumerate(wrapped):
        place = (GAP + column * width + (width - GAP) // 2, height - GAP)
        draw.multiline_text(place, "\n".join(lines), "black", font, anchor="md", align="center", spacing=2)
    return torch.cat([torch.from_numpy(np.array(head)).permute(2, 0, 1), table], dim=1)


def _wrapped(title: str, fits: Callable[[str], bool]) -> list[str]:
    """The title in one line, or in two."""
    words = title.split(" ")
    last = len(words) if fits(title) else max((n for n in range(1, len(words)) if fits(" ".join(words[:n]))), default=1)
    return [line for line in (" ".join(words[:last]), " ".join(words[last:])) if line]


def _small(picture: Picture) -> UInt8[Tensor, "3 h w"]:
    height, width = picture.shape[1:]
    if height <= SIDE:
        return picture
    size = (SIDE, round(width * SIDE / height))
    return F.adaptive_avg_pool2d(picture[None].float(), size)[0].round().to(torch.uint8)
