"""Principal components of W (GANSpace, Haerkoenen et al. 2020): directions in which a few things of an image change.

Motions between two random latents change everything at once, so the small parts of an image move together with its
large ones. Along a component, most of the image stays.
"""

from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from autodrag.generator import FrozenGenerator
from autodrag.seeding import rng

LATENTS = 10_000  # of which the components are estimated
CHUNK = 1000  # latents that are mapped at once
SHORTEST, LONGEST = 1.4, 3.0  # lengths of a motion, in standard deviations of its component


def crossed(
    generator: FrozenGenerator,
    rows: Float[Tensor, "B D"],
    draws: Float[Tensor, "B 2"],
    components: int,
    psi: float,
) -> Float[Tensor, "B D"]:
    """Mapped latents, each moved along one of the first `components` components, towards the other side of the mean.

    draws: uniform in [0, 1); the number of the component, and the length of the motion. psi: truncation of the latents.
    """
    mean, deviations = principal_components(generator, psi)
    chosen = deviations[(draws[:, 0] * min(components, len(deviations))).long()].to(rows)  # [B, D]
    side = ((rows - mean.to(rows)) * chosen).sum(dim=1, keepdim=True)
    length = (SHORTEST + (LONGEST - SHORTEST) * draws[:, 1:]).to(rows)
    return rows - torch.where(side < 0, -length, length) * chosen


@lru_cache(maxsize=1)
@torch.no_grad()
def principal_components(generator: FrozenGenerator, psi: float) -> tuple[Float[Tensor, " D"], Float[Tensor, "D D"]]:
    """(mean of W, components as rows, largest first, each as long as its standard deviation), on the CPU.

    Estimated from the same latents everywhere, so folders of trajectories need not store them.
    """
    z = torch.randn(LATENTS, generator.z_dim, generator=rng(0, "principal components"))
    w = torch.cat([generator.map(part, psi=psi)[:, 0].cpu() for part in z.split(CHUNK)]).double()
    values, vectors = torch.linalg.eigh(torch.cov(w.T))
    return w.mean(dim=0).float(), (vectors * values.clamp(min=0).sqrt()).T.flip(0).float()
