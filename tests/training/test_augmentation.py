"""Augmented samples: where they start and end, and which points they have."""

import pytest
import torch

from autodrag.config import compose, typed
from autodrag.data.dataset import Sample
from autodrag.data.make import TrajectoriesConfig
from autodrag.errors import InputError
from autodrag.latents import progress, walk
from autodrag.seeding import rng
from autodrag.training.augmentation import (
    AugmentationConfig,
    backwards,
    check_shares,
    check_steps,
    in_steps,
    partial,
    short,
    still,
    vary,
)


def sample(n: int = 5, lam: float = 0.3) -> Sample:
    """A motion toward w*, with 4 points, and 3 points in each step but the first."""
    start, star = torch.randn(2, 8, 3, generator=rng(0, "sample"))
    ws = torch.stack([star + (1 - lam) ** i * (start - star) for i in range(n + 1)])
    points = torch.rand(n + 1, 2, 4, 2, generator=rng(1, "sample"))
    counts = [0] + [3] * (n - 1)
    steps = [pair[:, :count] for pair, count in zip(points[1:], counts, strict=True)]
    return Sample(7, ws, points[0, 0], points[0, 1], [s[0] for s in steps], [s[1] for s in steps])


def test_progress_of_a_straight_motion() -> None:
    motion = sample()
    expected = torch.tensor([(1 - 0.7**i) / (1 - 0.7**5) for i in range(6)])
    assert torch.allclose(progress(motion.ws, 5), expected, atol=1e-5)
    assert torch.allclose(walk(motion.ws[0], motion.ws[-1], progress(motion.ws, 5)), motion.ws, atol=1e-5)
    assert torch.allclose(progress(torch.zeros(6, 8, 3), 4), torch.linspace(0, 1, 5))


@pytest.mark.parametrize("n", [1, 2, 5, 9])
def test_any_number_of_steps_goes_from_start_to_end(n: int) -> None:
    motion = sample()
    other = in_steps(motion, n)
    assert len(other.ws) == n + 1 and len(other.step_handles) == len(other.step_targets) == n
    assert torch.allclose(other.ws[[0, -1]], motion.ws[[0, -1]], atol=1e-5)
    if n == 1:  # then the motion's points are those of its only step
        assert torch.equal(other.step_handles[0], motion.handles)
    if n == 5:
        assert other is motion


@pytest.mark.parametrize(
    ("overrides", "n", "fits"),
    [
        ([], 5, True),
        ([], 1, True),  # the step from w_0 to w_n has the points of the motion
        ([], 2, False),
        (["trajectory.in_steps=2"], 2, True),
        (["trajectory.in_steps=2"], 5, False),
        (["trajectory.match_steps=false"], 5, False),
        (["trajectory.match_steps=false"], 1, True),
    ],
)
def test_steps_without_matches_are_refused(overrides: list[str], n: int, fits: bool) -> None:
    trajectory = typed(TrajectoriesConfig, compose("trajectories", overrides)).trajectory
    if fits:
        check_steps(trajectory, n)
    else:
        with pytest.raises(
            InputError, match=rf"L_drag needs those of model.steps={n}: .*trajectory.in_steps={n} .*beta=0"
        ):
            check_steps(trajectory, n)


def test_backwards_swaps_ends_and_points() -> None:
    motion = sample()
    other = backwards(motion, 5)
    assert torch.allclose(other.ws[[0, -1]], motion.ws[[-1, 0]], atol=1e-5)
    assert torch.allclose(progress(other.ws, 5), progress(motion.ws, 5), atol=1e-5)
    assert torch.equal(other.handles, motion.targets) and torch.equal(other.targets, motion.handles)


def test_a_short_drag_is_a_step_with_its_points() -> None:
    motion = sample()
    for index in range(8):
        other = short(motion, 5, 8, rng(0, "short", index))
        i = next(i for i in range(5) if torch.allclose(other.ws[0], motion.ws[i]))
        assert i > 0  # the first step has no points
        assert torch.allclose(other.ws[-1], motion.ws[i + 1], atol=1e-5)
        assert 1 <= len(other.handles) <= 3
        pairs = torch.cat([motion.step_handles[i], motion.step_targets[i]], dim=1).tolist()
        assert all(pair in pairs for pair in torch.cat([other.handles, other.targets], dim=1).tolist())


