"""Pulls one point of each mushroom somewhere, measures where it has gone, and draws a sheet.

    python examples/mushroom/pulls.py landing autodrag draggan

Lengths are pixels of a 256 px image, as in `task=pulls`: a fifth of the mushroom's height is about 30. An edit that no
mushroom resembles counts as broken: its residual is more than 1.5 times the largest one of the sources.
"""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from fit import Fit, fit, reach
from jaxtyping import Float
from renderer import BACKGROUND, Places, places, where
from torch import Tensor
from train import parameters

from autodrag import load_generator
from autodrag.generator import FrozenGenerator
from autodrag.images import to_uint8
from autodrag.latents import EDITED_ROWS
from autodrag.methods import load_method
from autodrag.seeding import rng
from autodrag.visualize import draw_points, save_image, sheet

LENGTHS = (10, 20, 40, 60, 120)  # pixels of a 256 px image
MARGIN = 1.5  # of the limit of the residual over the largest one of the sources
NEAR = 1.0  # pixels within which a mushroom must have the point on its target for the target to be in reach
SHOWN = 16  # mushrooms of the sheet
OPTIONS = {"draggan": {"lr": 1e-2, "stop_distance": 1, "max_steps": 300}}


Numbers = dict[str, float | None]


@dataclass(frozen=True)
class Pulls:
    """N mushrooms with one handle each. targets: [lengths, N, 2]."""

    ws: Float[Tensor, "N L D"]
    images: Float[Tensor, "N 3 S S"]
    source: Fit
    handles: Float[Tensor, "N 1 2"]
    seen: Places
    targets: Float[Tensor, "T N 1 2"]
    limit: float  # of the residual


def draw(generator: FrozenGenerator, count: int) -> Pulls:
    """Mushrooms that the training has not seen, with a handle anywhere on each and a direction for its pulls."""
    draws, size = rng(1, "mushroom/pulls"), generator.resolution[0]
    z = torch.randn(2, count, generator.z_dim, generator=draws)
    ws = torch.cat([generator.map(z[0])[:, :EDITED_ROWS], generator.map(z[1])[:, EDITED_ROWS:]], dim=1)
    images = generator.synthesize(ws).clamp(-1, 1)
    source = fit(images, parameters(z[0])[0], parameters(z[1])[1])
    limit = MARGIN * source.residual.max().item()
    candidates = 3 + torch.rand(count, 4000, 2, generator=draws) * (size - 7)
    on = places(source.geometry, candidates, size).part != BACKGROUND
    handles = candidates[torch.arange(count), on.int().argmax(dim=1)][:, None]
    angle = torch.rand(count, 1, generator=draws) * 2 * torch.pi
    lengths = torch.tensor(LENGTHS)[:, None, None, None] * size / 256
    targets = handles + lengths * torch.stack([angle.cos(), angle.sin()], dim=-1)
    return Pulls(ws, images, source, handles, places(source.geometry, handles, size), targets, limit)


def measure(generator: FrozenGenerator, pulls: Pulls, name: str) -> tuple[dict[str, Numbers], Tensor]:
    """Numbers for each length, and the edited images [lengths, N, 3, S, S]."""
    method = load_method(name, generator, **OPTIONS.get(name, {}))
    table, shown = {}, []
    for length, targets in zip(LENGTHS, pulls.targets, strict=True):
        ws = pulls.ws
        for step in method.drag(pulls.ws, pulls.handles, targets):
            ws = step.ws
        images = generator.synthesize(ws).clamp(-1, 1)
        table[f"{length}"] = _numbers(pulls, targets, images)
        print(name, length, table[f"{length}"], flush=True)
        shown.append(images)
    return table, torch.stack(shown)


def _numbers(pulls: Pulls, targets: Float[Tensor, "N 1 2"], images: Float[Tensor, "N 3 S S"]) -> Numbers:
    """What the edits of one length have reached; shares of the distance are None where no edit counts."""
    size = images.shape[-1]
    after = fit(images, pulls.source.geometry, pulls.source.colours)
    ended = where(after.geometry, pulls.seen, size)
    left = (ended - targets).norm(dim=2)[:, 0] / (pulls.handles - targets).norm(dim=2)[:, 0]
    whole = after.residual <= pulls.limit
    reached = reach(pulls.source.geometry, pulls.seen, targets, size) < NEAR
    return {
        "left": _mean(left[whole]),
        "in_reach": int(reached.sum()),
        "left_in_reach": _mean(left[reached & whole]),
        "broken": _mean(1 - whole.float()),
        "residual": _mean(after.residual),
    }


def _mean(values: Float[Tensor, " N"]) -> float | None:
    return round(values.mean().item(), 3) if len(values) else None


def draw_sheet(pulls: Pulls, edited: Float[Tensor, "T N 3 S S"], path: Path) -> None:
    """A row for each length below the sources, with handles (red) and targets (blue)."""
    count = min(SHOWN, len(pulls.ws))
    handles = _enlarged_points(pulls.handles[:count])
    rows = [
        [draw_points(image, handle) for image, handle in zip(_enlarged(pulls.images[:count]), handles, strict=True)]
    ]
    for images, targets in zip(edited, pulls.targets, strict=True):
        drawn = zip(_enlarged(images[:count]), handles, _enlarged_points(targets[:count]), strict=True)
        rows.append([draw_points(image, handle, target) for image, handle, target in drawn])
    save_image(sheet(rows), path)


def _enlarged(images: Float[Tensor, "N 3 S S"]) -> Tensor:
    return to_uint8(images).repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)


def _enlarged_points(points: Float[Tensor, "N 1 2"]) -> Tensor:
    return 2 * points + 0.5


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("methods", nargs="+")
    parser.add_argument("--generator", type=Path, default=Path("runs/mushroom/mushroom.safetensors"))
    parser.add_argument("--items", type=int, default=40)
    parser.add_argument("--out", type=Path, default=Path("runs/mushroom"))
    options = parser.parse_args()
    generator = load_generator(options.generator)
    pulls = draw(generator, options.items)
    print(f"residual of the generator's own images: {pulls.source.residual.mean():.3f}; broken above {pulls.limit:.3f}")
    for name in options.methods:
        table, edited = measure(generator, pulls, name)
        (options.out / f"pulls-{name}.json").write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
        draw_sheet(pulls, edited, options.out / f"pulls-{name}.jpg")


if __name__ == "__main__":
    main()
