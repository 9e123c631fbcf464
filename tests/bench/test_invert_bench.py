"""The bench of inversion, with little effort."""

import json
from pathlib import Path

from autodrag.bench.invert import InvertBench, renders, run
from autodrag.config import compose, typed


def test_it_measures_what_an_inversion_reaches(tmp_path: Path) -> None:
    little = ["images=1", "invert.steps=12", "invert.starts=8", "invert.tune_steps=4", f"out={tmp_path / 'out.json'}"]
    run(typed(InvertBench, compose("bench/invert", little)))
    numbers = json.loads((tmp_path / "out.json").read_text())
    (plain,), (tuned,) = numbers["latents alone"], numbers["and a tuned generator"]
    assert tuned["error"] < plain["error"] < 60
    assert plain["left"] is None or plain["left"] < 1


def test_renders_share_their_appearance_only() -> None:
    first, second = renders(0)
    assert first.shape == second.shape == (1, 3, 256, 256)
    assert (first - second).abs().mean() > 0.01
