"""A small folder of samples made with the tiny generator."""

from functools import partial
from pathlib import Path

import pytest

from autodrag.data.make import fill_folder
from autodrag.data.matching import MatchingConfig
from autodrag.data.trajectories import Recipe, TrajectoryConfig
from autodrag.data.workers import make_samples
from autodrag.fingerprint import fingerprint
from autodrag.generator import FrozenGenerator


@pytest.fixture(scope="session")
def small_recipe(tiny: FrozenGenerator) -> Recipe:
    """Three steps, low thresholds: a generator of random weights moves little."""
    matching = MatchingConfig(256, 400, 8, 8, "auto", 2.0, 6.0, 20.0, 2, 300.0, 2.0)
    trajectory = TrajectoryConfig(
        3,
        "toward",
        "trajectory",
        "one",
        (90.0, 90.0),
        (0.1, 0.3),
        0.8,
        None,
        0.0,
        60.0,
        4.0,
        2.0,
        True,
        False,
        20,
        30,
        matching,
    )
    return Recipe(fingerprint(tiny), "float32", 5, None, trajectory)


@pytest.fixture(scope="session")
def small_folder(tiny: FrozenGenerator, small_recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten samples in shards of four."""
    folder = tmp_path_factory.mktemp("trajectories")
    fill_folder(folder, small_recipe, partial(make_samples, lambda: tiny, small_recipe, 0), count=10, shard_size=4)
    return folder
