"""Eq. 6, 12, 13 and 14 in closed form."""

import pytest
import torch

from autodrag.losses import (
    EDGE_SLIDES,
    EDGE_STAYS,
    drag_loss,
    landing_loss,
    prediction_loss,
    restoration_loss,
    total_loss,
)


def test_restoration_counts_the_edited_rows_in_units_of_the_deviation() -> None:
    ws = torch.zeros(2, 10, 4)
    restored = ws.clone()
    restored[0, :6] = 3.0
    restored[1, 6:] = 100.0  # kept rows do not count
    std = torch.tensor([1.0, 2.0, 3.0, 6.0])
    expected = torch.tensor([3.0 * (1 + 1 / 2 + 1 / 3 + 1 / 6) / 4, 0.0])
    assert torch.allclose(restoration_loss(restored, ws, std), expected)


def test_prediction_is_a_mean_over_elements_and_a_sum_over_steps() -> None:
    ws = torch.zeros(1, 5, 8, 4)
    assert prediction_loss(ws + 0.5, ws, torch.eye(4)).item() == pytest.approx(5 * 0.5)
    assert prediction_loss(ws, ws, torch.eye(4)).item() == 0.0


def translated_maps(dx: int, dy: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A random map and the same map moved by whole feature pixels."""
    before = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    return before, before.roll(shifts=(dy, dx), dims=(2, 3))


def test_a_translation_along_the_points_has_no_drag_loss() -> None:
    before, after = translated_maps(dx=5, dy=-3)
    handles = torch.tensor([[[40.0, 60.0], [51.5, 70.25]], [[64.0, 64.0], [30.0, 80.0]]])
    targets = handles + torch.tensor([20.0, -12.0])  # 4 image pixels to a feature pixel
    mask = torch.ones(2, 2, dtype=torch.bool)
    assert torch.allclose(drag_loss(before, after, handles, targets, mask, (128, 128)), torch.zeros(2), atol=1e-5)
    assert (drag_loss(before, after, handles, handles, mask, (128, 128)) > 0.5).all()


def test_a_constant_shift_of_the_features_is_the_drag_loss() -> None:
    before, _ = translated_maps(0, 0)
    points = torch.full((2, 4, 2), 60.0)
    mask = torch.ones(2, 4, dtype=torch.bool)
    loss = drag_loss(before, before + 0.75, points, points, mask, (128, 128))
    assert torch.allclose(loss, torch.full((2,), 0.75), atol=1e-5)


def test_padded_points_change_nothing_and_no_points_cost_nothing() -> None:
    before, after = translated_maps(dx=2, dy=0)
    points = torch.rand(2, 3, 2, generator=torch.Generator().manual_seed(1)) * 100
    mask = torch.tensor([[True, True, False], [False, False, False]])
    loss = drag_loss(before, after, points, points + 4, mask, (128, 128))
    alone = drag_loss(before[:1], after[:1], points[:1, :2], points[:1, :2] + 4, mask[:1, :2], (128, 128))
    assert torch.allclose(loss[0], alone[0])
    assert loss[1].item() == 0.0


def test_the_source_of_a_drag_gets_no_gradient() -> None:
    before, after = translated_maps(dx=1, dy=1)
    before.requires_grad_()
    after.requires_grad_()
    points = torch.full((2, 1, 2), 50.0)
    drag_loss(before, after, points, points, torch.ones(2, 1, dtype=torch.bool), (128, 128)).sum().backward()
    assert before.grad is None
    assert after.grad is not None and after.grad.abs().sum() > 0


def test_latents_are_compared_in_float32_under_autocast() -> None:
    ws = torch.randn(2, 3, 8, 64, generator=torch.Generator().manual_seed(0))
    predicted, units = ws + 0.01 * torch.randn_like(ws), torch.randn(64, 64)
    expected = prediction_loss(predicted, ws, units)
    with torch.autocast("cpu", torch.bfloat16):
        found = prediction_loss(predicted, ws, units)
    assert found.dtype == torch.float32 and torch.allclose(found, expected, rtol=1e-5)


def test_total_weighs_both_terms() -> None:
    total = total_loss(torch.tensor([2.0, 0.0]), torch.tensor([3.0, 1.0]), alpha=0.1, beta=1.0)
    assert torch.allclose(total, torch.tensor([3.2, 1.0]))


def test_landing_of_an_outline_counts_along_its_normal() -> None:
    handles = torch.tensor([[[10.0, 20.0], [30.0, 40.0]]])
    targets = handles + torch.tensor([6.4, -12.8])  # 10 and 10 hundredths of an image of 128 x 64
    mask = torch.ones(1, 2, dtype=torch.bool)
    still, across = torch.zeros(1, 2, 2), torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    counts = 0.2 / (0.2 + EDGE_STAYS)  # both edges move by a tenth of the image, 0.2 where it spans [-1, 1]
    assert torch.allclose(landing_loss(still, handles, targets, mask, (128, 64), across), torch.tensor([10 * counts]))
    along = torch.tensor([[[0.2, 7.0], [-3.0, -0.2]]])  # right along the normals, anything along the edges
    assert torch.allclose(landing_loss(along, handles, targets, mask, (128, 64), across), torch.zeros(1), atol=1e-4)


def test_landing_along_a_slanted_edge_of_a_rectangle_does_not_count() -> None:
    height, width = 128, 64
    handles, mask = torch.full((1, 2, 2), 30.0), torch.ones(1, 2, dtype=torch.bool)
    normals = torch.tensor([[[0.6, 0.8], [-0.8, 0.6]]])  # unit vectors in pixels
    across, along = 10 * normals, 10 * torch.stack([-normals[..., 1], normals[..., 0]], dim=2)
    to_units = torch.tensor([2 / width, 2 / height])

    def loss(moves: torch.Tensor) -> float:
        return landing_loss(moves * to_units, handles, handles + across, mask, (height, width), normals).item()

    assert loss(across) == pytest.approx(0, abs=1e-5)
    assert loss(across + along) == pytest.approx(0, abs=1e-5) and loss(across - along) == pytest.approx(0, abs=1e-5)
    assert loss(along) == pytest.approx(loss(0 * along)) and loss(along) > 1


def test_landing_of_an_edge_bounds_the_motion_beside_it_from_below() -> None:
    handles, mask = torch.tensor([[[10.0, 20.0]]]), torch.ones(1, 1, dtype=torch.bool)
    across = torch.tensor([[[1.0, 0.0]]])

    def loss(edge: float, moves: float) -> float:
        """Of motions across an edge, in hundredths of the image."""
        targets = handles + torch.tensor([0.64 * edge, 0.0])
        return landing_loss(torch.tensor([[[moves / 50, 0.0]]]), handles, targets, mask, (128, 64), across).item()

    assert loss(edge=0, moves=10) == 0
    counts = 0.1 / (0.1 + EDGE_STAYS)  # 5 hundredths
    for side in (1, -1):
        assert loss(edge=5 * side, moves=0) == pytest.approx(5 * counts)
        assert loss(edge=5 * side, moves=-5 * side) == pytest.approx(10 * counts)
        assert loss(edge=5 * side, moves=15 * side) == pytest.approx(10 * counts * EDGE_SLIDES)


def test_landing_is_counted_in_hundredths_of_the_image() -> None:
    handles = torch.tensor([[[10.0, 20.0], [30.0, 40.0]], [[1.0, 2.0], [3.0, 4.0]]])
    targets = handles + torch.tensor([6.4, -12.8])  # of an image of 128 x 64: 10 and 10 hundredths
    mask = torch.tensor([[True, False], [False, False]])
    moves = torch.tensor([0.2, -0.2]).expand(2, 2, 2)
    assert torch.allclose(landing_loss(moves, handles, targets, mask, (128, 64)), torch.zeros(2), atol=1e-4)
    assert torch.allclose(landing_loss(0 * moves, handles, targets, mask, (128, 64)), torch.tensor([10.0, 0.0]))
