"""Drags that people make, on synthface: single pulls, changes of one part, surface points, and pulls in a row.

Items are made from the renderer's parameters, and judged by them (`evaluation.truth`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from autodrag.domains.synthface import parameters
from autodrag.domains.synthface.fit import Fit
from autodrag.domains.synthface.parameters import with_parameters
from autodrag.domains.synthface.places import Places, places
from autodrag.domains.synthface.reach import reach
from autodrag.domains.synthface.reader import Reader
from autodrag.errors import InputError
from autodrag.evaluation.drag_batch import edit
from autodrag.evaluation.metrics import mean_difference
from autodrag.evaluation.tasks import pull_items
from autodrag.evaluation.tasks.base import Item, Latents, Prediction, Score, Task
from autodrag.evaluation.truth import BROKEN, BROKEN_PATCH, JUDGE, fit_source, measure, on_background
from autodrag.generator import FrozenGenerator
from autodrag.latents import join, split
from autodrag.methods import DragMethod
from autodrag.seeding import rng

PULLS = 10  # of a chain
IN_REACH_PX, IN_REACH = 1.0, 0.05  # a target counts as reachable up to so many pixels, or so much of the way


@dataclass(frozen=True)
class PullsConfig:
    """`configs/task/pulls.yaml`."""

    name: Literal["pulls"]
    count: int  # faces, each with all the drags of `tasks.pull_items`
    max_steps: int  # of optimising methods


class Pulls(Task):
    """left: share of the way that is left, by the truth; only of edits that are not broken, and not of background."""

    columns: ClassVar = {
        "left": "left",
        "left_px": "left, px",
        "left_in_reach": "left where the domain reaches",
        "broken": "broken",
        "pins_px": "pins moved, px",
        "residual": "residual",
        "identity": "identity",
        "outside": "outside",
        "seconds": "seconds",
    }
    frechet = True

    def __init__(self, generator: FrozenGenerator, seed: int, config: PullsConfig, reader: Reader | None) -> None:
        """generator: of synthface, whose parameters are known. reader: needed by scores alone."""
        super().__init__(generator, seed)
        self._reader, self._size = reader, generator.resolution[0]
        self._sources: dict[int, Fit] = {}

    @property
    def settings(self) -> dict[str, list[int]]:
        return pull_items.settings()

    @property
    def tools(self) -> dict[str, str]:
        return {
            "broken": f"residual above {BROKEN:g}, or above {BROKEN_PATCH:g} in a patch of the face",
            "judge": f"{JUDGE}, handles {pull_items.INSIDE:g} px inside their part",
        }

    def judged_by_frechet(self, setting: str) -> bool:
        return True

    def try_item(self, index: int, attempt: int) -> Item | None:
        z = self._z([Item(index, attempt, (), ())])
        geometry = parameters(z.flatten(0, 1))[0]
        draw = rng(self.seed, "pull points", index, attempt)
        seen, points = pull_items.candidates(geometry[0], self._size)
        found = [
            pull_items.free(seen, points, self._size, draw),
            pull_items.local(pull_items.changed(geometry[0], index + attempt), seen, points, self._size, draw),
            pull_items.surface(geometry[1], seen, points, self._size, draw),
        ]
        if any(pair is None for pair in found):
            return None
        handles, targets = (torch.cat([pair[side] for pair in found if pair is not None]) for side in (0, 1))
        return Item(index, attempt, *(tuple((x, y) for x, y in part.tolist()) for part in (handles, targets)))

    def latents(self, items: Sequence[Item]) -> Latents:
        return Latents(self.generator.map(self._z(items)[:, 0]), None)

    def predict(self, method: DragMethod, setting: str, items: Sequence[Item]) -> Prediction:
        """A chain asks each pull of the picture that the last one left, from where that was to end."""
        pairs = [item.pair(self.settings[setting]) for item in items]
        handles, targets = [h for h, _ in pairs], [t for _, t in pairs]
        ws, steps, seconds = self.latents(items).source, torch.zeros(len(items), dtype=torch.long), 0.0
        for start, end in _pulls(setting, handles, targets):
            edited = edit(method, ws, start, end)
            ws, steps, seconds = edited.ws, steps + edited.steps, seconds + edited.seconds
        return Prediction(ws, [{"steps": n, "seconds": seconds / len(items)} for n in steps.tolist()])

    def oracle(self, setting: str, items: Sequence[Item]) -> Prediction:
        """The rows of the face that was asked for; for a pull, of the nearest that the domain reaches."""
        z = self._z(items)[:, 0]
        geometry, appearance = parameters(z)
        ends = torch.cat([self._reach(setting, item, g)[0] for item, g in zip(items, geometry, strict=True)])
        goal = self.generator.map(with_parameters(z, ends, appearance))
        ws = join(split(goal)[0], split(self.latents(items).source)[1])
        return Prediction(ws, [{"steps": 0, "seconds": 0.0} for _ in items])

    def score(self, setting: str, items: Sequence[Item], prediction: Prediction) -> list[Score]:
        if self._reader is None:
            raise InputError(
                "task=pulls needs synthface's reader of parameters, which is missing: install autodrag anew."
            )
        images, before = self.images(prediction.ws), self.images(self.latents(items).source)
        source = self._source(self._reader, items, before)
        asked = [self._asked(setting, item) for item in items]
        handles, targets = [h for h, _ in asked], [t for _, t in asked]
        found = measure(self._reader, images, before, source, handles, targets)
        identity = mean_difference(self._reader.appearance(images), self._reader.appearance(before)).tolist()
        outside = self.outside(setting, items, images, before)
        return [
            {
                **self._landed(setting, item, source.geometry[n], found.points[n], bool(found.broken[n])),
                "broken": float(found.broken[n]),
                "residual": float(found.fit.residual[n]),
                "patch": float(found.fit.patch[n]),
                "identity": identity[n],
                "outside": outside[n],
            }
            for n, item in enumerate(items)
        ]

    def _landed(self, setting: str, item: Item, geometry: Tensor, points: Tensor, broken: bool) -> Score:
        """Distances of one edit; None for what is broken or has no truth."""
        score: Score = dict.fromkeys(("left", "left_px", "left_in_reach", "pins_px", "way"))
        handles, targets = self._asked(setting, item)
        pulled = (item.pair(self.settings[setting])[0] - item.pair(self.settings[setting])[1]).norm(dim=1) > 0
        known = ~on_background(geometry, handles, self._size)
        if broken:
            return score
        pins, moving = ~pulled & known, pulled & known
        if bool(pins.any()):
            score["pins_px"] = (points - handles)[pins].norm(dim=1).mean().item()
        if not bool(moving.any()):
            return score
        way = self._way(setting, item)[moving].mean().item()
        left = (points - targets)[moving].norm(dim=1).mean().item()
        score |= {"way": way, "left_px": left, "left": left / way}
        if self._reach(setting, item, geometry)[1] <= max(IN_REACH_PX, IN_REACH * way):
            score["left_in_reach"] = left / way
        return score

    def _asked(self, setting: str, item: Item) -> tuple[Float[Tensor, "P 2"], Float[Tensor, "P 2"]]:
        """Handles, and where they are to be after all pulls."""
        handles, targets = item.pair(self.settings[setting])
        if setting == "chain-back":
            return handles, handles
        if setting == "chain-on":
            return handles, handles + PULLS * (targets - handles)
        return handles, targets

    def _way(self, setting: str, item: Item) -> Float[Tensor, " P"]:
        """Pixels that a chain there and back went there, else all of the way."""
        handles, targets = item.pair(self.settings[setting])
        return (targets - handles).norm(dim=1) * (PULLS if setting == "chain-on" else 1)

    def _reach(self, setting: str, item: Item, geometry: Float[Tensor, " G"]) -> tuple[Float[Tensor, "1 G"], float]:
        """The face of the domain that comes nearest to what is asked of `geometry`, and its mean pixels from it."""
        if setting.startswith("local"):
            return pull_items.changed(geometry, item.index + item.attempt)[None], 0.0
        if setting.startswith("surface"):
            return parameters(self._z([item])[:, 1])[0], 0.0
        if setting == "chain-back":
            return geometry[None], 0.0
        handles, targets = self._asked(setting, item)
        seen = places(geometry, handles, self._size)
        known = ~on_background(geometry, handles, self._size)
        if not bool(known.any()):
            return geometry[None], float("inf")
        best = reach(geometry, Places(seen.part[known], seen.at[known]), targets[known][None], self._size)
        return best.geometry, best.distance.item()

    def _source(self, reader: Reader, items: Sequence[Item], before: Float[Tensor, "B 3 H W"]) -> Fit:
        """The fits of sources, which all settings share."""
        for n, (item, z) in enumerate(zip(items, self._z(items)[:, 0], strict=True)):
            if item.index not in self._sources:
                known = torch.cat(parameters(z[None]), dim=1)
                self._sources[item.index] = fit_source(reader, before[n : n + 1], known)
        fits = [self._sources[item.index] for item in items]
        return Fit(*(torch.cat([getattr(f, field.name) for f in fits]) for field in fields(Fit)))

    def _z(self, items: Sequence[Item]) -> Float[Tensor, "B 2 Z"]:
        """Of the source and of another face."""
        return torch.stack([self.draws("pulls", i.index, i.attempt, 2, self.generator.z_dim) for i in items])


def _pulls(setting: str, handles: list[Tensor], targets: list[Tensor]) -> list[tuple[list[Tensor], list[Tensor]]]:
    """(handles, targets) of each pull of a setting."""
    if setting == "chain-back":
        return [(handles, targets), (targets, handles)] * (PULLS // 2)
    if setting == "chain-on":
        at = [[h + n * (t - h) for h, t in zip(handles, targets, strict=True)] for n in range(PULLS + 1)]
        return list(pairwise(at))
    return [(handles, targets)]
