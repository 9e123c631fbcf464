"""The interface of training stages: sample positions to a batch, a batch to a loss."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jaxtyping import Float, UInt8
from torch import Tensor, nn

from autodrag.models.stored import StoredModel
from autodrag.typed import check_bounds


@dataclass(frozen=True)
class Schedule:
    """Learning rate as a function of the (fractional) epoch: constant, or cosine with warm restarts."""

    lr: float  # initial, after the warm-up
    min_lr: float | None = None  # at the end of the cosine; None: constant
    period: float | None = None  # epochs between warm restarts; None: one cosine over the whole training
    warmup: float = 0.0  # epochs of linear warm-up from 0

    def __post_init__(self) -> None:
        positive = (0.0, math.inf)
        check_bounds("schedule", self, lr=positive, min_lr=positive, period=(1e-12, math.inf), warmup=positive)

    def at(self, epoch: float, epochs: float) -> float:
        """The learning rate at `epoch` of `epochs`."""
        rise = min(1.0, epoch / self.warmup) if self.warmup > 0 else 1.0
        if self.min_lr is None:
            return self.lr * rise
        period = epochs if self.period is None else self.period
        half_turn = math.pi * (epoch % period) / period if epoch < epochs or self.period else math.pi
        return rise * (self.min_lr + (self.lr - self.min_lr) * (1 + math.cos(half_turn)) / 2)


@dataclass(frozen=True)
class Budget:
    """Length of a training and its batch size."""

    epochs: float
    samples: int  # per epoch
    batch: int  # samples per optimiser step, over all ranks

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole training."""
        return math.ceil(self.epochs * self.samples / self.batch)

    def start(self, position: int) -> int:
        """First position of the step that a position belongs to, which is the same for every rank."""
        return position // self.batch * self.batch


@dataclass(frozen=True)
class Group:
    """Parameters that share a learning rate."""

    name: str
    parameters: Sequence[nn.Parameter]
    schedule: Schedule


@dataclass(frozen=True)
class Report:
    """The result of a validation: numbers and RGB images."""

    numbers: dict[str, float] = field(default_factory=dict)
    pictures: dict[str, UInt8[Tensor, "3 H W"]] = field(default_factory=dict)


class Stage(nn.Module, ABC):
    """A network in training. Its parameters and buffers are checkpointed. Only `batch` uses random numbers.

    model: the network. schedule: its learning rate. about, half: see `StoredModel.save`.
    """

    model: StoredModel

    def __init__(self, model: StoredModel, schedule: Schedule, about: Mapping[str, str], half: bool = False) -> None:
        super().__init__()
        self.model, self.schedule, self._about, self._half = model, schedule, about, half

    @abstractmethod
    def batch(self, positions: Sequence[int]) -> Any:
        """The samples at these positions of the infinite stream: a pure function of the positions and the seed."""

    @abstractmethod
    def forward(self, batch: Any) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """(loss, values to log), averaged over the batch. The logged values are detached."""

    def groups(self) -> list[Group]:
        """Parameter groups with their learning rates."""
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        return [Group("model", trained, self.schedule)]

    def networks(self) -> Iterable[nn.Module]:
        """The modules to `torch.compile`."""
        return [self.model]

    @abstractmethod
    def report(self) -> Report:
        """Validate. Called without gradients, on the first rank only."""

    def save(self, path: Path) -> None:
        """Save the trained model, see `StoredModel.save`."""
        self.model.save(path, self._about, self._half)
