"""What the loop trains: a stage turns positions of its stream of samples into a batch, and a batch into a loss."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jaxtyping import Float, UInt8
from torch import Tensor, nn

from autodrag.typed import check_bounds


@dataclass(frozen=True)
class Schedule:
    """A learning rate, a pure function of the epoch (a fraction counts).

    lr: at the start. min_lr: where a cosine takes it; None: it stays. period: epochs until the cosine begins again;
    None:
    one cosine over the whole training. warmup: epochs in which it first rises from 0.
    """

    lr: float
    min_lr: float | None = None
    period: float | None = None
    warmup: float = 0.0

    def __post_init__(self) -> None:
        positive = (0.0, math.inf)
        check_bounds("schedule", self, lr=positive, min_lr=positive, period=(1e-12, math.inf), warmup=positive)

    def at(self, epoch: float, epochs: float) -> float:
        """The learning rate at an epoch of a training of `epochs`."""
        rise = min(1.0, epoch / self.warmup) if self.warmup > 0 else 1.0
        if self.min_lr is None:
            return self.lr * rise
        period = epochs if self.period is None else self.period
        half_turn = math.pi * (epoch % period) / period if epoch < epochs or self.period else math.pi
        return rise * (self.min_lr + (self.lr - self.min_lr) * (1 + math.cos(half_turn)) / 2)


@dataclass(frozen=True)
class Budget:
    """How long a stage trains. batch: samples of one optimiser step, over all ranks together."""

    epochs: float
    samples: int  # of an epoch
    batch: int

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole training."""
        return math.ceil(self.epochs * self.samples / self.batch)


@dataclass(frozen=True)
class Group:
    """Parameters that share a learning rate."""

    name: str
    parameters: Sequence[nn.Parameter]
    schedule: Schedule


@dataclass(frozen=True)
class Report:
    """What is worth seeing from time to time: numbers on held-out samples, and pictures (RGB, [3, H, W])."""

    numbers: dict[str, float] = field(default_factory=dict)
    pictures: dict[str, UInt8[Tensor, "3 H W"]] = field(default_factory=dict)


class Stage(nn.Module, ABC):
    """Everything trainable. Its parameters and buffers are what a checkpoint holds; it draws nothing but in `batch`."""

    @abstractmethod
    def batch(self, positions: Sequence[int]) -> Any:
        """The samples at these positions of the endless stream: a pure function of them and of the run's seed."""

    @abstractmethod
    def forward(self, batch: Any) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """(loss, what to log): means over the batch's samples. The logged values carry no gradient."""

    @abstractmethod
    def groups(self) -> list[Group]:
        """All trainable parameters and how fast they learn."""

    @abstractmethod
    def networks(self) -> Iterable[nn.Module]:
        """The modules that `torch.compile` is worth being applied to."""

    @abstractmethod
    def report(self) -> Report:
        """Called without gradients, on the first rank alone."""

    @abstractmethod
    def save(self, path: Path) -> None:
        """Write the trained model as one complete file."""
