"""The training set: a pure function of positions, padded, and bound to the generator it was made with."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from autodrag.data.dataset import Batch, Sample, Trajectories, collate
from autodrag.data.matching import Matches
from autodrag.data.trajectories import NO_MATCHES, Recipe, latent_motion
from autodrag.errors import InputError
from autodrag.generator import FrozenGenerator


@pytest.fixture(scope="module")
def trajectories(small_folder: Path, tiny: FrozenGenerator) -> Trajectories:
    return Trajectories(small_folder, tiny, max_points=6, step_points=4, seed=1)


def equal(a: Batch, b: Batch) -> bool:
    """The same points to the last bit, and latents as near as they can be computed."""
    pairs = [(name, value, getattr(b, name)) for name, value in vars(a).items()]
    return all(torch.allclose(x, y, atol=1e-5) if name == "ws" else torch.equal(x, y) for name, x, y in pairs)


def test_shapes_and_padding(trajectories: Trajectories) -> None:
    batch = trajectories.batch(range(5))
    points, step_points = batch.mask.shape[1], batch.step_mask.shape[2]
    assert batch.ws.shape == (5, 4, 10, 32)
    assert batch.handles.shape == batch.targets.shape == (5, points, 2)
    assert batch.step_handles.shape == batch.step_targets.shape == (5, 3, step_points, 2)
    assert 1 <= points <= 6 and 1 <= step_points <= 4
    assert batch.mask.any(dim=1).all()
    assert (batch.handles[~batch.mask] == 0).all() and (batch.step_targets[~batch.step_mask] == 0).all()
    moved = (batch.targets - batch.handles).norm(dim=2)[batch.mask]
    assert (moved * 512 / 64 > 4 - 1e-3).all()


def test_latents_are_those_the_matches_were_made_with(trajectories: Trajectories, tiny: FrozenGenerator) -> None:
    sample = trajectories.samples([3])[0]
    motion = trajectories.motions[sample.index]
    ws = latent_motion(tiny, trajectories.recipe.trajectory, trajectories.recipe.seed, [(motion.index, motion.attempt)])
    assert torch.allclose(sample.ws, ws[0], atol=1e-5)


def test_batches_are_a_function_of_their_positions(
    trajectories: Trajectories, small_folder: Path, tiny: FrozenGenerator
) -> None:
    first = trajectories.batch(range(8, 13))
    trajectories.batch(range(100, 104))
    assert equal(first, trajectories.batch(range(8, 13)))
    assert equal(first, Trajectories(small_folder, tiny, 6, 4, seed=1).batch(range(8, 13)))
    assert not equal(first, Trajectories(small_folder, tiny, 6, 4, seed=2).batch(range(8, 13)))


def test_samples_of_a_batch_have_the_same_number_of_points_where_matches_allow(
    small_folder: Path, tiny: FrozenGenerator
) -> None:
    together = Trajectories(small_folder, tiny, 6, 4, seed=1, together=5)
    counts = []
    for start in range(0, 60, 5):
        samples = together.samples(range(start, start + 5))
        found = [len(together.motions[s.index].ends.handles) for s in samples]
        most = max(len(s.handles) for s in samples)
        assert [len(s.handles) for s in samples] == [min(most, n) for n in found]
        counts.append(most)
    assert len(set(counts)) > 1


def test_ranks_together_see_the_samples_of_one(trajectories: Trajectories) -> None:
    def described(samples: list[Sample]) -> list[tuple[int, list[float]]]:
        return [(s.index, s.handles.flatten().tolist()) for s in samples]

    whole = trajectories.samples(range(6))
    shares = trajectories.samples(range(3)) + trajectories.samples(range(3, 6))
    assert described(whole) == described(shares)


def test_every_pass_sees_all_samples_in_another_order(trajectories: Trajectories) -> None:
    passes = [[s.index for s in trajectories.samples(range(k * 10, k * 10 + 10))] for k in range(3)]
    assert all(sorted(p) == list(range(10)) for p in passes)
    assert passes[0] != passes[1]


def test_number_of_points_spans_its_range(trajectories: Trajectories) -> None:
    counts = {
        len(s.handles) for s in trajectories.samples(range(200)) if len(trajectories.motions[s.index].ends.handles) >= 6
    }
    assert counts == {1, 2, 3, 4, 5, 6}


def test_landmarks_take_the_place_of_matches(small_folder: Path, tiny: FrozenGenerator) -> None:
    with pytest.raises(InputError, match=r"trajectory\.landmarks=true"):
        Trajectories(small_folder, tiny, 6, 4, landmarks=0.5)
    samples = Trajectories(small_folder, tiny, 6, 4, seed=1, together=5)
    samples.landmarks = 0.5
    made_up = np.full((68, 2), 7, np.float32)
    samples.motions = [replace(motion, landmarks=Matches(made_up, made_up)) for motion in samples.motions]
    kinds = [[bool((s.handles == 7).all()) for s in samples.samples(range(at, at + 5))] for at in range(0, 400, 5)]
    assert all(len(set(group)) == 1 for group in kinds)  # a group is of one kind
    assert 0.3 < sum(group[0] for group in kinds) / len(kinds) < 0.7
    samples.landmarks = 1
    samples.motions = [replace(motion, landmarks=NO_MATCHES) for motion in samples.motions]
    assert all(len(s.handles) > 0 and (s.handles != 7).any() for s in samples.samples(range(5)))  # matches after all


def test_a_part_of_the_folder(small_folder: Path, tiny: FrozenGenerator) -> None:
    validation = Trajectories(small_folder, tiny, 6, 4, part=slice(7, None))
    assert len(validation) == 3
    assert {s.index for s in validation.samples(range(3))} == {7, 8, 9}
    with pytest.raises(InputError, match="no sample"):
        Trajectories(small_folder, tiny, 6, 4, part=slice(10, None))


def test_steps_without_points_are_masked() -> None:
    one, none = torch.ones(1, 2), torch.zeros(0, 2)
    sample = Sample(0, torch.zeros(3, 8, 4), one, one, [none, none], [none, none])
    batch = collate([sample, sample])
    assert batch.step_handles.shape == (2, 2, 1, 2)
    assert not batch.step_mask.any() and batch.mask.all()


def test_another_generator_is_refused(small_folder: Path) -> None:
    other = FrozenGenerator.random(resolution=(64, 64), w_dim=32, seed=9)
    with pytest.raises(InputError, match="another generator"):
        Trajectories(small_folder, other, 6, 4)


def test_no_points_at_all_is_refused(small_folder: Path, tiny: FrozenGenerator) -> None:
    with pytest.raises(InputError, match="at least 1"):
        Trajectories(small_folder, tiny, 0, 4)


def test_folder_records_its_recipe(trajectories: Trajectories, small_recipe: Recipe) -> None:
    assert trajectories.recipe == small_recipe
