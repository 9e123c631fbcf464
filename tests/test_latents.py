"""Eq. 1 and Eq. 7, in closed form."""

import pytest
import torch

from autodrag import latents
from autodrag.seeding import rng


def some_ws(batch: int = 4, rows: int = 10, width: int = 16) -> torch.Tensor:
    return torch.randn(batch, rows, width, generator=torch.Generator().manual_seed(3))


def test_join_inverts_split() -> None:
    ws = some_ws()
    head, tail = latents.split(ws)
    assert head.shape[1] == 6 and tail.shape[1] == 4
    assert torch.equal(latents.join(head, tail), ws)


def test_corruption_drops_a_quarter_and_keeps_the_tail() -> None:
    ws = torch.ones(64, 10, 32)
    out = latents.corrupt(ws, torch.ones(32), noise=0.0, drop=0.25, granularity="element", rng=rng(0, "t"))
    assert torch.equal(out[:, 6:], ws[:, 6:])
    assert set(out[:, :6].unique().tolist()) == {0.0, 1.0}
    assert out[:, :6].mean().item() == pytest.approx(0.75, abs=0.02)


def test_row_granularity_drops_whole_rows() -> None:
    out = latents.corrupt(torch.ones(64, 10, 32), torch.ones(32), 0.0, 0.25, "row", rng(0, "t"))
    row_means = out[:, :6].mean(dim=-1)
    assert set(row_means.unique().tolist()) == {0.0, 1.0}
    assert row_means.mean().item() == pytest.approx(0.75, abs=0.1)


def test_noise_has_the_std_of_w_per_dimension() -> None:
    std = torch.tensor([0.5, 2.0])
    out = latents.corrupt(torch.zeros(4000, 8, 2), std, noise=0.5, drop=0.0, granularity="element", rng=rng(1, "t"))
    assert torch.allclose(out[:, :6].flatten(0, 1).std(dim=0), 0.5 * std, rtol=0.03)


def test_corruption_is_a_function_of_the_generator_alone() -> None:
    args = (some_ws(), torch.ones(16), 0.5, 0.25, "element")
    assert torch.equal(latents.corrupt(*args, rng(5, "t")), latents.corrupt(*args, rng(5, "t")))
    assert not torch.equal(latents.corrupt(*args, rng(5, "t")), latents.corrupt(*args, rng(6, "t")))


def one_star(n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """w_0 and the same w* for every step."""
    star = torch.randn(4, 1, 6, 16, generator=torch.Generator().manual_seed(4))
    return some_ws(), star.expand(-1, n, -1, -1)


@pytest.mark.parametrize(("direction", "factor"), [("away", 1.1), ("toward", 0.9)])
def test_distance_to_star_scales_geometrically(direction: str, factor: float) -> None:
    ws, stars = one_star(5)
    sequence = latents.perturb(ws, stars, latents.constant_fractions(torch.full((4,), 0.1), 5, direction))
    assert sequence.shape == (4, 6, 10, 16)
    assert torch.equal(sequence[:, 0], ws)
    for i in range(6):
        expected = factor**i * (ws[:, :6] - stars[:, 0])
        assert torch.allclose(sequence[:, i, :6] - stars[:, 0], expected, atol=1e-5)
        assert torch.equal(sequence[:, i, 6:], ws[:, 6:])


def test_jump_goes_all_the_way_in_equal_steps() -> None:
    ws, stars = one_star(5)
    sequence = latents.perturb(ws, stars, latents.jump_fractions(4, 5))
    for i in range(6):
        expected = ws[:, :6] + i / 5 * (stars[:, 0] - ws[:, :6])
        assert torch.allclose(sequence[:, i, :6], expected, atol=1e-5)


def test_star_redrawn_each_step_is_obeyed() -> None:
    ws = some_ws()
    stars = torch.randn(4, 3, 6, 16, generator=torch.Generator().manual_seed(9))
    sequence = latents.perturb(ws, stars, torch.ones(4, 3))
    assert torch.allclose(sequence[:, 1:, :6], stars, atol=1e-6)
