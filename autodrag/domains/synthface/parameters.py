"""The parameters of a synthface: meaning and range of each, and their computation from a latent z."""

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from autodrag.seeding import rng

Z_DIM = 128  # equal to w_dim, so that formats with a single width can hold the generator

# name, value at 0, change at +-1. Lengths are in units of half the image side, angles in radians.
GEOMETRY: tuple[tuple[str, float, float], ...] = (
    ("yaw", 0.0, 0.45),
    ("pitch", 0.0, 0.22),
    ("roll", 0.0, 0.11),
    ("shift_x", 0.0, 0.04),
    ("shift_y", 0.03, 0.03),
    ("scale", 1.0, 0.06),
    ("face_width", 1.0, 0.08),
    ("face_length", 1.0, 0.07),
    ("jaw", 0.16, 0.14),
    ("eye_size", 1.0, 0.16),
    ("eye_spacing", 0.46, 0.05),
    ("eye_open", 0.92, 0.38),
    ("gaze_x", 0.0, 0.032),
    ("gaze_y", 0.0, 0.018),
    ("brow_height", 0.0, 0.035),
    ("brow_angle", 0.0, 0.20),
    ("nose_length", 0.0, 0.05),
    ("nose_width", 1.0, 0.20),
    ("mouth_width", 1.0, 0.18),
    ("mouth_open", 0.40, 0.45),
    ("smile", 0.10, 0.45),
    ("hair_volume", 1.0, 0.06),
    ("hair_length", 0.55, 0.35),
)
APPEARANCE: tuple[tuple[str, float, float], ...] = (
    ("skin_tone", 0.0, 1.0),
    ("skin_warmth", 0.0, 1.0),
    ("blush", 0.0, 1.0),
    ("hair_tone", 0.0, 1.0),
    ("hair_warmth", 0.0, 1.0),
    ("iris_hue", 0.0, 1.0),
    ("iris_tone", 0.0, 1.0),
    ("lip_tone", 0.0, 1.0),
    ("background_a", 0.0, 1.0),
    ("background_b", 0.0, 1.0),
    ("background_tone", 0.0, 1.0),
    ("cloth_a", 0.0, 1.0),
    ("cloth_b", 0.0, 1.0),
    ("cloth_tone", 0.0, 1.0),
    ("light", 0.0, 1.0),
)
# Scale of a standard normal coordinate of z before squashing.
SPREAD = 0.65


@dataclass(frozen=True)
class Values:
    """Named physical values of a batch of parameter vectors, each [B, 1, 1] so that it broadcasts over pixels."""

    table: dict[str, Tensor]

    def __getattr__(self, name: str) -> Tensor:
        try:
            return self.table[name]
        except KeyError:
            raise AttributeError(name) from None


def values(vector: Float[Tensor, "B P"], names: tuple[tuple[str, float, float], ...]) -> Values:
    """Physical values of parameter vectors in [-1, 1] (`names` is GEOMETRY or APPEARANCE)."""
    return Values({n: centre + half * vector[:, i, None, None] for i, (n, centre, half) in enumerate(names)})


@lru_cache(maxsize=1)
def projection() -> Float[Tensor, "P Z"]:
    """The fixed orthonormal rows that map a normalised z to coordinates."""
    count = len(GEOMETRY) + len(APPEARANCE)
    square = torch.randn(Z_DIM, Z_DIM, generator=rng(0, "synthface/projection"), dtype=torch.float64)
    return torch.linalg.qr(square).Q[:count].float()


def coordinates(z: Float[Tensor, "B Z"]) -> Float[Tensor, "B P"]:
    """The unbounded coordinates of z that determine the parameters, geometry first.

    The mapping network normalises z, so they are a function of z / |z|.
    """
    unit = z * (z.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()
    return unit @ projection().to(z).T


def squash(coordinate: Tensor) -> Tensor:
    """Map coordinates to parameters in [-1, 1]; few faces are near the extremes."""
    return torch.tanh(SPREAD * coordinate)


def parameters(z: Float[Tensor, "B Z"]) -> tuple[Float[Tensor, "B G"], Float[Tensor, "B A"]]:
    """(geometry, appearance) in [-1, 1] of latents z."""
    both = squash(coordinates(z))
    return both[:, : len(GEOMETRY)], both[:, len(GEOMETRY) :]


def with_parameters(
    z: Float[Tensor, "B Z"], geometry: Float[Tensor, "B G"], appearance: Float[Tensor, "B A"]
) -> Float[Tensor, "B Z"]:
    """The nearest latents to z with these parameters; the other directions keep their proportions.

    No normalised latent has extreme values of all parameters at once; such parameters are scaled down until one exists.
    """
    unit = z * (z.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt()
    rows = projection().to(z)
    wanted = torch.atanh(torch.cat([geometry, appearance], dim=1).clamp(-0.98, 0.98)) / SPREAD
    room = 0.95 * Z_DIM
    wanted = wanted * (room / wanted.square().sum(dim=1, keepdim=True).clamp(min=1e-8)).sqrt().clamp(max=1)
    rest = unit - unit @ rows.T @ rows
    length = (Z_DIM - wanted.square().sum(dim=1, keepdim=True)).sqrt()
    return wanted @ rows + rest * (length / rest.norm(dim=1, keepdim=True))
