"""What the tests of the stages share: made-up trajectories, the default config, a short training, and the toy stage."""

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from autodrag.config import compose, typed
from autodrag.data.matching import Matches
from autodrag.data.outlines import Outlines
from autodrag.data.shards import fill
from autodrag.data.trajectories import MatchedMotion, Recipe, TrajectoryConfig
from autodrag.fingerprint import fingerprint
from autodrag.training.build import TrainConfig
from autodrag.training.stages.base import Stage

Learn = Callable[..., tuple[float, float]]


@pytest.fixture(scope="session")
def toy() -> ModuleType:
    """The module toy.py in this folder, which is also a program."""
    path = Path(__file__).with_name("toy.py")
    spec = importlib.util.spec_from_file_location("toy", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["toy"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def config() -> TrainConfig:
    """What `train.py model=small` would run."""
    return typed(TrainConfig, compose("train", ["model=small"]))


@pytest.fixture(scope="session")
def folder(tiny: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trajectories with random points: images of the tiny generator have no matches."""
    path = tmp_path_factory.mktemp("trajectories")
    recipe = typed(TrajectoryConfig, compose("trajectories", ["trajectory.landmarks=true"]).trajectory)
    made = Recipe(fingerprint(tiny), "float32", 0, None, recipe)
    fill(path, made, 24, 8, lambda indices: map(_made_up, indices), lambda line: None)
    return path


def _made_up(index: int) -> MatchedMotion:
    draw = np.random.default_rng(index)

    def matches(count: int) -> Matches:
        return Matches(*(64 * draw.random((2, count, 2), dtype=np.float32)))

    steps = tuple(matches((index + i) % 3) for i in range(5))
    handles, targets, normals = draw.random((3, 6, 2), dtype=np.float32)
    outlines = Outlines(64 * handles, 64 * targets, normals / np.linalg.norm(normals, axis=1, keepdims=True))
    return MatchedMotion(index, 0, matches(1 + index % 5), matches(68), steps, outlines)


@pytest.fixture(scope="session")
def learn() -> Learn:
    """learn(stage, batch, steps, lr): the first and the last loss of so many steps on one batch.

    enough: share of the first loss at which they end.
    """

    def fit(stage: Stage, batch: Any, steps: int, lr: float, enough: float = 0.0) -> tuple[float, float]:
        optimizer = torch.optim.Adam([p for p in stage.parameters() if p.requires_grad], lr=lr)
        losses = []
        for _ in range(steps):
            loss, _ = stage(batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
            if losses[-1] < enough * losses[0]:
                break
        return losses[0], losses[-1]

    return fit
