"""The commands that the demo runs fit together."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from autodrag import demo
from autodrag.config import compose, typed
from autodrag.data.make import TrajectoriesConfig
from autodrag.demo import DemoConfig
from autodrag.training.build import TrainConfig


def test_the_samples_of_the_demo_have_what_its_stages_learn_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    def record(words: Sequence[str]) -> None:
        script, *overrides = words
        commands.append([Path(script).stem, *overrides])
        for folder in (word.removeprefix("out=") for word in overrides if word.startswith("out=")):
            Path(folder).mkdir(exist_ok=True)
            (Path(folder) / "stats.jsonl").write_text('{"loss": 1.0}\n', encoding="utf-8")

    monkeypatch.setattr(demo, "_command", record)
    demo._train_briefly(typed(DemoConfig, compose("demo", [f"out={tmp_path}"])), tmp_path)
    (script, *overrides), *trainings = commands
    assert script == "trajectories"
    made = typed(TrajectoriesConfig, compose(script, overrides)).trajectory
    assert [name for name, *_ in trainings] == ["train"] * 4
    for _, *words in trainings:
        trained = typed(TrainConfig, compose("train", words))
        assert trained.data == f"{tmp_path}/data"
        for section in (trained.motion, trained.aim):
            assert made.outlines or section.outlines == 0
            assert made.landmarks or section.landmarks == 0
