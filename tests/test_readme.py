"""The commands of the README: every one has keys that exist, and the path of a published generator runs as typed."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser

from autodrag import dragging
from autodrag.app.server import AppConfig
from autodrag.config import compose, typed
from autodrag.data import make
from autodrag.download import DownloadConfig, fetch
from autodrag.evaluation import run as evaluation
from autodrag.evaluation.metric_networks import Instruments
from autodrag.evaluation.report import ReportConfig
from autodrag.generator import FrozenGenerator
from autodrag.training import run as training
from autodrag.vision.detectors import LandmarkDetector
from third_party.stylegan2.readers import write_safetensors

REPOSITORY = Path(__file__).resolve().parent.parent
CLASSES: dict[str, type] = {
    "app": AppConfig,
    "download": DownloadConfig,
    "drag": dragging.DragConfig,
    "eval": evaluation.EvalConfig,
    "tables": ReportConfig,
    "train": training.TrainConfig,
    "trajectories": make.TrajectoriesConfig,
}
WORK: dict[str, Callable[[Any], object]] = {
    "download": lambda config: fetch(config.dataset.source),
    "drag": dragging.run,
    "eval": evaluation.evaluate,
    "train": training.run,
    "trajectories": make.run,
}


@dataclass(frozen=True)
class Command:
    """A line as it is typed, with `$D` replaced."""

    script: str
    overrides: tuple[str, ...]

    @property
    def text(self) -> str:
        return " ".join((self.script, *self.overrides))


def commands(text: str) -> list[Command]:
    """All commands of a Markdown text. Of what a sweep varies the first value is taken, and options in brackets."""
    found = []
    for script, rest in re.findall(r"scripts/(\w+)\.py([^`\n#|]*)", text):
        words = re.sub(r" \[(.*?)\](?= |$)", r" \1", rest.replace("$D", "dog")).split()
        if words[:1] == ["..."] or script == "demo":
            continue
        if script == "bench":
            script = f"bench/{words.pop(0)}"
        overrides = [
            OverridesParser.create().parse_override(word) for word in words if "=" in word and "hydra/" not in word
        ]
        first = [next(iter(o.sweep_string_iterator())) if o.is_sweep_override() else None for o in overrides]
        given = (f"{o.key_or_group}={f}" if f else o.input_line for o, f in zip(overrides, first, strict=True))
        found.append(Command(script, tuple(str(g) for g in given)))
    return found


README = (REPOSITORY / "README.md").read_text()


def test_the_readme_has_commands() -> None:
    assert {"drag", "eval", "tables", "train", "trajectories", "download"} <= {c.script for c in commands(README)}
    assert len(commands(README)) > 25


@pytest.mark.parametrize("command", commands(README), ids=lambda command: command.text)
def test_every_command_has_keys_that_exist(command: Command) -> None:
    config = compose(command.script, command.overrides)
    if command.script.startswith("bench/"):
        name = command.script.partition("/")[2]
        typed(getattr(import_module(f"autodrag.bench.{name}"), f"{name.title()}Bench"), config)
    else:
        typed(CLASSES[command.script], config)


LOW = [
    *("trajectory.handle_px=4", "trajectory.step_px=2", "trajectory.psi=0.8", "trajectory.match.resolution=256"),
    *("trajectory.match.features=400", "trajectory.match.edge_px=8", "trajectory.match.gms_factor=2"),
    *("trajectory.match.return_px=6", "trajectory.match.consistency_px=20", "trajectory.match.consistency_count=2"),
    *("trajectory.match.max_px=300", "trajectory.match.feature_ratio=2", "trajectory.jump=0", "count=12", "workers=0"),
    *("calibration.lam=[0.3]", "calibration.psi=[0.8]", "calibration.draws=2", "seed=5", "device=cpu"),
]
SMALL: dict[str, list[str]] = {
    "download": [],
    "trajectories": LOW,
    "drag": ["frames=2", "device=cpu"],
    "train": [
        *(f"model.{network}.{size}" for network in ("predictor", "regularizer") for size in ("width=32", "heads=4")),
        *(f"model.{n}.{part}_layers=1" for n in ("predictor", "regularizer") for part in ("encoder", "decoder")),
        *(f"stage{stage}.budget.{part}" for stage in (1, 2) for part in ("epochs=1", "samples=8", "batch=4")),
        *("stage1.held_out=8", "stage2.held_out=4", "model.feature_block=4", "stage2.drag_block=4", "device=cpu"),
        "loop.precision=float32",
    ],
    "eval": ["task.count=1", "task.max_steps=1", "batch=1", "timed=1", "download=false", "device=cpu"],
}
TASKS = {"mdd": ["task.psi=1", "task.motion_px=1", "task.flow=dis"], "paired": ["task.points=4", "task.flow=dis"]}


class Grid(LandmarkDetector):
    """Stands for a face detector on images without faces."""

    fingerprint = "grid"

    def __init__(self) -> None:
        pass

    def __call__(self, images) -> list[torch.Tensor]:
        grid = torch.stack(torch.meshgrid(torch.arange(17.0), torch.arange(4.0), indexing="ij"), 2).flatten(0, 1)
        return [2 * grid + image.mean() / 25.5 for image in images]


def test_the_path_of_a_published_generator_runs_as_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a tiny generator and with the smallest settings: each command finds what the ones before it have written."""
    network = FrozenGenerator.random(resolution=(64, 64), w_dim=32).trainable_copy()
    write_safetensors(tmp_path / "tiny.safetensors", network.config, network.state_dict())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(evaluation, "load_instruments", lambda *_: Instruments(None, None, [], {}))
    monkeypatch.setattr("autodrag.evaluation.tasks.load_detector", lambda *_: Grid())
    (block,) = re.findall(r"^D=ffhq\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    path = commands(block)
    assert [command.script for command in path][:6] == ["download"] * 2 + ["trajectories"] * 2 + ["train"] * 2
    for command in path:
        if "landmarks=true" in command.overrides:
            continue  # 100 MB from the web
        given = [re.sub(r"^dataset=\w+", f"dataset={tmp_path / 'tiny.safetensors'}", o) for o in command.overrides]
        task = next((o.partition("=")[2] for o in given if o.startswith("task=")), "")
        config = compose(command.script, [*given, *SMALL[command.script], *TASKS.get(task, [])])
        WORK[command.script](typed(CLASSES[command.script], config))
    assert "Taken over by trajectory.lam=[0.3,0.3]" in capsys.readouterr().out
    results = {path.parent.relative_to(tmp_path) for path in tmp_path.glob("runs/eval/**/summary.json")}
    assert results == {Path("runs/eval/tiny") / task / "autodrag" for task in ("mdd", "landmarks", "paired")}
    assert (tmp_path / "drag.gif").is_file()
