"""The bench of inversion, with few steps."""

import json
from pathlib import Path

import cv2
import pytest

from autodrag.bench.invert import InvertBench, compressed, renders, run
from autodrag.config import compose, typed


def test_it_measures_inversions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autodrag.bench.inverted_pulls.PULLS", ("free-10",))
    effort = [
        "invert.steps=6",
        "invert.refine_share=0.5",
        "invert.starts=4",
        "invert.tune_steps=3",
        "invert.tune_lr=2e-4",
    ]
    few = ["images=1", "slow=1", "pulls=1", "methods=[landing]", f"out={tmp_path / 'out.json'}"]
    run(typed(InvertBench, compose("bench/invert", [*few, *effort])))
    numbers = json.loads((tmp_path / "out.json").read_text())
    kinds = ("generated", "encoder", "encoder, JPEG 60", "no encoder", "encoder, tuned")
    generated, encoded, jpeg, plain, tuned = (numbers[kind][0] for kind in kinds)
    assert tuned["error"] < encoded["error"] < plain["error"] < 60
    assert jpeg["error"] < plain["error"]
    assert 0 < encoded["first"] < encoded["seconds"]
    assert set(generated["left"]) == set(encoded["photo_left"]) == {"landing 1", "landing 5", "landing 68"}
    assert all(0 < left < 1 for left in generated["left"].values())
    pulls = numbers["pulls, landing"]
    assert pulls == {"generated": {"free-10": 0.0}, "inverted": {"free-10": 0.0}}  # so short a pull breaks nothing
    assert cv2.imread(str(tmp_path / "out.png")).shape[1] > 4 * 256  # photograph, inversion and three drags


def test_a_jpeg_loses_little_and_more_at_a_lower_quality() -> None:
    picture, _ = renders(0)
    fine, coarse = ((compressed(picture, quality) - picture).abs().mean() * 127.5 for quality in (90, 30))
    assert fine < coarse < 8


def test_renders_share_their_appearance_only() -> None:
    first, second = renders(0)
    assert first.shape == second.shape == (1, 3, 256, 256)
    assert (first - second).abs().mean() > 0.01
