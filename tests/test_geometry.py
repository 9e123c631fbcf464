"""Points and feature maps, in closed form."""

import pytest
import torch

from autodrag import geometry


def test_corners_and_centres_correspond() -> None:
    points = torch.tensor([[-0.5, -0.5], [255.5, 511.5], [127.5, 255.5], [0.0, 0.0]])
    expected = torch.tensor([[-0.5, -0.5], [63.5, 127.5], [31.5, 63.5], [-0.375, -0.375]])
    assert torch.allclose(geometry.rescale(points, (512, 256), (128, 64)), expected)


def test_rescaling_back_inverts_it() -> None:
    points = torch.rand(3, 5, 2, generator=torch.Generator().manual_seed(0)) * 300 - 20
    there = geometry.rescale(points, (256, 512), (100, 64))
    assert torch.allclose(geometry.rescale(there, (100, 64), (256, 512)), points, atol=1e-3)


def ramp(h: int, w: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """A map whose two channels are its own x and y coordinates."""
    y, x = torch.meshgrid(torch.arange(h, dtype=dtype), torch.arange(w, dtype=dtype), indexing="ij")
    return torch.stack([x, y])[None]


def test_sampling_a_coordinate_ramp_returns_the_coordinates() -> None:
    points = torch.tensor([[[0.0, 0.0], [3.25, 1.5], [9.0, 5.0], [8.9, 0.1]]])
    assert torch.allclose(geometry.sample(ramp(6, 10), points), points, atol=1e-5)


def test_image_points_are_rescaled_before_sampling() -> None:
    points = torch.tensor([[[1.5, 3.5], [9.5, 5.5]]])  # of an image twice as large as the map
    assert torch.allclose(geometry.sample_at(ramp(6, 10), points, (12, 20)), (points + 0.5) / 2 - 0.5, atol=1e-5)


def test_sampling_outside_clamps_to_the_border() -> None:
    points = torch.tensor([[[-4.0, 2.0], [30.0, -7.0]]])
    assert torch.allclose(geometry.sample(ramp(6, 10), points), torch.tensor([[[0.0, 2.0], [9.0, 0.0]]]), atol=1e-5)


def test_patch_is_the_neighbourhood_in_row_order() -> None:
    got = geometry.patches(ramp(12, 12), torch.tensor([[[5.5, 6.0], [4.0, 4.0]]]), size=3)
    assert got.shape == (1, 2, 9, 2)
    assert torch.allclose(got[0, 0, 0], torch.tensor([4.5, 5.0]), atol=1e-5)
    assert torch.allclose(got[0, 0, 1], torch.tensor([5.5, 5.0]), atol=1e-5)
    assert torch.allclose(got[0, 0, 8], torch.tensor([6.5, 7.0]), atol=1e-5)


@pytest.mark.parametrize("shift", [(1.0, 0.0), (2.0, -3.0)])
def test_patches_follow_a_translation(shift: tuple[float, float]) -> None:
    features = torch.randn(1, 4, 24, 24, generator=torch.Generator().manual_seed(1))
    moved = torch.roll(features, shifts=(int(shift[1]), int(shift[0])), dims=(2, 3))
    points = torch.tensor([[[11.3, 12.6]]])
    before = geometry.patches(features, points)
    after = geometry.patches(moved, points + torch.tensor(shift))
    assert torch.allclose(before, after, atol=1e-5)


def test_gradients_reach_features_and_points() -> None:
    features = torch.randn(2, 3, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    points = torch.tensor([[[1.3, 2.2]], [[3.6, 0.7]]], dtype=torch.float64)
    assert torch.autograd.gradcheck(geometry.sample, (features.requires_grad_(), points.requires_grad_()))


def test_half_precision_maps_are_sampled_at_full_precision_coordinates() -> None:
    points = torch.tensor([[[100.25, 40.75]]])
    got = geometry.sample(ramp(128, 128, torch.bfloat16), points)
    assert got.dtype == torch.float32
    assert torch.allclose(got, points, atol=1e-4)
