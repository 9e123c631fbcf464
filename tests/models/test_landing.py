"""Drags by landing: they arrive, compromise, hold pins and stop at the limits of the latents."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from autodrag.errors import InputError
from autodrag.models import Landing, LandingConfig, Manifold, PointMotion, PointMotionConfig
from autodrag.models.landing import Landed

ROWS, WIDTH, SIZE = 6, 8, (64, 64)


class Straight(PointMotion):
    """Known motion: the first coordinate of W moves all points in x, the second in y, the third those on the left."""

    def places(self, rows: Any, codes: Any) -> Any:
        w = rows.mean(dim=1)
        left = (codes[..., 0] < 0).float()
        x = w[:, None, 0] + left * w[:, None, 2]
        return torch.stack([x, w[:, None, 1].expand_as(x)], dim=-1) / 32

    def codes(self, rows: Any, points: Any, image_hw: Any) -> Any:
        return points - 32

    def derivative(self, rows: Any, codes: Any) -> Any:
        slopes = torch.zeros(*codes.shape[:2], 2, ROWS, WIDTH)
        slopes[:, :, 0, :, 0] = slopes[:, :, 1, :, 1] = 1 / 32 / ROWS
        slopes[:, :, 0, :, 2] = (codes[..., 0] < 0).float()[..., None] / 32 / ROWS
        return slopes


@pytest.fixture
def landing() -> Landing:
    """A pixel for each unit of the first three coordinates; the manifold is a normal distribution of deviation 8."""
    latents = 8 * torch.randn(20_000, WIDTH, generator=torch.Generator().manual_seed(0))
    latents = torch.nn.functional.leaky_relu(latents, 0.2)
    manifold = Manifold.measure(latents, torch.eye(WIDTH))
    config = LandingConfig(shared=1e-3, apart=1.0)
    return Landing(config, Straight(PointMotionConfig(16), WIDTH), manifold).requires_grad_(False)


def walk(landing: Landing, rows: Any, handles: Any, targets: Any, mask: Any = None) -> list[Landed]:
    valid = torch.ones(handles.shape[:2], dtype=torch.bool) if mask is None else mask
    return list(landing.walk(landing.start(landing.source(rows), handles, valid, SIZE), targets, 3))


def last(landing: Landing, handles: list[list[float]], targets: list[list[float]], **options: Any) -> Any:
    rows = options.get("rows", torch.full((1, ROWS, WIDTH), 0.5))
    return walk(landing, rows, torch.tensor([handles]), torch.tensor([targets]), options.get("mask"))[-1]


def test_a_handle_arrives(landing: Landing) -> None:
    end = last(landing, [[40.0, 30.0]], [[46.0, 27.0]])
    assert torch.allclose(end.points, torch.tensor([[[46.0, 27.0]]]), atol=0.1)
    assert not bool(end.short)
    moved = end.rows - 0.5
    assert torch.allclose(moved, moved.mean(dim=1, keepdim=True).expand_as(moved), atol=1e-3)  # the rows go together


def test_the_motion_goes_straight_from_start_to_target(landing: Landing) -> None:
    handle, target = torch.tensor([[[40.0, 30.0]]]), torch.tensor([[[46.0, 30.0]]])
    steps = walk(landing, torch.full((1, ROWS, WIDTH), 0.5), handle, target)
    assert [round(step.points[0, 0, 0].item(), 1) for step in steps] == [42.0, 44.0, 46.0]


def test_a_pin_holds_while_another_point_moves(landing: Landing) -> None:
    end = last(landing, [[20.0, 30.0], [44.0, 30.0]], [[26.0, 30.0], [44.0, 30.0]])
    assert torch.allclose(end.points, torch.tensor([[[26.0, 30.0], [44.0, 30.0]]]), atol=0.2)


def test_points_that_contradict_each_other_meet_in_between(landing: Landing) -> None:
    end = last(landing, [[40.0, 30.0], [44.0, 30.0]], [[42.0, 30.0], [45.0, 30.0]])
    moved = end.points[0, :, 0] - torch.tensor([40.0, 44.0])
    assert torch.allclose(moved[0], moved[1], atol=0.05) and (moved > 1).all() and (moved < 2).all()


def test_most_points_win_over_one_that_wants_elsewhere(landing: Landing) -> None:
    handles = [[40.0, 20.0], [44.0, 30.0], [48.0, 40.0]]
    end = last(landing, handles, [[45.0, 20.0], [49.0, 30.0], [18.0, 40.0]])
    moved = end.points[0, :, 0] - torch.tensor(handles)[:, 0]
    assert (moved > 2).all()  # the mean of what is asked for is -6.7


def test_a_pin_wins_over_a_pull_that_contradicts_it(landing: Landing) -> None:
    end = last(landing, [[40.0, 30.0], [44.0, 30.0]], [[52.0, 30.0], [44.0, 30.0]])
    assert abs(end.points[0, 1, 0] - 44) < 3  # half-way would be 6


def test_rows_part_only_so_far(landing: Landing) -> None:
    class FirstRow(Straight):
        """The first row alone moves points."""

        def places(self, rows: Any, codes: Any) -> Any:
            return super().places(rows[:, :1], codes)

        def derivative(self, rows: Any, codes: Any) -> Any:
            slopes = ROWS * super().derivative(rows, codes)
            slopes[..., 1:, :] = 0
            return slopes

    motion = FirstRow(PointMotionConfig(16), WIDTH)
    apart = []
    for limit in (0.3, 100.0):
        config = replace(landing.config, max_apart=limit, apart=1e-3, shared=1e-2)
        end = last(Landing(config, motion, landing.manifold), [[40.0, 30.0]], [[52.0, 30.0]])
        y = landing.manifold.coordinates(end.rows)
        apart.append((y - y.mean(dim=1, keepdim=True)).square().sum(dim=2).mean().sqrt().item())
        assert end.points[0, 0, 0] > 51  # where the rows may not part, they move together
    assert apart[0] < 0.31 and apart[1] > 0.5


def test_a_far_pull_stops_where_the_manifold_ends(landing: Landing) -> None:
    end = last(landing, [[40.0, 30.0]], [[400.0, 30.0]])
    assert bool(end.short)
    assert landing.manifold.excess(end.rows).max() < 1.01 * landing.config.within
    assert end.points[0, 0, 0] > 45  # but it went


def test_a_drag_keeps_to_a_fraction_of_the_limits(landing: Landing) -> None:
    reached = []
    for within in (0.5, 1.0):
        config = replace(landing.config, within=within)
        end = last(Landing(config, landing.motion, landing.manifold), [[40.0, 30.0]], [[400.0, 30.0]])
        assert within * 0.9 < landing.manifold.excess(end.rows).max() < 1.01 * within
        reached.append(float(end.points[0, 0, 0]))
    assert reached[0] < reached[1]


def test_padding_counts_for_nothing(landing: Landing) -> None:
    end = last(landing, [[40.0, 30.0]], [[46.0, 27.0]])
    mask = torch.tensor([[True, False]])
    padded = last(landing, [[40.0, 30.0], [9.0, 9.0]], [[46.0, 27.0], [60.0, 2.0]], mask=mask)
    assert torch.allclose(padded.rows, end.rows, atol=1e-4)


def test_a_batch_is_what_single_drags_are(landing: Landing) -> None:
    rows = torch.stack([torch.full((ROWS, WIDTH), 0.5), torch.full((ROWS, WIDTH), -2.0)])
    handles = torch.tensor([[[40.0, 30.0]], [[20.0, 20.0]]])
    targets = handles + torch.tensor([[[5.0, 1.0]], [[-4.0, 3.0]]])
    both = walk(landing, rows, handles, targets)[-1]
    for i in range(2):
        alone = last(landing, handles[i].tolist(), targets[i].tolist(), rows=rows[i : i + 1])
        assert torch.allclose(alone.rows[0], both.rows[i], atol=1e-3)


def test_a_drag_that_follows_a_pointer_ends_where_one_from_the_start_does(landing: Landing) -> None:
    rows, handle = torch.full((1, ROWS, WIDTH), 0.5), torch.tensor([[[40.0, 30.0]]])
    drag = landing.start(landing.source(rows), handle, torch.ones(1, 1, dtype=torch.bool), SIZE)
    for x in (42.0, 45.0, 49.0, 46.0):
        target = torch.tensor([[[x, 27.0]]])
        followed = landing.follow(drag, target)
        assert torch.allclose(followed.points, target, atol=0.2)
    assert torch.allclose(followed.rows, walk(landing, rows, handle, target)[-1].rows, atol=0.05)


def test_a_saved_landing_loads_back(tmp_path: Path, landing: Landing) -> None:
    torch.manual_seed(0)
    real = Landing(landing.config, PointMotion(PointMotionConfig(16), WIDTH), landing.manifold)
    real.save(tmp_path / "landing.safetensors")
    loaded = Landing.load(tmp_path / "landing.safetensors")
    rows, points = torch.randn(2, ROWS, WIDTH), 64 * torch.rand(2, 3, 2)
    wanted, found = (model.motion(rows, rows.flip(0), points, SIZE).detach() for model in (real, loaded))
    assert torch.allclose(found, wanted, atol=1e-2 * wanted.abs().max())  # weights are stored in float16
    assert torch.equal(loaded.manifold.limits, real.manifold.limits) and loaded.config == real.config
    (tmp_path / "other.safetensors").write_bytes(b"no model")
    with pytest.raises(InputError):
        Landing.load(tmp_path / "other.safetensors")
