"""A stage that trains in microseconds, and a program that runs it: `toy.py OUT STEPS [SECONDS_A_STEP]`."""

import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from autodrag.models.stored import StoredModel
from autodrag.runs.folder import RunFolder
from autodrag.runs.ranks import join_ranks
from autodrag.seeding import rng
from autodrag.training.logger import LoggerConfig
from autodrag.training.loop import LoopConfig, train
from autodrag.training.stages.base import Budget, Report, Schedule, Stage

LOOP = LoopConfig(
    precision="float32",
    accumulate=1,
    betas=(0.9, 0.999),
    clip=1.0,
    ema=0.9,
    compile=False,
    patience=2,
    logger=LoggerConfig(log_every=2, checkpoint_minutes=0.0, validation_minutes=1000.0),
)


class ToyNetwork(StoredModel):
    """Two layers."""

    kind = "toy"

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 64), nn.GELU(), nn.Linear(64, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)

    def stored_config(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "ToyNetwork":
        return cls()


class Toy(Stage):
    """A small network that learns y = sum of squares of x."""

    def __init__(self, broken: Sequence[int] = (), signalled: int = -1, seconds: float = 0.0) -> None:
        torch.manual_seed(0)
        super().__init__(ToyNetwork(), Schedule(0.01, min_lr=0.001, period=4.0), {})
        self.broken = broken  # positions whose samples are not finite
        self.signalled = signalled  # position at which somebody asks the process to stop
        self.seconds = seconds

    def batch(self, positions: Sequence[int]) -> Tensor:
        time.sleep(self.seconds)
        if self.signalled in positions:
            os.kill(os.getpid(), signal.SIGTERM)
        x = torch.stack([torch.rand(4, generator=rng(0, "toy", p)) for p in positions])
        x[torch.tensor([p in self.broken for p in positions])] = float("nan")
        return x

    def forward(self, batch: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        error = (self.model(batch)[:, 0] - batch.square().sum(dim=1)).square()
        return error.mean(), {"worst": error.detach().max()}

    def report(self) -> Report:
        with torch.autocast("cpu", enabled=False):
            return Report({"loss": self(self.batch(range(1000, 1064)))[0].item()})


def run(out: Path, steps: int, loop: LoopConfig = LOOP, **options) -> Toy:
    """Train a toy in a folder, ten steps an epoch; returns it."""
    toy = Toy(**options)
    with join_ranks("cpu") as ranks:
        budget = Budget(epochs=steps / 10, samples=80, batch=8)
        train(toy, budget, loop, ranks, out / "checkpoints", lambda step: RunFolder(out, "", step))
        if ranks.first:
            torch.save(toy.state_dict(), out / "final.pt")
    return toy


if __name__ == "__main__":
    torch.set_num_threads(1)
    run(Path(sys.argv[1]), int(sys.argv[2]), seconds=float((sys.argv[3:] or ["0"])[0]))
