"""The matcher on textures whose motion is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from autodrag.data.matching import Matches, MatchingConfig, match, view

CPU = torch.device("cpu")
CONFIG = MatchingConfig(
    resolution=512,
    features=2000,
    levels=8,
    edge_px=16,
    route="auto",
    gms_factor=6.0,
    return_px=3.0,
    consistency_px=5.0,
    consistency_count=5,
    max_px=200.0,
    feature_ratio=1.0,
)


def texture(height: int, width: int, seed: int = 0) -> torch.Tensor:
    """[3, H, W] in [-1, 1], smooth over about 2 px."""
    coarse = torch.randn(1, 3, height // 2, width // 2, generator=torch.Generator().manual_seed(seed))
    return F.interpolate(coarse, size=(height, width), mode="bicubic").div(3).clamp(-1, 1)[0]


def shifted_pair(dx: int, dy: int, height: int = 256, width: int = 256) -> tuple[torch.Tensor, torch.Tensor]:
    """Two windows on one texture: what is at p in the first is at p + (dx, dy) in the second."""
    large = texture(height + 100, width + 100)
    first = large[:, 50 : 50 + height, 50 : 50 + width]
    second = large[:, 50 - dy : 50 - dy + height, 50 - dx : 50 - dx + width]
    return first, second


def matched(
    pair: tuple[torch.Tensor, torch.Tensor], min_px: float = 0.0, config: MatchingConfig = CONFIG, **of_view
) -> Matches:
    hw = (pair[0].shape[1], pair[0].shape[2])
    first, second = (view(image, config, **of_view) for image in pair)
    return match(first, second, min_px, config, hw, CPU)


@pytest.mark.parametrize("resolution", [256, 384, 512])
@pytest.mark.parametrize(("height", "width"), [(256, 256), (256, 128)])
def test_a_shift_is_found_to_a_fraction_of_a_pixel(resolution: int, height: int, width: int) -> None:
    found = matched(shifted_pair(12, -5, height, width), config=replace(CONFIG, resolution=resolution))
    error = np.linalg.norm(found.targets - found.handles - (12, -5), axis=1)
    assert len(error) > 300
    assert np.median(error) < 0.5 and error.max() < 3
    assert (found.handles > -0.5).all() and (found.handles < (width - 0.5, height - 0.5)).all()


def test_keypoints_of_coarse_levels_are_not_drawn_to_the_corner() -> None:
    """A blob's keypoints surround its centre at every scale."""
    y, x = torch.meshgrid(torch.arange(256.0), torch.arange(256.0), indexing="ij")
    centres = [(40 + 44 * i, 42 + 43 * j) for i in range(5) for j in range(5)]
    image = sum(torch.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * 4.0**2)) for cx, cy in centres).expand(3, -1, -1)
    points = view(image * 1.6 - 0.8, replace(CONFIG, resolution=256)).points
    offset = points[:, None] - np.array(centres, dtype=np.float32)
    nearest = np.take_along_axis(offset, np.linalg.norm(offset, axis=2).argmin(axis=1)[:, None, None], axis=1)[:, 0]
    close = nearest[np.linalg.norm(nearest, axis=1) < 4]
    assert len(close) > 100
    assert np.abs(close.mean(axis=0)).max() < 0.25


def test_thresholds_are_pixels_at_512() -> None:
    pair = shifted_pair(12, 0)  # 24 px at 512
    assert len(matched(pair, min_px=20.0).handles) > 300
    assert len(matched(pair, min_px=28.0).handles) < 5
    assert len(matched(pair, config=replace(CONFIG, max_px=20.0)).handles) < 5


def test_each_target_is_used_once() -> None:
    found = matched(shifted_pair(12, 7), config=replace(CONFIG, gms_factor=1.0))
    assert len(np.unique(found.targets, axis=0)) >= 0.98 * len(found.targets)  # distinct keypoints may share a place


def test_content_keeps_points_off_the_bars() -> None:
    found = matched(shifted_pair(12, -5), content=(0.0, 0.125, 1.0, 0.875))
    for points in (found.handles, found.targets):
        assert len(points) > 100
        assert points[:, 1].min() >= 31.5 and points[:, 1].max() <= 223.5


def test_unlike_images_have_no_matches() -> None:
    assert len(matched((texture(256, 256, 0), texture(256, 256, 1))).handles) < 5


def test_a_blank_image_has_none() -> None:
    blank = torch.zeros(3, 256, 256)
    assert matched((blank, blank)).handles.shape == (0, 2)
    assert matched((texture(256, 256), blank)).targets.shape == (0, 2)


def test_matches_are_refused_where_features_did_not_move() -> None:
    """The guard asks that the handle's feature be found at the target rather than where it was."""
    first, second = shifted_pair(12, -5)
    still, moved = (F.avg_pool2d(image, 2) for image in (first, second))
    a = view(first, CONFIG, features=still)
    right, wrong = view(second, CONFIG, features=moved), view(second, CONFIG, features=still)
    assert len(match(a, right, 0.0, CONFIG, (256, 256), CPU).handles) > 300
    assert len(match(a, wrong, 0.0, CONFIG, (256, 256), CPU).handles) < 5


def test_routes_give_the_same_matches() -> None:
    pair = shifted_pair(9, 4)
    product, opencv = (matched(pair, config=replace(CONFIG, route=route)) for route in ("product", "opencv"))
    assert np.array_equal(product.handles, opencv.handles)
    assert np.array_equal(product.targets, opencv.targets)
