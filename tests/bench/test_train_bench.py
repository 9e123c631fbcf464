"""The bench of training: it runs, and its parts sum to the whole."""

import json
from pathlib import Path

import pytest

from autodrag.bench.train import TrainBench, run, table, train_cost
from autodrag.config import compose, typed
from autodrag.generator import FrozenGenerator
from third_party.stylegan2.readers import write_safetensors

SMALL = [
    *("precision=float32", "batch=2", "repeats=1", "seconds=1", "model.steps=2"),
    *(f"model.{network}.{size}" for network in ("predictor", "regularizer") for size in ("width=32", "heads=4")),
]


def test_the_pieces_add_up(tiny: FrozenGenerator) -> None:
    config = typed(TrainBench, compose("bench/train", SMALL))
    cost = train_cost(tiny, config)
    assert cost.gigaflops > 0
    assert cost.rate(2) == pytest.approx(2000 / sum(cost.milliseconds.values()))
    shown = table(cost, config)
    assert "samples per second" in shown and "hours of this device" in shown and "estimated from FLOPs" in shown


def test_the_command_writes_its_numbers(tiny: FrozenGenerator, tmp_path: Path) -> None:
    network = tiny.trainable_copy()
    write_safetensors(tmp_path / "tiny.safetensors", network.config, network.state_dict())
    places = [f"generator={tmp_path / 'tiny.safetensors'}", f"out={tmp_path / 'out.json'}"]
    run(typed(TrainBench, compose("bench/train", [*SMALL, *places])))
    assert set(json.loads((tmp_path / "out.json").read_text())["milliseconds"]) >= {"transformer", "drag loss"}
