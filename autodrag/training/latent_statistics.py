"""Measurements of a generator: shapes, statistics of latents and features, and how latents change images."""

import torch
from jaxtyping import Float
from torch import Tensor

from autodrag.errors import InputError
from autodrag.generator import FrozenGenerator
from autodrag.latents import join, split
from autodrag.models import DomainShape, Manifold, Statistics
from autodrag.models.encoder import shrunk
from autodrag.models.whitening import Whitening
from autodrag.seeding import rng

PROBE = 0.5  # step of the finite differences, in standard deviations of W


def domain_shape(generator: FrozenGenerator, block: int) -> DomainShape:
    """Shapes of the latents, of the output of `block` (counted from 1) and of the images."""
    return DomainShape(generator.num_ws, generator.w_dim, generator.feature_shape(block), generator.resolution)


def measure(generator: FrozenGenerator, block: int, seed: int = 0, latents: int = 10_000, maps: int = 32) -> Statistics:
    """Statistics of `latents` untruncated latents, and of the output of `block` for the first `maps` of them."""
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


@torch.no_grad()
def image_metric(
    generator: FrozenGenerator, std: Float[Tensor, " D"], block: int, seed: int = 0, latents: int = 6, chunk: int = 16
) -> Float[Tensor, "D D"]:
    """The pullback metric M of G: dw^T M dw is the squared change of the image when all edited rows change by dw.

    E[J J^T] over `latents` latents, where J is the change of the standardised output of `block` per standard deviation
    (`std`) of each dimension, by central differences. Raises InputError if `latents` is below 1.
    """
    if latents < 1:
        raise InputError(f"metric_latents is {latents}, expected at least 1.")
    ws = generator.map(torch.randn(latents, generator.z_dim, generator=rng(seed, "image units")).to(generator.device))
    spread = _positive(generator.features(ws, block=block).float().std(dim=(0, 2, 3)))[:, None, None]
    moves = PROBE * torch.diag(std.to(ws.device))

    def change(w: Float[Tensor, "1 L D"], moves: Float[Tensor, "M D"]) -> Float[Tensor, "M F"]:
        head, tail = split(w.expand(len(moves), -1, -1))
        ahead, behind = (join(head + sign * moves[:, None], tail) for sign in (1, -1))
        both = [generator.features(part, block=block).float() / spread for part in (ahead, behind)]
        return ((both[0] - both[1]) / (2 * PROBE)).flatten(1)

    metric = torch.zeros_like(moves)
    for w in ws.split(1):
        jacobian = torch.cat([change(w, part) for part in moves.split(chunk)])
        metric += jacobian @ jacobian.T
    return metric.to(std.device) / std / std[:, None]


def image_units(metric: Float[Tensor, "D D"], std: Float[Tensor, " D"]) -> Float[Tensor, "D D"]:
    """A basis of W in which the norm of a latent difference is its effect on the image, by `image_metric`.

    Some directions of the edited rows change the image a thousand times as much as others, and points determine only
    those. With diag(std) metric diag(std) = V diag(e) V^T, the columns are diag(1 / std) V sqrt(e), normalised so that
    an error of one deviation in every direction keeps its size.
    """
    values, vectors = torch.linalg.eigh(metric * std * std[:, None])
    weights = values.clamp(min=0).sqrt()
    return vectors * (weights / weights.square().mean().sqrt()) / std[:, None]


def measure_manifold(
    generator: FrozenGenerator, metric: Float[Tensor, "D D"], psi: float, seed: int = 0, latents: int = 10_000
) -> Manifold:
    """The `Manifold` of latents with truncation `psi`. metric: from `image_metric`."""
    z = torch.randn(latents, generator.z_dim, generator=rng(seed, "manifold"))
    ws = torch.cat([generator.map(part.to(generator.device), psi=psi)[:, 0] for part in z.split(1000)])
    return Manifold.measure(ws, metric)


def measure_whitening(generator: FrozenGenerator, seed: int = 0, latents: int = 10_000) -> Whitening:
    """The `Whitening` of untruncated latents."""
    z = torch.randn(latents, generator.z_dim, generator=rng(seed, "whitening"))
    return Whitening.measure(
        torch.cat([generator.map(part.to(generator.device))[:, 0].float() for part in z.split(1000)])
    )


def _positive(std: Float[Tensor, " D"]) -> Float[Tensor, " D"]:
    """Replace the standard deviation of constant dimensions by 1."""
    return torch.where(std > 1e-6, std, torch.ones_like(std))


def image_gradients(
    generator: FrozenGenerator, size: int, count: int, seed: int = 0, together: int = 8
) -> Float[Tensor, "N L D"]:
    """Random projections g of the image's Jacobian in W+, of which main directions are computed.

    The mean of (g * d).sum()^2 estimates the mean square change of pixel values, at a longer side of `size`, caused by
    an offset d. Each of the N is J^T v, with J the Jacobian at a random latent and v white noise:
    E[J^T v v^T J] = E[J^T J]. count: N, rounded up to whole batches of `together`.
    """
    found = []
    for number in range(0, count, together):
        stream = rng(seed, "seen moves", number)
        z = torch.randn(2, together, generator.z_dim, generator=stream)
        first, second = (generator.map(part) for part in z)
        ws = join(split(first)[0], split(second)[1]).detach().requires_grad_()
        with torch.enable_grad():
            image = shrunk(generator.synthesize(ws).float(), size)
            noise = torch.randn(image.shape, generator=stream).to(image)
            (moved,) = torch.autograd.grad((image * noise).sum() / image[0].numel() ** 0.5, ws)
        found.append(moved.cpu())
    return torch.cat(found)
