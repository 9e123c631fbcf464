"""Evaluations on a tiny generator, with made-up networks where faces and weights would be needed."""

import json
from collections.abc import Callable
from pathlib import Path

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
    """Stands for a face detector on images without faces: 68 points that depend on the image."""

    fingerprint = "corners"

    def __init__(self) -> None:
        pass

    def __call__(self, images) -> list[torch.Tensor]:
        means = torch.from_numpy(images).float().mean(dim=(1, 2, 3)) / 25.5
        grid = torch.stack(torch.meshgrid(torch.arange(17.0), torch.arange(4.0), indexing="ij"), 2).flatten(0, 1) * 2
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
