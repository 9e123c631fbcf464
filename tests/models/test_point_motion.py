"""Point motion: what it depends on, and its derivative."""

import pytest
import torch

from autodrag.models import PointMotion, PointMotionConfig
from autodrag.models.point_motion import MOST


@pytest.fixture
def motion() -> PointMotion:
    torch.manual_seed(0)
    return PointMotion(PointMotionConfig(32), 8, torch.randn(8), torch.rand(8) + 0.5)


def draw(count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    before, after = torch.randn(2, 3, 6, 8)
    return before, after, 64 * torch.rand(3, count, 2)


def test_each_point_is_read_by_itself(motion: PointMotion) -> None:
    before, after, points = draw(5)
    moves = motion(before, after, points, (64, 64))
    assert moves.shape == (3, 5, 2) and moves.dtype == torch.float32
    assert torch.allclose(motion(before, after, points[:, 2:3], (64, 64)), moves[:, 2:3], atol=1e-6)
    assert torch.allclose(motion(before[:1], after[:1], points[:1], (64, 64)), moves[:1], atol=1e-6)
    larger = motion(before, after, 2 * points + 0.5, (128, 128))  # the same places of an image twice the size
    assert torch.allclose(larger, moves, atol=1e-5)


def test_padding_and_points_beyond_the_first_do_not_count(motion: PointMotion) -> None:
    before, after, handles = draw(MOST + 4)
    targets = handles + 3
    mask = torch.ones(handles.shape[:2], dtype=torch.bool)
    missed = motion.missed(before, after, handles, targets, mask, (64, 64))
    other = torch.cat([targets[:, :MOST], targets[:, MOST:] + 50], dim=1)
    assert torch.allclose(motion.missed(before, after, handles, other, mask, (64, 64)), missed, atol=1e-5)
    mask[:, 3:] = False
    first = motion.missed(before, after, handles[:, :3], targets[:, :3], mask[:, :3], (64, 64))
    assert torch.allclose(motion.missed(before, after, handles, targets, mask, (64, 64)), first, atol=1e-6)


def test_the_derivative_is_that_of_the_places(motion: PointMotion) -> None:
    rows, _, points = draw(3)
    codes = motion.codes(rows, points, (64, 64)).detach()
    written = motion.derivative(rows, codes)
    assert written.shape == (3, 3, 2, 6, 8)
    for i in range(3):
        each = torch.autograd.functional.jacobian(lambda x, i=i: motion.places(x[None], codes[i : i + 1])[0], rows[i])
        assert torch.allclose(written[i], each, atol=1e-7)


def test_rows_count_by_themselves(motion: PointMotion) -> None:
    before, after, points = draw(2)
    other = after.clone()
    other[:, 0] += 1
    assert not torch.allclose(motion(before, after, points, (64, 64)), motion(before, other, points, (64, 64)))
