"""The bench of training runs and adds up."""

from dataclasses import replace

import pytest

from autodrag.bench.train import cost_table, train_cost
from autodrag.config import compose, typed
from autodrag.generator import FrozenGenerator
from autodrag.training.run import TrainConfig

SMALL = [
    *("model=small", "loop.precision=float32", "stage2.budget.batch=2"),
    *(f"model.{network}.{size}" for network in ("predictor", "regularizer") for size in ("width=32", "heads=4")),
]


def test_the_table_names_pieces_and_hours(tiny: FrozenGenerator) -> None:
    config = typed(TrainConfig, compose("train", SMALL))
    cost = train_cost(tiny, config, steps=1)
    assert cost.batch == 2 and cost.gigaflops > 0 and cost.peak_bytes > 0
    assert cost.seconds == pytest.approx(sum(cost.pieces.values()))
    table = cost_table(tiny, replace(config, model=replace(config.model, steps=2)), steps=1)
    assert "samples a second" in table and "hours on this device" in table
