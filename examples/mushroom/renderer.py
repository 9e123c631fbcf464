"""A procedural mushroom in front of a fixed landscape: differentiable, with the place of every point known.

Seven numbers are its geometry, five its colours, all in [-1, 1]. Lengths are in units of half the image's side, with
(0, 0) in the centre and y pointing down.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

GEOMETRY = 7  # x, height, stem width, lean, cap width, cap height, tilt
COLOURS = 5  # hue of the cap, its tone, tone of the stem, hue of the sky, tone of the ground
SIZE = 64  # pixels
SOFT = 0.7  # width of an edge, in pixels

GROUND = 0.72  # y of the ground
SPOTS = (
    (-0.05, -0.62, 0.22),
    (-0.52, -0.38, 0.2),
    (0.45, -0.4, 0.2),
    (-0.1, -0.16, 0.13),
    (0.74, -0.12, 0.12),
)  # centre and radius, in half-widths and heights of the cap
RINGS = ((0.3, 0.06), (0.62, 0.05))  # dark bands of the stem: place between its foot (0) and its top (1), half-height
STONES = ((-0.8, 0.86, 0.09), (-0.45, 0.8, 0.05), (0.55, 0.88, 0.08), (0.85, 0.78, 0.06))  # x, y, radius
SUN = (0.68, -0.7, 0.14)

BACKGROUND, STEM, CAP = 0, 1, 2


@dataclass(frozen=True)
class Shape:
    """Geometry in units of half the image's side, each [B, 1, 1]."""

    x: Tensor
    height: Tensor
    stem: Tensor
    lean: Tensor
    width: Tensor
    cap: Tensor
    angle: Tensor

    @classmethod
    def of(cls, geometry: Float[Tensor, "B 7"]) -> "Shape":
        g = geometry[:, :, None, None].unbind(dim=1)
        lean = 0.22 * g[3]
        return cls(
            0.2 * g[0],
            0.72 + 0.26 * g[1],
            0.1 + 0.035 * g[2],
            lean,
            0.46 + 0.14 * g[4],
            0.36 + 0.13 * g[5],
            1.2 * lean + 0.22 * g[6],
        )

    def cap_frame(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Coordinates of points in half-widths and heights of the cap; its top is (0, -1)."""
        across, down = x - self.x - self.lean, y - GROUND + self.height
        sin, cos = self.angle.sin(), self.angle.cos()
        return (cos * across + sin * down) / self.width, (cos * down - sin * across) / self.cap

    def stem_frame(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """(place between foot 0 and top 1, distance from the middle in half-widths) of points."""
        t = (GROUND - y) / self.height
        return t, (x - self.x - self.lean * t.clamp(0, 1.2).square()) / (self.stem * (1.25 - 0.35 * t.clamp(0, 1)))


@dataclass(frozen=True)
class Places:
    """Places on the mushroom, [B, N]: the part, and the coordinates in its frame."""

    part: Int[Tensor, "B N"]
    a: Float[Tensor, "B N"]
    b: Float[Tensor, "B N"]


def places(geometry: Float[Tensor, "B 7"], points: Float[Tensor, "B N 2"], size: int = SIZE) -> Places:
    """What lies under points, (x, y) pixels."""
    x, y = ((points[..., None, :] + 0.5) * 2 / size - 1).unbind(dim=-1)  # [B, N, 1]
    shape = Shape.of(geometry)
    (u, v), (t, across) = shape.cap_frame(x, y), shape.stem_frame(x, y)
    cap = u.square() + torch.where(v < 0, v, 4 * v).square() < 1
    stem = (across.abs() < 1) & (t > 0) & (t < 1.05)
    part = torch.where(cap, CAP, torch.where(stem, STEM, BACKGROUND))
    return Places(part[..., 0], torch.where(cap, u, t)[..., 0], torch.where(cap, v, across)[..., 0])


def where(geometry: Float[Tensor, "B 7"], seen: Places, size: int = SIZE) -> Float[Tensor, "B N 2"]:
    """The pixels of places on other mushrooms; those of the background are meaningless."""
    shape = Shape.of(geometry)
    a, b = seen.a[..., None], seen.b[..., None]
    sin, cos = shape.angle.sin(), shape.angle.cos()
    across, down = a * shape.width, b * shape.cap
    cap = shape.x + shape.lean + cos * across - sin * down, GROUND - shape.height + sin * across + cos * down
    half = shape.stem * (1.25 - 0.35 * a.clamp(0, 1))
    stem = shape.x + shape.lean * a.clamp(0, 1.2).square() + half * b, GROUND - shape.height * a
    on_cap = (seen.part == CAP)[..., None]
    found = torch.cat([torch.where(on_cap, c, s) for c, s in zip(cap, stem, strict=True)], dim=-1)
    return (found + 1) * size / 2 - 0.5


def grid(size: int) -> tuple[Tensor, Tensor]:
    """x and y of the pixels' centres, [1, S, S]."""
    axis = (torch.arange(size) + 0.5) * 2 / size - 1
    return axis[None, None, :].expand(1, size, size), axis[None, :, None].expand(1, size, size)


def render(geometry: Float[Tensor, "B 7"], colours: Float[Tensor, "B 5"], size: int = SIZE) -> Float[Tensor, "B 3 S S"]:
    """Images in [-1, 1]."""
    x, y = grid(size)
    shape = Shape.of(geometry)
    c = colours[:, :, None, None].unbind(dim=1)
    image = _landscape(x, y, c[3], c[4])
    t, across = shape.stem_frame(x, y)
    stem = torch.minimum((1 - across.abs()) * shape.stem, torch.minimum(t + 0.03, 1.08 - t) * shape.height)
    pale = _colour(0.86 + 0.08 * c[2], 0.8 + 0.08 * c[2], 0.66 + 0.1 * c[2])
    shade = (1 - 0.16 * (across.clamp(-1, 1) + 1))[:, None]
    image = _paint(image, pale * shade, stem)
    for place, half in RINGS:
        ring = torch.minimum(stem, (half - (t - place).abs()) * shape.height)
        image = _paint(image, pale * 0.62, ring)
    u, v = shape.cap_frame(x, y)
    below = torch.where(v < 0, 1.0, 4.0)  # the underside is flatter
    radius = (u.square() + (below * v).square()).clamp(min=1e-6).sqrt()
    steepness = ((u / shape.width).square() + (below.square() * v / shape.cap).square()).clamp(min=1e-6).sqrt() / radius
    cap = (1 - radius) / steepness
    red = _colour(0.72 + 0.18 * c[1], 0.3 + 0.24 * c[0] + 0.1 * c[1], 0.22 - 0.12 * c[0] + 0.1 * c[1])
    light = (0.86 - 0.2 * u - 0.22 * v).clamp(0.4, 1.15)[:, None]
    image = _paint(image, red * light, cap)
    image = _paint(image, red * 0.45, torch.minimum(cap, (v - 0.02) * shape.cap))
    for a, b, r in SPOTS:
        spot = (r - ((u - a).square() + (v - b).square()).clamp(min=1e-6).sqrt()) * shape.cap
        image = _paint(image, _colour(0.96, 0.93, 0.86) * light.clamp(max=1.0), torch.minimum(cap, spot))
    return image.clamp(0, 1) * 2 - 1


def _paint(image: Tensor, colour: Tensor, inside: Tensor) -> Tensor:
    """inside: distance from the edge of what is painted, [B, S, S], positive inside, in units of half the side."""
    return torch.lerp(image, colour, torch.sigmoid(inside * image.shape[-1] / SOFT)[:, None])


def _landscape(x: Tensor, y: Tensor, hue: Tensor, tone: Tensor) -> Tensor:
    """What is behind the mushroom, [B, 3, S, S] in [0, 1]: sky, sun, a hill, the ground and stones."""
    image = torch.stack([0.55 + 0.18 * hue - 0.12 * y, 0.7 + 0 * hue - 0.08 * y, 0.86 - 0.18 * hue + 0 * y], dim=1)
    image = _paint(image, _colour(1.0, 0.95, 0.7), SUN[2] - ((x - SUN[0]).square() + (y - SUN[1]).square()).sqrt())
    hill = y - 0.42 - 0.14 * (3.1 * x + 0.8).sin()
    image = _paint(image, _colour(0.36 + 0.1 * tone, 0.5 + 0.1 * tone, 0.42 + 0 * tone), hill)
    image = _paint(image, _colour(0.3 + 0.08 * tone, 0.42 + 0.1 * tone, 0.2 + 0.04 * tone), y - GROUND + 0.02)
    for a, b, r in STONES:
        image = _paint(image, _colour(0.62, 0.6, 0.58), r - ((x - a).square() + 2 * (y - b).square()).sqrt())
    return image


def _colour(red: Tensor | float, green: Tensor | float, blue: Tensor | float) -> Tensor:
    """[B, 3, 1, 1]."""
    return torch.stack([torch.as_tensor(v, dtype=torch.float32).reshape(-1, 1, 1) for v in (red, green, blue)], dim=1)
