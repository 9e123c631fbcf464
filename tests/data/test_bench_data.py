"""The data bench runs and adds up."""

from autodrag.bench.data import accuracy, cost_table, pieces
from autodrag.config import compose, typed
from autodrag.data.make import TrajectoriesConfig
from autodrag.data.trajectories import Recipe
from autodrag.generator import FrozenGenerator


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


def test_table_of_costs(tiny: FrozenGenerator, small_recipe: Recipe) -> None:
    text = cost_table(lambda: tiny, small_recipe, samples=2, workers=0)
    assert "samples a second with 0 processes" in text and "synthesis" in text
