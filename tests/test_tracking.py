"""Tracking on feature maps with known motion."""

import torch
from torch.nn import functional as F

from autodrag.generator import FrozenGenerator
from autodrag.seeding import rng
from autodrag.tracking import Locator, Tracker, search_radius


class Shifting(FrozenGenerator):
    """Its features are one smooth random picture, moved by the first two numbers of the latent (feature pixels)."""

    def __init__(self) -> None:
        self.resolution = (128, 128)
        self.picture = F.interpolate(torch.randn(1, 6, 20, 20, generator=rng(0, "t")), (64, 64), mode="bicubic")

    def features(self, ws: torch.Tensor, block: int = 6, noise: str = "const") -> torch.Tensor:
        return torch.cat([self.picture.roll((int(w[0, 1]), int(w[0, 0])), (2, 3)) for w in ws])


def moved(x: int, y: int) -> torch.Tensor:
    return torch.tensor([[[float(x), float(y)]]])


def test_moved_points_are_found() -> None:
    generator = Shifting()
    points = torch.tensor([[[60.0, 50.0], [41.0, 80.0]]])
    tracker = Tracker(generator, generator.features(moved(0, 0)), points)
    for x, y in [(0, 0), (5, -3), (-6, 7)]:
        found = tracker.find(moved(x, y), expected=points + 3, radius=torch.full((1, 2), 20.0))
        assert (found - points - torch.tensor([2.0 * x, 2.0 * y])).norm(dim=-1).max() < 1.0


def test_nothing_outside_the_image_is_found() -> None:
    generator = Shifting()
    tracker = Tracker(generator, generator.features(moved(0, 0)), torch.tensor([[[3.0, 125.0]]]))
    found = tracker.find(moved(0, 0), torch.tensor([[[0.0, 127.0]]]), torch.full((1, 1), 30.0))
    assert (found >= 0).all() and (found <= 127).all()
    assert (found - torch.tensor([3.0, 125.0])).norm() < 1.5


def test_the_search_is_as_wide_as_half_the_way_within_bounds() -> None:
    handles = torch.zeros(1, 3, 2)
    targets = torch.tensor([[[3.0, 4.0], [30.0, 40.0], [300.0, 400.0]]])
    assert search_radius(handles, targets, (256, 256)).tolist() == [[6.0, 25.0, 32.0]]


def test_a_point_with_unchanged_features_is_located() -> None:
    generator = Shifting()
    points = torch.tensor([[[60.0, 50.0], [41.0, 80.0]]])
    located = Locator(generator, moved(0, 0), points).find(moved(1, -1), points, torch.tensor([2.0]))
    assert (located.points - points - torch.tensor([2.0, -2.0])).norm(dim=-1).max() < 0.3
    assert (located.certainty > 0.9).all()


def test_an_ambiguous_point_is_where_it_is_expected() -> None:
    generator = Shifting()
    points = torch.tensor([[[60.0, 50.0]]])
    generator.picture = torch.ones_like(generator.picture)
    located = Locator(generator, moved(0, 0), points).find(moved(3, 3), points + 5, torch.tensor([4.0]))
    assert torch.allclose(located.points, points + 5, atol=1e-3) and (located.certainty < 0.05).all()


def test_edges_locate_points_across_but_not_along() -> None:
    generator = Shifting()
    points = torch.tensor([[[60.0, 50.0]]])
    generator.picture = generator.picture[:, :, :1].expand_as(generator.picture)  # changes with x alone
    located = Locator(generator, moved(0, 0), points).find(moved(1, 1), points, torch.tensor([2.0]))
    assert (located.points - points - torch.tensor([2.0, 0.0])).norm() < 0.3
    assert 0.4 < located.certainty.item() < 0.55
