"""The data bench: it runs, and its parts sum to the whole."""

import json
import sys
from pathlib import Path

import pytest

from autodrag.bench.data import DataBench, DataCost, accuracy, pieces, rate, run
from autodrag.config import compose, typed
from autodrag.data.make import TrajectoriesConfig
from autodrag.data.trajectories import Recipe
from autodrag.generator import FrozenGenerator
from third_party.stylegan2.readers import write_safetensors


def test_matches_are_right_to_a_pixel_or_so() -> None:
    """On renders a quarter of the way to another face, with the shipped settings."""
    shipped = typed(TrajectoriesConfig, compose("trajectories")).trajectory.match
    found = accuracy(shipped, way=0.25, pairs=2)
    assert found.judged > 50
    assert found.median_error < 1.5 and found.wrong < 0.05


def test_pieces_name_all_that_a_sample_costs(tiny: FrozenGenerator, small_recipe: Recipe) -> None:
    each = pieces(lambda: tiny, small_recipe, samples=1)
    assert list(each) == ["latents", "synthesis", "keypoints", "hamming", "statistics", "guards"]
    assert all(seconds >= 0 for seconds in each.values())


def test_a_system_that_counts_no_memory_is_timed_all_the_same(
    tiny: FrozenGenerator, small_recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "resource", None)  # as on Windows, where it cannot be imported
    found = rate(lambda: tiny, small_recipe, samples=1, workers=0, batched=False)
    assert found.samples_a_second > 0 and found.peak_bytes is None
    assert DataCost({"latents": 1.0}, found, 0).table().endswith("redraws")


def test_the_command_prints_and_writes(
    tiny: FrozenGenerator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = tiny.trainable_copy()
    write_safetensors(tmp_path / "tiny.safetensors", network.config, network.state_dict())
    overrides = [f"generator={tmp_path / 'tiny.safetensors'}", f"out={tmp_path / 'out.json'}", "device=cpu"]
    overrides += ["samples=1", "workers=0", "settings='trajectory.n=2 trajectory.handle_px=1'"]
    run(typed(DataBench, compose("bench/data", overrides)))
    text = capsys.readouterr().out
    assert "samples per second with 0 processes" in text and "synthesis" in text
    written = json.loads((tmp_path / "out.json").read_text())
    assert written["rate"]["samples_a_second"] > 0 and written["seconds"]["synthesis"] > 0
