"""What every task is made of: items that a manifest fixes, predictions of a method, and scores of each item."""

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

ATTEMPTS = 100  # draws of an item before the task gives up

Score = dict[str, float | bool | None]


@dataclass(frozen=True)
class Item:
    """One edit. attempt: draws of this index before it that would not do. handles, targets: (x, y) image pixels."""

    index: int
    attempt: int
    handles: tuple[tuple[float, float], ...]
    targets: tuple[tuple[float, float], ...]

    def pair(self, points: Sequence[int]) -> tuple[Float[Tensor, "P 2"], Float[Tensor, "P 2"]]:
        """(handles, targets) with these numbers."""
        return tuple(torch.tensor([p[i] for i in points]) for p in (self.handles, self.targets))  # type: ignore[return-value]


@dataclass(frozen=True)
class Latents:
    """Sources of items and, where the task has them, the latents of the images to be reached."""

    source: Float[Tensor, "B L D"]
    goal: Float[Tensor, "B L D"] | None


@dataclass(frozen=True)
class Prediction:
    """Latents of the edits [B, L, D], and what else is to be remembered of each (steps, traces)."""

    ws: Float[Tensor, "B L D"]
    notes: list[dict[str, object]] = field(default_factory=list)


class Task(ABC):
    """A task on one generator. An item and its latents are functions of (seed, index, attempt)."""

    #: Which value of a score is to be summarised how: name -> how it is called in tables.
    columns: ClassVar[Mapping[str, str]] = {}
    #: Whether a Frechet distance of the edited and the source images belongs to the task's first setting.
    frechet = False
    #: Whether edits must run alone, because their times matter.
    alone = False

    def __init__(self, generator: FrozenGenerator, seed: int) -> None:
        self.generator, self.seed = generator, seed

    @property
    @abstractmethod
    def settings(self) -> dict[str, list[int]]:
        """Name of each setting -> numbers of the points that it uses."""

    @property
    @abstractmethod
    def tools(self) -> dict[str, str]:
        """What items and scores depend on besides the generator: name -> which one."""

    @abstractmethod
    def try_item(self, index: int, attempt: int) -> Item | None:
        """The item, or None where this draw will not do."""

    @abstractmethod
    def latents(self, items: Sequence[Item]) -> Latents:
        """Made anew from the seed."""

    @abstractmethod
    def score(self, setting: str, items: Sequence[Item], prediction: Prediction) -> list[Score]:
        """Values of each item, None where one cannot be had."""

    def judged_by_frechet(self, setting: str) -> bool:
        """Whether a Frechet distance belongs to the setting."""
        return self.frechet and setting == next(iter(self.settings))

    def item(self, index: int) -> Item:
        """The first draw that will do. Raises InputError where none does."""
        for attempt in range(ATTEMPTS):
            item = self.try_item(index, attempt)
            if item is not None:
                return item
        raise InputError(
            f"None of {ATTEMPTS} draws of item {index} will do (no face or no motion was found): check that "
            f"{self.generator.name} suits this task."
        )

    def predict(self, method: DragMethod, setting: str, items: Sequence[Item]) -> Prediction:
        """Drag every item with the setting's points."""
        pairs = [item.pair(self.settings[setting]) for item in items]
        edited = edit(method, self.latents(items).source, [h for h, _ in pairs], [t for _, t in pairs])
        return Prediction(edited.ws, [{"steps": steps} for steps in edited.steps.tolist()])

    def oracle(self, setting: str, items: Sequence[Item]) -> Prediction:
        """The source with the goal's edited rows: what this generator could do at best. Raises InputError."""
        latents = self.latents(items)
        if latents.goal is None:
            raise InputError("This task has no image to be reached, so it has no oracle: choose another method.")
        ws = join(split(latents.goal)[0], split(latents.source)[1])
        return Prediction(ws, [{"steps": 0} for _ in items])

    def draws(self, stage: str, index: int, attempt: int, *size: int) -> Float[Tensor, "*size"]:
        """Standard normal numbers of an item."""
        return torch.randn(*size, generator=rng(self.seed, stage, index, attempt))

    @torch.no_grad()
    def images(self, ws: Float[Tensor, "B L D"]) -> Float[Tensor, "B 3 H W"]:
        """Images on the CPU, in [-1, 1]."""
        images = self.generator.synthesize(ws.to(self.generator.device))
        assert isinstance(images, Tensor)  # no features were asked for
        return images.cpu().clamp(-1, 1)

    def outside(
        self, setting: str, items: Sequence[Item], images: Float[Tensor, "B 3 H W"], sources: Float[Tensor, "B 3 H W"]
    ) -> list[float]:
        """Change of the pixels away from the points that move."""
        regions = [
            moved_region(torch.cat(item.pair(self.settings[setting])), self.generator.resolution) for item in items
        ]
        values: list[float] = change_outside(images, sources, torch.stack(regions)).tolist()
        return values
