"""Samples: latents in closed form, and the properties of matches."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from autodrag.config import MODEL_DIR
from autodrag.data.components import principal_components
from autodrag.data.matching import Matches
from autodrag.data.trajectories import (
    MatchedMotion,
    Recipe,
    TrajectoryConfig,
    check,
    latent_motion,
    make_sample,
    some_of,
    turned,
)
from autodrag.errors import InputError
from autodrag.fingerprint import fingerprint
from autodrag.generator import FrozenGenerator
from autodrag.images import to_pixels
from autodrag.seeding import rng
from autodrag.vision.detectors import load_detector
from third_party.stylegan2 import Generator

DRAWS = [(0, 0), (1, 0), (1, 1), (7, 0)]


@pytest.fixture
def config(small_recipe: Recipe) -> TrajectoryConfig:
    return small_recipe.trajectory


def changed(recipe: Recipe, **changes: object) -> Recipe:
    return replace(recipe, trajectory=replace(recipe.trajectory, **changes))


def differences(ws: torch.Tensor) -> torch.Tensor:
    return ws[:, 1:, :6] - ws[:, :-1, :6]


def test_a_motion_does_not_depend_on_its_batch(tiny: FrozenGenerator, config: TrajectoryConfig) -> None:
    together = latent_motion(tiny, config, 5, DRAWS)
    alone = torch.cat([latent_motion(tiny, config, 5, [draw]) for draw in DRAWS])
    assert together.shape == (4, 4, 10, 32)
    assert torch.allclose(together, alone, atol=1e-5)
    assert not torch.allclose(together[1], together[2], atol=1e-2)  # another attempt is another draw


def test_kept_rows_stay(tiny: FrozenGenerator, config: TrajectoryConfig) -> None:
    ws = latent_motion(tiny, config, 5, DRAWS)
    assert torch.equal(ws[:, :, 6:], ws[:, :1, 6:].expand(-1, 4, -1, -1))


@pytest.mark.parametrize(("direction", "sign"), [("toward", -1), ("away", 1)])
def test_steps_shrink_toward_and_grow_away_from_a_fixed_star(
    tiny: FrozenGenerator, config: TrajectoryConfig, direction: str, sign: int
) -> None:
    ws = latent_motion(tiny, replace(config, direction=direction, lam=(0.2, 0.2)), 5, DRAWS)
    steps = differences(ws)
    assert torch.allclose(steps[:, 1:], (1 + sign * 0.2) * steps[:, :-1], atol=1e-5)


def test_a_jump_ends_at_the_star_in_equal_steps(tiny: FrozenGenerator, config: TrajectoryConfig) -> None:
    ws = latent_motion(tiny, replace(config, jump=1.0), 5, DRAWS)
    steps = differences(ws)
    assert torch.allclose(steps, steps[:, :1].expand_as(steps), atol=1e-5)
    whole = latent_motion(tiny, replace(config, lam=(1.0, 1.0)), 5, DRAWS)  # lambda 1 is there at once
    assert torch.allclose(ws[:, -1], whole[:, -1], atol=1e-5)


def test_share_of_jumps(tiny: FrozenGenerator, config: TrajectoryConfig) -> None:
    steps = differences(latent_motion(tiny, replace(config, jump=0.25), 5, [(i, 0) for i in range(200)]))
    jumps = (steps[:, 0] - steps[:, 1]).abs().amax(dim=(1, 2)) < 1e-5
    assert 0.15 < jumps.float().mean().item() < 0.35


@pytest.mark.parametrize(("rows", "equal"), [("one", True), ("independent", False)])
def test_rows_of_the_star(tiny: FrozenGenerator, config: TrajectoryConfig, rows: str, equal: bool) -> None:
    ws = latent_motion(tiny, replace(config, star_rows=rows, lam=(1.0, 1.0)), 5, DRAWS)
    star = ws[:, -1, :6]
    assert torch.allclose(star, star[:, :1].expand_as(star), atol=1e-5) == equal


def test_a_star_for_each_step(tiny: FrozenGenerator, config: TrajectoryConfig) -> None:
    ws = latent_motion(tiny, replace(config, star_per="step", lam=(1.0, 1.0)), 5, DRAWS)
    assert (differences(ws)[:, 1:].abs().amax(dim=(2, 3)) > 1e-2).all()


def test_truncation_of_source_and_star(tiny: FrozenGenerator, config: TrajectoryConfig) -> None:
    ws = latent_motion(tiny, replace(config, psi=0.0, star_psi=1.0, lam=(1.0, 1.0)), 5, DRAWS)
    assert torch.allclose(ws[:, 0], ws[:1, 0].expand(4, -1, -1), atol=1e-6)  # all at the mean
    assert not torch.allclose(ws[0, -1], ws[1, -1], atol=1e-2)


def test_motions_along_a_component_cross_the_mean(tiny: FrozenGenerator, config: TrajectoryConfig) -> None:
    alone = replace(config, components=3, jump=1.0, psi=1.0)
    ws = latent_motion(tiny, alone, 5, [(i, 0) for i in range(40)])
    others = latent_motion(tiny, replace(alone, components=None), 5, [(i, 0) for i in range(40)])
    assert torch.equal(ws[:, 0], others[:, 0])
    mean, deviations = principal_components(tiny, 1.0)
    lengths = deviations.norm(dim=1)
    assert torch.allclose(deviations @ deviations.T, torch.diag(lengths.square()), atol=1e-3)
    assert (lengths.diff() <= 0).all()
    moved = (ws[:, -1, :6] - ws[:, 0, :6]) @ deviations.T / lengths.square().clamp(min=1e-9)  # [B, K, D]
    assert torch.allclose(moved, moved[:, :1].expand_as(moved), atol=1e-3)
    far, chosen = moved[:, 0, :3].abs().max(dim=1)
    assert set(chosen.tolist()) == {0, 1, 2} and (far > 1.39).all() and (far < 3.01).all()
    assert (moved[:, 0, :3].abs() > 1e-2).sum(dim=1).eq(1).all() and moved[:, 0, 3:8].abs().max() < 1e-2
    before = ((ws[:, 0, 0] - mean) @ deviations.T)[torch.arange(40), chosen]
    assert (before * moved[torch.arange(40), 0, chosen] < 0).all()
    with pytest.raises(InputError, match=r"trajectory.components is 0"):
        check(replace(config, components=0))


def test_balanced_samples_store_few_matches_that_stay(small_recipe: Recipe) -> None:
    handles = torch.rand(200, 2, generator=torch.Generator().manual_seed(0)).numpy() * 200
    for moving, stored in ((4, 16), (60, 100), (130, 100)):
        away = np.zeros((200, 2), np.float32)
        away[:moving] = (3.0, 0.0)
        found = Matches(handles, handles + away)
        kept = some_of(found, changed(small_recipe, balanced=True, keep=100), (3, 0), 256)
        moved = (np.linalg.norm(kept.targets - kept.handles, axis=1) > 1).sum()
        assert len(kept.handles) == stored
        assert moved == 4 if moving == 4 else 35 < moved < 65


def test_lambda_covers_its_range(tiny: FrozenGenerator, config: TrajectoryConfig) -> None:
    steps = differences(latent_motion(tiny, config, 5, [(i, 0) for i in range(100)]))
    lam = 1 - steps[:, 1].norm(dim=(1, 2)) / steps[:, 0].norm(dim=(1, 2))
    assert lam.min().item() == pytest.approx(0.1, abs=0.01) and lam.max().item() == pytest.approx(0.3, abs=0.01)


def test_a_star_is_that_far_from_the_source(tiny: FrozenGenerator, config: TrajectoryConfig) -> None:
    def stars(low: float, high: float) -> torch.Tensor:
        return latent_motion(tiny, replace(config, angle=(low, high), jump=1.0), 5, DRAWS)[:, [0, -1], 0]

    away = [(ws[:, 1] - ws[:, 0]).norm(dim=1) for ws in (stars(1.0, 1.0), stars(30.0, 30.0), stars(90.0, 90.0))]
    assert (away[0] < away[1]).all() and (away[1] < away[2]).all()
    z, other = torch.randn(2, 5, 4000, generator=torch.Generator().manual_seed(0))
    between = turned(z, other, torch.tensor([10.0, 45.0, 90.0, 135.0, 180.0]))
    found = torch.cosine_similarity(z, between).acos().rad2deg()
    assert torch.allclose(found, torch.tensor([10.0, 45.0, 90.0, 135.0, 180.0]), atol=2)
    assert torch.equal(between[2], other[2])
    with pytest.raises(InputError, match=r"trajectory.angle is"):
        check(replace(config, angle=(0.0, 90.0)))


def test_landmarks_are_those_of_the_first_and_the_last_image(synthface: FrozenGenerator, small_recipe: Recipe) -> None:
    detector = load_detector("synthface", MODEL_DIR)
    recipe = changed(small_recipe, landmarks=True, match_steps=False, psi=1.0)
    sample = make_sample(synthface, recipe, 0, detector)
    ws = latent_motion(synthface, recipe.trajectory, recipe.seed, [(0, sample.attempt)])[0]
    images = to_pixels(synthface.synthesize(ws[[0, -1]], noise="none"))
    for found, stored in zip(detector(images), (sample.landmarks.handles, sample.landmarks.targets), strict=True):
        assert found is not None and np.allclose(found.numpy(), stored, atol=0.1)
    assert len(make_sample(synthface, recipe, 0).landmarks.handles) == 0


def same(a: MatchedMotion, b: MatchedMotion) -> bool:
    pairs = zip((a.ends, a.landmarks, *a.steps), (b.ends, b.landmarks, *b.steps), strict=True)
    return a.attempt == b.attempt and all(np.array_equal(p.handles, q.handles) for p, q in pairs)


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_a_motion_in_other_steps_has_the_same_ends_and_points_of_its_own_steps(
    tiny: FrozenGenerator, small_recipe: Recipe, steps: int
) -> None:
    other = changed(small_recipe, in_steps=steps, step_px=0.5)
    draws = [(3, 0)]
    plain, gone = (latent_motion(tiny, r.trajectory, r.seed, draws)[0] for r in (small_recipe, other))
    assert len(gone) == steps + 1 and torch.allclose(gone[[0, -1]], plain[[0, -1]], atol=1e-5)
    sample, whole = make_sample(tiny, other, 3), make_sample(tiny, small_recipe, 3)
    assert len(sample.steps) == steps and sample.attempt == whole.attempt
    assert np.allclose(sample.ends.handles, whole.ends.handles, atol=0.05)
    assert any(len(step.handles) for step in sample.steps)


def test_a_sample_is_a_function_of_recipe_and_index(tiny: FrozenGenerator, small_recipe: Recipe) -> None:
    first, again, other = (make_sample(tiny, small_recipe, index) for index in (3, 3, 4))
    assert same(first, again) and not same(first, other)


def test_matches_move_as_far_as_asked_inside_the_image(tiny: FrozenGenerator, small_recipe: Recipe) -> None:
    unit = 512 / 64
    for index in range(4):
        sample = make_sample(tiny, changed(small_recipe, lam=(0.3, 0.3)), index)
        assert len(sample.steps) == 3
        for pair, least in ((sample.ends, 4.0), *((step, 2.0) for step in sample.steps)):
            motion = np.linalg.norm(pair.targets - pair.handles, axis=1) * unit
            assert (motion > least - 1e-3).all() and len(motion) <= 20
            for points in (pair.handles, pair.targets):
                assert ((points > -0.5) & (points < 63.5)).all()
        assert len(sample.ends.handles) > 0


def test_one_step(tiny: FrozenGenerator, small_recipe: Recipe) -> None:
    sample = make_sample(tiny, changed(small_recipe, n=1, step_px=4.0), 0)
    assert len(sample.steps) == 1
    assert len(sample.steps[0].handles) == len(sample.ends.handles)


def test_failed_draws_are_counted_and_limited(tiny: FrozenGenerator, small_recipe: Recipe) -> None:
    impossible = changed(small_recipe, match=replace(small_recipe.trajectory.match, gms_factor=99.0), attempts=2)
    sample = make_sample(tiny, impossible, 7)
    assert (sample.index, sample.attempt, len(sample.ends.handles), len(sample.steps)) == (7, 2, 0, 3)


@pytest.mark.parametrize(
    "changes", [{"n": 0}, {"jump": 1.5}, {"lam": (0.3, 0.1)}, {"lam": (0.0, 0.1)}, {"keep": 0}, {"handle_px": 300.0}]
)
def test_impossible_settings(config: TrajectoryConfig, changes: dict[str, object]) -> None:
    with pytest.raises(InputError):
        check(replace(config, **changes))


def test_fingerprints_differ_between_generators(tiny: FrozenGenerator) -> None:
    assert fingerprint(tiny) == fingerprint(FrozenGenerator.random(resolution=(64, 64), w_dim=32, seed=0))
    assert fingerprint(tiny) != fingerprint(FrozenGenerator.random(resolution=(64, 64), w_dim=32, seed=1))


def test_without_matched_steps_the_ends_are_the_same(tiny: FrozenGenerator, small_recipe: Recipe) -> None:
    whole = make_sample(tiny, small_recipe, 3)
    ends_only = make_sample(tiny, changed(small_recipe, match_steps=False), 3)
    assert np.allclose(ends_only.ends.handles, whole.ends.handles, atol=1e-3)
    assert np.allclose(ends_only.ends.targets, whole.ends.targets, atol=1e-3)
    assert [len(step.handles) for step in ends_only.steps] == [0, 0, 0]


def test_grey_images_are_matched_and_a_class_is_obeyed(small_recipe: Recipe, config: TrajectoryConfig) -> None:
    shape = replace(FrozenGenerator.random(w_dim=32, c_dim=2).config, img_channels=1)
    network = FrozenGenerator.random(w_dim=32, c_dim=2).trainable_copy()
    state = {name: tensor for name, tensor in network.state_dict().items() if ".torgb.weight" not in name}
    state = {name: tensor[:1] if ".torgb.bias" in name else tensor for name, tensor in state.items()}
    grey = Generator(shape)
    grey.load_state_dict(state, strict=False)
    generator = FrozenGenerator(grey)
    sample = make_sample(generator, small_recipe, 0)
    assert len(sample.ends.handles) > 0
    draws = [(0, 0), (1, 0)]
    plain, chosen = (latent_motion(g, config, 5, draws) for g in (generator, generator.with_class(1)))
    label = torch.tensor([[0.0, 1.0]])
    z = torch.stack([torch.randn(32, generator=rng(5, "trajectory", index, 0)) for index, _ in draws])
    assert torch.allclose(chosen[:, 0], generator.map(z, label.expand(2, -1), psi=config.psi), atol=1e-6)
    assert not torch.allclose(chosen, plain)
