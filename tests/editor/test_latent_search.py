"""What the search of latents knows of curvature beforehand."""

import torch

from autodrag.editor.latent_search import CURVATURE, FLOOR, SearchConfig, inverse_of_curvature
from autodrag.models import Encoder, EncoderConfig
from autodrag.models.whitening import Whitening


def test_the_inverse_of_the_known_curvature_is_that_of_the_whole_matrix() -> None:
    draw = torch.Generator().manual_seed(0)
    whitening = Whitening.measure(torch.randn(200, 4, generator=draw))
    encoder = Encoder(EncoderConfig(32, 8, 16, 5), 8, whitening, 0.05 * torch.randn(5, 8, 4, generator=draw))
    solve = inverse_of_curvature(encoder, SearchConfig(edited_weight=0.6, kept_weight=0.2))
    shown = encoder.image_directions @ whitening.basis  # [5, 8, 4]
    moves = torch.cat([shown[:, :6].sum(1, keepdim=True), shown[:, 6:].sum(1, keepdim=True), shown], dim=1).flatten(1)
    own = torch.cat([torch.full((6 * 4,), 2 * 0.6 / 24), torch.full((2 * 4,), 2 * 0.2 / 8)])
    whole = CURVATURE * moves.T @ moves + torch.diag(FLOOR + torch.cat([torch.zeros(8), own]))
    slope = torch.randn(40, generator=draw)
    assert torch.allclose(whole @ solve(slope), slope, atol=1e-3)
