"""The manifold of mapped latents: coordinates are white and invertible, limits hold, and steps stay within them."""

import pytest
import torch
from torch.nn import functional as F

from autodrag.models import Manifold


@pytest.fixture(scope="module")
def latents() -> torch.Tensor:
    """Latents whose values before the activation are normally distributed, with one direction that hardly varies."""
    generator = torch.Generator().manual_seed(0)
    mix = torch.randn(8, 8, generator=generator)
    scales = torch.tensor([3.0, 2.0, 1.0, 1.0, 0.5, 0.5, 0.2, 1e-4])
    x = (torch.randn(20_000, 8, generator=generator) * scales) @ torch.linalg.qr(mix).Q + 0.5
    return F.leaky_relu(x, 0.2)


@pytest.fixture(scope="module")
def manifold(latents: torch.Tensor) -> Manifold:
    return Manifold.measure(latents, torch.diag(torch.tensor([9.0, 1, 1, 1, 1, 1, 1, 1])))


def test_coordinates_are_white_and_omit_constant_directions(latents: torch.Tensor, manifold: Manifold) -> None:
    y = manifold.coordinates(latents)
    assert y.shape == (len(latents), 7) == (len(latents), manifold.size)
    assert torch.allclose(torch.cov(y.T), torch.eye(7), atol=0.05) and y.mean(dim=0).abs().max() < 0.05


def test_the_first_coordinates_change_the_image_most(latents: torch.Tensor, manifold: Manifold) -> None:
    by = manifold.derivative(latents[:500])
    weighed = torch.einsum("ndy,d,nde->ye", by, torch.tensor([9.0, 1, 1, 1, 1, 1, 1, 1]), by)
    changes = weighed.diagonal()
    assert bool((changes[:-1] >= changes[1:] * 0.99).all()) and changes[0] > 5 * changes[-1]


def test_moves_round_trip_through_coordinates(latents: torch.Tensor, manifold: Manifold) -> None:
    w, by = latents[:4], torch.linspace(-1, 1, 28).unflatten(0, (4, 7))
    assert torch.allclose(manifold.moved(w, 0 * by), w, atol=1e-5)
    moved = manifold.moved(w, by)
    assert torch.allclose(manifold.coordinates(moved), manifold.coordinates(w) + by, atol=1e-4)
    small = manifold.moved(w, 1e-3 * by) - w
    assert torch.allclose(small, (manifold.derivative(w) @ (1e-3 * by)[..., None])[..., 0], atol=1e-4)


def test_nearly_all_latents_keep_each_limit(latents: torch.Tensor, manifold: Manifold) -> None:
    assert 0.9 < (manifold.excess(latents) <= 1).float().mean() < 0.99
    far = manifold.moved(latents[:8], torch.full((8, 7), 9.0))
    assert manifold.excess(far).min() > 2


def test_latents_beyond_the_limits_are_projected_onto_them(latents: torch.Tensor, manifold: Manifold) -> None:
    start = manifold.coordinates(latents[:200])
    start = start[manifold.excess(latents[:200]) < 0.9]
    way = torch.randn(len(start), 7, generator=torch.Generator().manual_seed(1))
    far, near = start + 20 * way, start + 0.01 * way
    assert torch.allclose(manifold.inside(near, start, manifold.allowed(start)), near, atol=1e-5)
    back = manifold.inside(far, start, manifold.allowed(start))
    origin = torch.zeros(len(back), 8)  # any latent: only its coordinates matter
    reached = manifold.excess(manifold.moved(origin, back - manifold.coordinates(origin)))
    assert reached.max() < 1.001 and reached.min() > 0.5


def test_a_source_outside_the_limits_is_allowed(manifold: Manifold) -> None:
    start = torch.full((1, 7), 4.0)
    assert torch.allclose(manifold.inside(start, start, manifold.allowed(start)), start, atol=1e-4)


def test_limits_of_unmoved_coordinates_do_not_shorten_an_edit(manifold: Manifold) -> None:
    start, moved = torch.zeros(1, 7), torch.zeros(1, 7)
    moved[0, 6] = 0.5
    assert torch.allclose(manifold.inside(moved, start, manifold.allowed(start)), moved)
    start[0, 0] = 1.2 * manifold.limits[0, 0]  # beyond its limit, and pulled further: that part alone is lost
    moved[0, 0] = start[0, 0] + 0.001
    kept = manifold.inside(moved, start, manifold.allowed(start))
    assert torch.allclose(kept[0], torch.cat([start[0, :1], moved[0, 1:]]), atol=1e-5)


def test_walls_are_at_the_violated_limits(latents: torch.Tensor, manifold: Manifold) -> None:
    start = torch.zeros(1, 7)
    y = torch.zeros(1, 7)
    normals, _ = manifold.walls(y, manifold.allowed(start))
    assert not normals.any()
    y[0, 0] = 10.0
    normals, places = manifold.walls(y, manifold.allowed(start))
    broken = normals.norm(dim=2) > 0
    assert torch.allclose(normals[broken][:, 0], torch.ones(int(broken.sum())))
    assert torch.allclose(places[0, 0], manifold.limits[0, 0])


def test_a_guard_cuts_far_edits_short_and_leaves_others_alone(latents: torch.Tensor, manifold: Manifold) -> None:
    source = latents[manifold.excess(latents) < 0.8][:2, None].expand(2, 6, 8)
    way = torch.tensor([0.01, 30.0])[:, None, None]
    rows, short = manifold.guarded(source + way, source)
    assert short.tolist() == [False, True]
    assert torch.equal(rows[0], source[0] + 0.01)
    assert manifold.excess(rows[1]).max() < 1.001 < 2 < manifold.excess(source[1] + 30).min()
