"""Evaluations on a tiny generator, with made-up networks where faces and weights would be needed; made-up results."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from autodrag.config import compose, typed
from autodrag.domains.synthface.reader import Reader
from autodrag.evaluation import run as module
from autodrag.evaluation.metric_networks import MetricNetworks
from autodrag.evaluation.run import EvalConfig
from autodrag.generator import FrozenGenerator
from autodrag.vision.detectors import LandmarkDetector
from third_party.stylegan2.readers import write_safetensors


class Corners(LandmarkDetector):
    """Stands for a face detector on images without faces: 68 points, `step` pixels apart, that depend on the image."""

    fingerprint = "corners"

    def __init__(self, step: float = 2.0) -> None:
        self._step = step

    def __call__(self, images) -> list[torch.Tensor]:
        means = torch.from_numpy(images).float().mean(dim=(1, 2, 3)) * (self._step / 51)
        grid = (
            torch.stack(torch.meshgrid(torch.arange(17.0), torch.arange(4.0), indexing="ij"), 2).flatten(0, 1)
            * self._step
        )
        return [grid + mean for mean in means]


class Flat(Reader):
    """Stands for the network that reads parameters. name: also its hash. times: of the features."""

    fingerprint = "flat"

    def __init__(self, name: str = "FD-flat", times: int = 1) -> None:
        self.name, self.caption, self.fingerprint, self._times = name, f"mean colours, {times} times", name, times

    def features(self, images: torch.Tensor) -> torch.Tensor:
        return self.appearance(images) * self._times

    def appearance(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(2, 3))


@pytest.fixture(scope="session")
def corners() -> type[Corners]:
    """The class of the stand-in for a face detector."""
    return Corners


@pytest.fixture(scope="session")
def flat() -> type[Flat]:
    """The class of the network that reads mean colours."""
    return Flat


@pytest.fixture(scope="session")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generator of random weights."""
    path = tmp_path_factory.mktemp("eval") / "tiny.safetensors"
    network = FrozenGenerator.random(resolution=(64, 64), w_dim=32).trainable_copy()
    write_safetensors(path, network.config, network.state_dict())
    return path


@pytest.fixture
def instruments(monkeypatch: pytest.MonkeyPatch) -> None:
    """No evaluation needs a face or a file of weights; LPIPS is missing."""
    reader = Flat()
    have = MetricNetworks(None, reader, [reader], {"LPIPS": "LPIPS needs a file."})
    monkeypatch.setattr(module, "load_metric_networks", lambda *_: have)
    monkeypatch.setattr("autodrag.evaluation.tasks.load_detector", lambda *_: Corners())


@pytest.fixture(scope="session")
def config() -> Callable[..., EvalConfig]:
    """config(file, folder, *overrides): three items without an edit, in `folder`."""

    def make(file: Path, folder: Path, *overrides: str) -> EvalConfig:
        given = [f"dataset={file}", f"manifest={folder / 'manifest.json'}", f"out={folder / 'out'}"]
        given += ["device=cpu", "batch=2", "task.count=3", "timed=1", "method=none"]
        return typed(EvalConfig, compose("eval", [*given, *overrides]))

    return make


@pytest.fixture(scope="session")
def summary() -> Callable[[Path], dict]:
    """summary(folder): what `config`'s evaluation found."""
    return lambda folder: json.loads((folder / "out" / "summary.json").read_text())


@pytest.fixture(scope="session")
def small() -> dict[str, list[str]]:
    """Overrides for every task."""
    return {
        "landmarks": ["task=landmarks", "task.psi=1"],
        "paired": ["task=paired", "task.points=4", "task.flow=dis"],
        "mdd": ["task=mdd", "task.psi=1", "task.motion_px=1", "task.flow=dis"],
        "roundtrip": ["task=roundtrip", "task.psi=1", "task.motion_px=1", "task.points=2", "task.flow=dis"],
    }


def an_estimate(mean: float | None, n: int = 100) -> dict[str, Any]:
    ends = (None, None) if mean is None else (mean * 0.9, mean * 1.1)
    return {"n": n, "mean": mean, "low": ends[0], "high": ends[1]}


def some_settings(task: str) -> dict[str, Any]:
    """The settings of a task, each with its columns."""
    if task in ("landmarks", "short"):
        return {
            s: {"items": 100, "failed": 1, "md": an_estimate(md), "md_before": an_estimate(10.0), "md_left": md / 10}
            | {"md_penalised": an_estimate(2 * md), "outside": an_estimate(0.02), "identity": an_estimate(None)}
            for s, md in (("1", 1.25), ("5", 2.5), ("68", 3.75))
        }
    if task == "paired":
        mse, lpips, outside = (an_estimate(mean) for mean in (0.5, None, 0.1))
        return {"32": {"items": 100, "mse": mse, "lpips": lpips, "outside": outside}}
    return {"1": {"items": 2, "mdd": an_estimate(0.2)}}


def a_summary(task: str, label: str, max_steps: int) -> dict[str, Any]:
    """What an evaluation of a method on 100 items would find."""
    return {
        "task": {"name": task, "count": 100, "preset": "dlib5-nose", "way": 0.2 if task == "short" else 1}
        | {"max_steps": max_steps, "psi": 0.3, "lam": 0.1},
        "resolution": [256, 256],
        "method": {"name": label, "label": label, "options": {}},
        "seed": 0,
        "tools": {"flow": "dis"},
        "columns": {},
        "settings": some_settings(task),
        "frechet": {"FD-synthface": {"n": 100, "network": "a net", "value": 4.5, "floor": 0.5}},
        "curves": {"seconds": [0.001, 0.1, 0.2], "mdd": [[1, 0.5, 0.25], [1, 0.6, 0.3]]} if task == "mdd" else None,
        "missing": {"FID": "FID needs a file in /home/me."},
        "device": "CPU, 2 threads",
        "commit": "0123456789abcdef",
        "seconds": None if label == "oracle" else {k: an_estimate(0.04) for k in ("method", "rendered")},
    }


def some_rows(task: str) -> list[dict[str, Any]]:
    """Three items of each setting, with the column that the task is about."""
    column = {"landmarks": "md", "short": "md", "paired": "mse", "mdd": "mdd"}[task]
    return [
        {"index": i, "setting": setting, column: values[column]["mean"] + i / 100}
        for setting, values in some_settings(task).items()
        for i in range(3)
    ]


@pytest.fixture(scope="session")
def estimate() -> Callable[..., dict[str, Any]]:
    """estimate(mean): with an interval of a tenth to each side."""
    return an_estimate


@pytest.fixture(scope="session")
def write() -> Callable[..., Path]:
    """write(root, task, label, ...): made-up results of a method in a folder, which is returned.

    more: keys of the summary with other values.
    """

    def write_results(
        root: Path,
        task: str,
        label: str,
        dataset: str = "synthface",
        manifest: str = "m",
        max_steps: int = 300,
        **more: Any,
    ) -> Path:
        folder = root / dataset / task / label
        folder.mkdir(parents=True)
        summary = a_summary(task, label, max_steps) | {"dataset": dataset, "manifest": manifest} | more
        (folder / "summary.json").write_text(json.dumps(summary))
        (folder / "per_item.jsonl").write_text("".join(json.dumps(row) + "\n" for row in some_rows(task)))
        return folder

    return write_results
