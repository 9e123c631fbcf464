"""The Latent Regularizer."""

from pathlib import Path

import pytest
import torch

from autodrag.errors import InputError
from autodrag.models import AutoDrag, Regularizer, RegularizerConfig, Statistics
from autodrag.seeding import rng

SIZE = RegularizerConfig(width=32, heads=4, encoder_layers=1, decoder_layers=1, mlp_ratio=2.0)


def test_kept_rows_pass_through() -> None:
    model = Regularizer(SIZE, num_ws=10, w_dim=8, statistics=Statistics.identity(8, 4))
    ws = torch.randn(3, 10, 8, generator=rng(0, "t"))
    out = model(ws)
    assert out.shape == ws.shape
    assert torch.equal(out[:, 6:], ws[:, 6:])
    assert not torch.equal(out[:, :6], ws[:, :6])


def test_a_residual_one_starts_as_the_identity() -> None:
    size = RegularizerConfig(width=32, heads=4, encoder_layers=1, decoder_layers=1, residual=True)
    model = Regularizer(size, num_ws=10, w_dim=8, statistics=Statistics.identity(8, 4))
    ws = torch.randn(3, 10, 8, generator=rng(0, "t"))
    assert torch.equal(model(ws), ws)


def test_the_scale_of_the_latents_does_not_matter() -> None:
    ws = torch.randn(2, 10, 8, generator=rng(0, "t"))
    mean, std = torch.arange(8.0), torch.linspace(0.1, 5, 8)
    torch.manual_seed(0)
    plain = Regularizer(SIZE, 10, 8, Statistics.identity(8, 4))
    torch.manual_seed(0)
    scaled = Regularizer(SIZE, 10, 8, Statistics(mean, std, torch.zeros(4), torch.ones(4)))
    assert torch.allclose((scaled(ws * std + mean) - mean) / std, plain(ws), atol=1e-5)


def test_a_file_is_a_complete_model(tmp_path: Path) -> None:
    model = Regularizer(SIZE, num_ws=10, w_dim=8, statistics=Statistics.identity(8, 4))
    model.save(tmp_path / "weights.safetensors")
    ws = torch.randn(3, 10, 8, generator=rng(0, "t"))
    assert torch.allclose(Regularizer.load(tmp_path / "weights.safetensors")(ws), model(ws), atol=1e-5)
    with pytest.raises(InputError, match="stage=2 run"):
        AutoDrag.load(tmp_path / "weights.safetensors")


def test_a_generator_without_kept_rows_is_refused() -> None:
    with pytest.raises(InputError, match="6 latent rows"):
        Regularizer(SIZE, num_ws=6, w_dim=8, statistics=Statistics.identity(8, 4))
