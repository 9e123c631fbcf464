"""Reading features at ragged points against torch's own interpolation of whole maps."""

import pytest
import torch
from torch.nn import functional as F

from autodrag.methods.masks import fixed_loss
from autodrag.methods.sampling import every, indices, read, read_windows

SIZES = [((64, 64), (64, 64)), ((128, 64), (64, 32)), ((256, 256), (32, 32)), ((32, 32), (64, 64))]


def maps(feature_hw: tuple[int, int]) -> torch.Tensor:
    return torch.randn(2, 5, *feature_hw, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize(("image_hw", "feature_hw"), SIZES)
def test_windows_are_cut_from_the_resized_map(image_hw: tuple[int, int], feature_hw: tuple[int, int]) -> None:
    features = maps(feature_hw)
    resized = F.interpolate(features, image_hw, mode="bilinear", align_corners=False)
    height, width = image_hw
    centres = torch.tensor([[10, 12], [0, 0], [width - 1, height - 1], [width - 2, 3]], dtype=torch.float64)
    owner = torch.tensor([0, 1, 1, 0])
    windows = read_windows(features, owner, centres, 3, image_hw)
    values = windows.values()
    for point, (image, (x, y)) in enumerate(zip(owner, centres.long(), strict=True)):
        for i in range(-3, 4):
            for j in range(-3, 4):
                if 0 <= y + i < height and 0 <= x + j < width:
                    assert torch.allclose(values[point, i + 3, j + 3], resized[image, :, y + i, x + j])


@pytest.mark.parametrize(("image_hw", "feature_hw"), SIZES)
def test_shifted_windows_sample_the_resized_map_with_zeros_outside(
    image_hw: tuple[int, int], feature_hw: tuple[int, int]
) -> None:
    features = maps(feature_hw)
    resized = F.interpolate(features, image_hw, mode="bilinear", align_corners=False)
    height, width = image_hw
    centres = torch.tensor([[12, 20], [width - 1, 0], [0, height - 1]], dtype=torch.float64)
    owner = torch.tensor([1, 0, 1])
    shift = torch.tensor([[0.6, -0.8], [1.0, 0.0], [-0.28, 0.96]], dtype=torch.float64)
    windows = read_windows(features, owner, centres, 4, image_hw)
    shifted = windows.shifted(shift)[:, 2:-2, 2:-2]
    for point, image in enumerate(owner):
        y, x = torch.meshgrid(windows.y[point, 2:-2], windows.x[point, 2:-2], indexing="ij")
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        grid = torch.stack([x + shift[point, 0], y + shift[point, 1]], -1)
        grid = grid / torch.tensor([width - 1, height - 1]) * 2 - 1
        want = F.grid_sample(resized[image][None], grid[None], align_corners=True)[0].permute(1, 2, 0)
        assert torch.allclose(shifted[point][inside], want[inside], atol=1e-12)


def test_read_is_border_clamped_bilinear_sampling() -> None:
    features = maps((16, 8))
    points = torch.tensor([[1.25, 3.5], [-2.0, 5.1], [7.6, 40.0], [7.0, 15.0]], dtype=torch.float64)
    owner = torch.tensor([0, 1, 0, 1])
    grid = (points / torch.tensor([7, 15]) * 2 - 1)[None, None].expand(2, 1, 4, 2)
    whole = F.grid_sample(features, grid, align_corners=True, padding_mode="border")[:, :, 0]
    want = torch.stack([whole[image, :, point] for point, image in enumerate(owner)])
    assert torch.allclose(read(features, owner, points), want)


def test_reading_is_differentiable_in_the_features() -> None:
    features = maps((4, 4))[:, :1].clone().requires_grad_()
    owner, centres = torch.tensor([0, 1]), torch.tensor([[2, 3], [7, 0]], dtype=torch.float64)
    shift = torch.tensor([[0.6, 0.8], [-1.0, 0.0]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda f: read_windows(f, owner, centres, 1, (8, 8)).shifted(shift), features)
    assert torch.autograd.gradcheck(lambda f: read(f, owner, centres + 0.3), features)


def test_every_is_true_if_it_holds_for_all_points_of_an_image() -> None:
    flags = torch.tensor([True, False, True, True])
    assert every(flags, torch.tensor([0, 0, 1, 2]), 4).tolist() == [False, True, True, True]


@pytest.mark.parametrize("image_hw", [(8, 8), (32, 16)])
def test_the_mask_term_is_the_mean_change_of_the_resized_map(image_hw: tuple[int, int], monkeypatch) -> None:
    monkeypatch.setattr("autodrag.methods.masks.CHUNK", image_hw[0] * image_hw[1] * 2)  # two channels at a time
    change = maps((8, 4)).float().requires_grad_()
    fixed = torch.rand(2, *image_hw, generator=torch.Generator().manual_seed(1))
    want = sum(
        (F.interpolate(change[i : i + 1], image_hw, mode="bilinear") * fixed[i]).abs().mean()
        for i in range(len(change))
    )
    loss = fixed_loss(change, fixed)
    assert torch.allclose(loss, want)
    ours, theirs = (torch.autograd.grad(value * 3, change)[0] for value in (loss, want))
    assert torch.allclose(ours, theirs, atol=1e-7)


def test_no_change_costs_nothing_and_pulls_nowhere() -> None:
    change = torch.zeros(1, 3, 4, 4, requires_grad=True)
    loss = fixed_loss(change, torch.ones(1, 8, 8))
    assert loss == 0
    assert torch.autograd.grad(loss, change)[0].abs().max() == 0


def test_indices_of_flags() -> None:
    values = torch.arange(4.0)
    for flags in ([True] * 4, [False, True, False, True], [False] * 4):
        chosen = torch.tensor(flags)
        assert values[indices(chosen)].tolist() == values[chosen].tolist()
