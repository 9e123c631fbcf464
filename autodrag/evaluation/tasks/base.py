"""The base of all tasks: items listed in a manifest, predictions of a method, and scores of each item."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from autodrag.errors import InputError
from autodrag.evaluation.drag_batch import edit
from autodrag.evaluation.metrics import change_outside, moved_region
from autodrag.generator import FrozenGenerator
from autodrag.latents import join, split
from autodrag.methods import DragMethod
from autodrag.seeding import rng

ATTEMPTS = 100  # draws of an item before giving up

Score = dict[str, float | bool | None]


@dataclass(frozen=True)
class Item:
    """One edit. attempt: number of rejected draws of this index. handles, targets: (x, y) image pixels."""

    index: int
    attempt: int
    handles: tuple[tuple[float, float], ...]
    targets: tuple[tuple[float, float], ...]

    def pair(self, points: Sequence[int]) -> tuple[Float[Tensor, "P 2"], Float[Tensor, "P 2"]]:
        """(handles, targets) of the points with these indices."""
        return tuple(torch.tensor([p[i] for i in points]) for p in (self.handles, self.targets))  # type: ignore[return-value]


@dataclass(frozen=True)
class Latents:
    """Latents of the source images and, where the task has them, of the goal images."""

    source: Float[Tensor, "B L D"]
    goal: Float[Tensor, "B L D"] | None


@dataclass(frozen=True)
class Prediction:
    """Latents of the edits [B, L, D], and notes on each (steps, traces)."""

    ws: Float[Tensor, "B L D"]
    notes: list[dict[str, object]] = field(default_factory=list)


class Task(ABC):
    """A task on one generator. Items and their latents are functions of (seed, index, attempt)."""

    #: The values of a score that are summarised: key -> name in tables.
    columns: ClassVar[Mapping[str, str]] = {}
    #: Whether the first setting is scored by the Frechet distance between edited and source images.
    frechet = False
    #: Whether edits run one at a time, because their times matter.
    alone = False

    def __init__(self, generator: FrozenGenerator, seed: int) -> None:
        self.generator, self.seed = generator, seed

    @property
    @abstractmethod
    def settings(self) -> dict[str, list[int]]:
        """Name of each setting -> indices of the points that it uses."""

    @property
    @abstractmethod
    def tools(self) -> dict[str, str]:
        """What items and scores depend on besides the generator: kind of tool -> its name."""

    @abstractmethod
    def try_item(self, index: int, attempt: int) -> Item | None:
        """The item, or None where this draw is rejected."""

    @abstractmethod
    def latents(self, items: Sequence[Item]) -> Latents:
        """The latents of items, computed from the seed."""

    @abstractmethod
    def score(self, setting: str, items: Sequence[Item], prediction: Prediction) -> list[Score]:
        """The values of each item; None where one could not be measured."""

    def judged_by_frechet(self, setting: str) -> bool:
        """Whether the setting is scored by a Frechet distance."""
        return self.frechet and setting == next(iter(self.settings))

    def item(self, index: int) -> Item:
        """The first draw that is accepted. Raises InputError where none is."""
        for attempt in range(ATTEMPTS):
            item = self.try_item(index, attempt)
            if item is not None:
                return item
        raise InputError(
            f"All {ATTEMPTS} draws of item {index} were rejected, because no face or no motion was found; check that "
            f"{self.generator.name} suits this task."
        )

    def predict(self, method: DragMethod, setting: str, items: Sequence[Item]) -> Prediction:
        """Drag every item with the points of the setting."""
        pairs = [item.pair(self.settings[setting]) for item in items]
        edited = edit(method, self.latents(items).source, [h for h, _ in pairs], [t for _, t in pairs])
        return Prediction(edited.ws, [{"steps": steps} for steps in edited.steps.tolist()])

    def oracle(self, setting: str, items: Sequence[Item]) -> Prediction:
        """The source with the edited rows of the goal: the best possible result. Raises InputError."""
        latents = self.latents(items)
        if latents.goal is None:
            raise InputError("This task has no goal images, so it has no oracle; choose another method.")
        ws = join(split(latents.goal)[0], split(latents.source)[1])
        return Prediction(ws, [{"steps": 0} for _ in items])

    def draws(self, stage: str, index: int, attempt: int, *size: int) -> Float[Tensor, "*size"]:
        """Standard normal draws of an item."""
        return torch.randn(*size, generator=rng(self.seed, stage, index, attempt))

    @torch.no_grad()
    def images(self, ws: Float[Tensor, "B L D"]) -> Float[Tensor, "B 3 H W"]:
        """Images on the CPU, in [-1, 1]."""
        return self.generator.synthesize(ws.to(self.generator.device)).cpu().clamp(-1, 1)

    def outside(
        self, setting: str, items: Sequence[Item], images: Float[Tensor, "B 3 H W"], sources: Float[Tensor, "B 3 H W"]
    ) -> list[float]:
        """Mean change of the pixels away from the points."""
        regions = [
            moved_region(torch.cat(item.pair(self.settings[setting])), self.generator.resolution) for item in items
        ]
        return change_outside(images, sources, torch.stack(regions)).tolist()
