"""Samples made many at once are those made one by one."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autodrag.config import MODEL_DIR
from autodrag.data import batched
from autodrag.data.batched import Maker
from autodrag.data.hamming import nearest, nearest_both_ways
from autodrag.data.make import fill_folder
from autodrag.data.shards import read_index, read_shard
from autodrag.data.trajectories import MatchedMotion, Recipe, make_sample
from autodrag.data.workers import make_samples
from autodrag.generator import FrozenGenerator
from autodrag.vision.detectors import load_detector


class OneByOne(FrozenGenerator):
    """Rounds in a batch as it does alone: ORB sees the last bit of a pixel."""

    def map(self, z: torch.Tensor, *args: Any, **options: Any) -> torch.Tensor:
        return torch.cat([super(OneByOne, self).map(each, *args, **options) for each in z.split(1)])

    def synthesize(self, ws: torch.Tensor, *args: Any, **options: Any) -> Any:
        parts = [super(OneByOne, self).synthesize(each, *args, **options) for each in ws.split(1)]
        return tuple(torch.cat(part) for part in zip(*parts, strict=True))


def assert_same(some: Iterable[MatchedMotion], others: Iterable[MatchedMotion]) -> None:
    for a, b in zip(some, others, strict=True):
        assert (a.index, a.attempt, len(a.steps)) == (b.index, b.attempt, len(b.steps))
        for p, q in zip((a.ends, a.landmarks, *a.steps), (b.ends, b.landmarks, *b.steps), strict=True):
            assert p.handles.shape == q.handles.shape
            assert np.allclose(p.handles, q.handles, atol=1e-3) and np.allclose(p.targets, q.targets, atol=1e-3)
        assert np.allclose(a.outlines.handles, b.outlines.handles, atol=1e-3)
        assert np.allclose(a.outlines.targets, b.outlines.targets, atol=1e-2)


@pytest.mark.parametrize("changes", [{}, {"match_steps": False}, {"n": 1}, {"handle_px": 60.0, "attempts": 3}])
def test_batches_make_the_samples_of_single_draws(
    tiny: FrozenGenerator, small_recipe: Recipe, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batched, "BATCH", 3)
    generator, indices = OneByOne(tiny.network, tiny.name), [0, 1, 2, 3, 5, 8, 9]
    recipe = replace(small_recipe, trajectory=replace(small_recipe.trajectory, **changes))
    with ThreadPoolExecutor(2) as pool:
        made = list(Maker(generator, recipe, pool).samples(indices))
    assert [sample.index for sample in made] == indices
    alone = [make_sample(generator, recipe, index) for index in indices]
    if "handle_px" in changes:
        assert any(sample.attempt for sample in alone)  # draws in vain are made again
    assert_same(made, alone)


def test_landmarks_and_outlines_too(synthface: FrozenGenerator, small_recipe: Recipe) -> None:
    changes = {"landmarks": True, "outlines": True, "match_steps": False, "psi": 1.0}
    recipe = replace(small_recipe, trajectory=replace(small_recipe.trajectory, **changes))
    generator, detector = OneByOne(synthface.network, synthface.name), load_detector("synthface", MODEL_DIR)
    with ThreadPoolExecutor(1) as pool:
        (made,) = Maker(generator, recipe, pool, detector).samples([0])
    assert len(made.landmarks.handles) == 68 and len(made.outlines.handles) > 1
    assert_same([made], [make_sample(generator, recipe, 0, detector)])


def test_processes_fill_a_folder_for_the_one_that_has_the_generator(
    tiny: FrozenGenerator, small_recipe: Recipe, tmp_path: Path
) -> None:
    generator = OneByOne(tiny.network, tiny.name)
    work = partial(make_samples, lambda: generator, small_recipe, 1, batched=True)
    fill_folder(tmp_path, small_recipe, work, count=5, shard_size=4)
    entries = read_index(tmp_path).shards
    made = [sample for number in sorted(entries) for sample in read_shard(tmp_path, entries[number])]
    assert_same(made, [make_sample(generator, small_recipe, index) for index in range(5)])


def test_neighbours_of_many_sets_at_once() -> None:
    draw = np.random.default_rng(0)
    some = draw.integers(0, 256, (40, 32), dtype=np.uint8)  # few, so that many are equally near
    sizes = [(90, 120), (1, 7), (200, 1), (33, 33)]
    first, second = ([some[draw.integers(0, 40, pair[side])] ^ 1 for pair in sizes] for side in (0, 1))
    cpu = torch.device("cpu")
    for a, b, found in zip(first, second, nearest_both_ways(first, second, cpu), strict=True):
        target, bits = nearest(a, b, "opencv", cpu)
        back, _ = nearest(b, a, "opencv", cpu)
        assert all(np.array_equal(x, y) for x, y in zip(found, (target, bits, back), strict=True))
