"""Whitened coordinates of W: unit covariance, without directions that hardly vary."""

import torch

from autodrag.models.whitening import Whitening


def test_coordinates_are_white_and_lead_back() -> None:
    draw = torch.Generator().manual_seed(0)
    turn = torch.linalg.qr(torch.randn(6, 6, generator=draw))[0]
    scales = torch.tensor([3.0, 2.0, 1.0, 0.5, 1e-4, 0.0])  # two directions that hardly vary
    ws = 5 + torch.randn(5000, 6, generator=draw) * scales @ turn.T
    whitening = Whitening.measure(ws)
    assert whitening.size == 4
    y = whitening.coordinates(ws)
    assert torch.allclose(torch.cov(y.T), torch.eye(4), atol=1e-3)
    assert torch.allclose(whitening.latents(y), ws, atol=1e-2)
    plain = whitening.latents(y)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(whitening.coordinates(ws), y) and torch.equal(whitening.latents(y), plain)
    aside = ws + 10 * turn[:, 5]  # along a direction in which W has no extent
    assert torch.allclose(whitening.coordinates(aside), y, atol=1e-2)
    assert whitening.coordinates(ws.view(10, 500, 6)).shape == (10, 500, 4)