def test_a_still_drag_moves_nothing() -> None:
    other = still(sample(), 5)
    assert torch.equal(other.ws, other.ws[:1].expand(6, -1, -1))
    assert torch.equal(other.handles, other.targets)


def other_latent() -> torch.Tensor:
    return torch.randn(8, 3, generator=rng(2, "sample"))


def test_shares_are_kept_and_draws_repeat() -> None:
    config = AugmentationConfig(still=0.2, short=0.3, backwards=0.5, partial=0.0, mixed=0.0)
    motion = sample()
    others = [vary(motion, other_latent(), config, 5, 8, rng(0, "vary", i)) for i in range(200)]
    stills = sum(torch.equal(o.handles, o.targets) for o in others)
    reversed_ = sum(torch.allclose(o.ws[0, :6], motion.ws[-1, :6]) for o in others)
    assert 20 < stills < 60 and 70 < reversed_ < 130
    again = vary(motion, other_latent(), config, 5, 8, rng(0, "vary", 3))
    assert torch.equal(again.ws, others[3].ws) and torch.equal(again.handles, others[3].handles)


def test_kept_rows_do_not_reveal_the_end_of_a_motion() -> None:
    motion = sample()
    back = AugmentationConfig(still=0.0, short=0.3, backwards=0.7, partial=0.0, mixed=0.0)
    seen = set()
    for index in range(40):
        other = vary(motion, other_latent(), back, 5, 8, rng(0, "vary", index))
        toward_source = (other.ws[-1, :6] - other.ws[0, :6]).flatten() @ (motion.ws[0] - motion.ws[-1])[
            :6
        ].flatten() > 0
        theirs = torch.equal(other.ws[:, 6:], other_latent()[6:].expand(6, -1, -1))
        assert theirs == bool(toward_source)
        seen.add(theirs)
    assert seen == {True, False}


def test_share_of_motions_with_the_kept_rows_of_another() -> None:
    motion = sample()
    config = AugmentationConfig(still=0.0, short=0.0, backwards=0.0, partial=0.0, mixed=0.3)
    others = [vary(motion, other_latent(), config, 5, 8, rng(0, "vary", i)) for i in range(200)]
    assert all(torch.equal(other.ws[:, :6], motion.ws[:, :6]) for other in others)
    assert 40 < sum(torch.equal(other.ws[0, 6:], other_latent()[6:]) for other in others) < 80


def test_a_partial_motion_moves_points_by_the_same_share() -> None:
    motion = sample()
    some = partial(motion, 0.25)
    assert torch.allclose(some.ws[-1] - some.ws[0], (motion.ws[-1] - motion.ws[0]) / 4, atol=1e-6)
    assert torch.allclose(some.targets - some.handles, (motion.targets - motion.handles) / 4, atol=1e-6)
    assert torch.allclose(progress(some.ws, 5), progress(motion.ws, 5), atol=1e-5)
    assert not any(len(points) for points in some.step_handles)


def test_parts_of_the_way_are_evenly_distributed() -> None:
    motion = sample()
    config = AugmentationConfig(still=0.0, short=0.0, backwards=0.5, partial=0.5, mixed=0.0)
    whole = (motion.targets - motion.handles).norm()
    others = [vary(motion, other_latent(), config, 5, 8, rng(0, "vary", i)) for i in range(400)]
    ways = torch.stack([(o.targets - o.handles).norm() / whole for o in others])
    shortened = ways[ways < 0.999]
    assert 160 < len(shortened) < 240 and 0.4 < shortened.mean() < 0.6 and shortened.std() > 0.2


@pytest.mark.parametrize("shares", [(0.5, 0.5, 0.5, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0, 1.5), (0.0, 0.0, 0.0, -0.5, 0.0)])
def test_shares_above_one_are_refused(shares: tuple[float, ...]) -> None:
    with pytest.raises(InputError, match=r"at most 1|from 0 to 1"):
        check_shares(AugmentationConfig(*shares))
