"""What a model must know of its generator before it is built: shapes, and statistics of latents and features."""

import torch
from jaxtyping import Float
from torch import Tensor

from autodrag.generator import FrozenGenerator
from autodrag.models import DomainShape, Statistics
from autodrag.seeding import rng


def domain_shape(generator: FrozenGenerator, block: int) -> DomainShape:
    """Sizes of the latents, of the output of `block` (counted from 1) and of the images."""
    return DomainShape(generator.num_ws, generator.w_dim, generator.feature_shape(block), generator.resolution)


def measure(generator: FrozenGenerator, block: int, seed: int = 0, latents: int = 10_000, maps: int = 32) -> Statistics:
    """Statistics of untruncated latents and of the output of `block`, from that many draws of each."""
    z = torch.randn(latents, generator.z_dim, generator=rng(seed, "statistics"))
    ws = torch.cat([generator.map(part.to(generator.device)) for part in z.split(1000)])
    rows = ws[:, 0].float()
    features = torch.cat([generator.features(part, block=block) for part in ws[:maps].split(4)]).float()
    return Statistics(
        rows.mean(dim=0).cpu(),
        _positive(rows.std(dim=0)).cpu(),
        features.mean(dim=(0, 2, 3)).cpu(),
        _positive(features.std(dim=(0, 2, 3))).cpu(),
    )


def _positive(std: Float[Tensor, " D"]) -> Float[Tensor, " D"]:
    """A dimension that never varies is left at its own scale."""
    return torch.where(std > 1e-6, std, torch.ones_like(std))
