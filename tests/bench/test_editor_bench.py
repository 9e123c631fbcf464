"""The bench of the editor pulls through a real socket and counts the pictures."""

import json
from pathlib import Path

import pytest

from autodrag.bench.editor import EditorBench, run
from autodrag.config import compose, typed
from autodrag.generator import FrozenGenerator
from third_party.stylegan2.readers import write_safetensors

SMALL = [f"model.{network}.{size}" for network in ("predictor", "regularizer") for size in ("width=32", "heads=4")]


def test_pictures_are_counted(tiny: FrozenGenerator, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = tiny.trainable_copy()
    write_safetensors(tmp_path / "tiny.safetensors", network.config, network.state_dict())
    places = [f"generator={tmp_path / 'tiny.safetensors'}", f"out={tmp_path / 'out.json'}"]
    run(typed(EditorBench, compose("bench/editor", [*SMALL, *places, "seconds=4", "pages=2", "device=cpu"])))
    numbers = json.loads((tmp_path / "out.json").read_text())
    assert numbers["frames_a_second_and_page"] > 0  # how many is the machine's affair
    assert 0 < numbers["delay_ms_median"] <= numbers["delay_ms_95"]
    assert not numbers["trained"]
    assert "(random weights), 2 page(s)" in capsys.readouterr().out
