"""The head: a tapered ellipsoid under an orthographic camera, and the mapping between image and surface.

Lengths are in units of half the image side: x right, y down, z to the viewer. The head is rotated by yaw, then pitch,
tapered towards the chin (in the image, so that it inverts in closed form), then rolled and shifted. Positions on the
head are (longitude, latitude): longitude 0 faces forward, latitude increases downwards.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from autodrag.domains.synthface.parameters import Values

Field = Float[Tensor, "B H W"]


def dot(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """Dot product of vectors given by their components."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@dataclass(frozen=True)
class Surface:
    """The visible surface of an ellipsoid at each pixel, [B, H, W]; outside the outline, the values at the outline."""

    longitude: Tensor
    latitude: Tensor
    inside: Tensor  # distance to the outline, positive inside, in half image sides
    normal: tuple[Tensor, Tensor, Tensor]


def taper(y: Tensor, jaw: Tensor) -> Tensor:
    """Relative width of the head at height y (in head half-lengths): 1 above the cheekbones, narrower at the chin."""
    low = (y + 0.05).clamp(min=0)
    return 1 - jaw * low.square() * (1.6 - 0.6 * low)


class Head:
    """Pose and proportions of a batch of heads."""

    def __init__(self, g: Values) -> None:
        self.g = g
        self.width = 0.53 * g.scale * g.face_width
        self.length = 0.69 * g.scale * g.face_length
        self.depth = 0.62 * g.scale
        cy, sy, cp, sp = g.yaw.cos(), -g.yaw.sin(), g.pitch.cos(), g.pitch.sin()
        zero = torch.zeros_like(cy)
        # Rows of the head-to-camera rotation (pitch after yaw).
        self.axes = ((cy, zero, -sy), (sp * sy, cp, sp * cy), (cp * sy, -sp, cp * cy))

    def local(self, u: Field, v: Field) -> tuple[Field, Field]:
        """Image position -> camera position before shift, roll and taper."""
        g = self.g
        x, y = u - g.shift_x, v - g.shift_y
        c, s = g.roll.cos(), g.roll.sin()
        x, y = c * x + s * y, c * y - s * x
        return x / taper(y / self.length, g.jaw), y

    def image(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Inverse of `local`; any shape that broadcasts with [B, 1, 1]."""
        g = self.g
        x = x * taper(y / self.length, g.jaw)
        c, s = g.roll.cos(), g.roll.sin()
        return c * x - s * y + g.shift_x, s * x + c * y + g.shift_y

    def camera(self, longitude: Tensor, latitude: Tensor, height: Tensor | float = 0.0) -> tuple[Tensor, Tensor]:
        """Surface position, raised by `height` radii -> camera position before taper; [B, 1, N] each.

        Positions that face away from the viewer are moved to the nearest point of the outline, like jaw landmarks.
        """
        q = (longitude.sin() * latitude.cos(), latitude.sin(), longitude.cos() * latitude.cos())
        _, _, toward = self._scaled_axes(1.0)
        norm = dot(toward, toward).rsqrt()
        behind = (dot(q, toward) * norm).clamp(max=0)
        q_rim = [a - behind * m * norm for a, m in zip(q, toward, strict=True)]
        length = dot(q_rim, q_rim).sqrt()
        radii = (self.width, self.length, self.depth)
        p = [a / length * r * (1 + height) for a, r in zip(q_rim, radii, strict=True)]
        return dot(p, self.axes[0]), dot(p, self.axes[1])

    def project(self, longitude: Tensor, latitude: Tensor, height: Tensor | float = 0.0) -> tuple[Tensor, Tensor]:
        """Surface position -> image position in half image sides, [B, 1, N] each."""
        return self.image(*self.camera(longitude, latitude, height))

    def surface(self, x: Field, y: Field, inflate: Tensor | float = 1.0) -> Surface:
        """The visible surface of the head, scaled by `inflate`, at camera positions (x, y)."""
        across, down, toward = self._scaled_axes(inflate)
        o = [x * a + y * d for a, d in zip(across, down, strict=True)]
        mm = dot(toward, toward)
        mo = dot(o, toward)
        rim = (dot(o, o) - mo.square() / mm).clamp(min=1e-8).sqrt()
        outside = rim.clamp(min=1.0)
        depth = (1 - (rim / outside).square()).clamp(min=0).sqrt() * mm.rsqrt() - mo / mm / outside
        q = [a / outside + depth * m for a, m in zip(o, toward, strict=True)]
        n = [dot(q, axis) for axis in (across, down, toward)]
        scale = dot(n, n).clamp(min=1e-8).rsqrt()
        return Surface(
            longitude=torch.atan2(q[0], q[2]),
            latitude=torch.asin(q[1].clamp(-1, 1)),
            inside=(1 - rim) * torch.minimum(self.width, self.length) * inflate,
            normal=(n[0] * scale, n[1] * scale, n[2] * scale),
        )

    def _scaled_axes(self, inflate: Tensor | float) -> tuple[tuple[Tensor, Tensor, Tensor], ...]:
        radii = (self.width * inflate, self.length * inflate, self.depth * inflate)
        return tuple((a / radii[0], b / radii[1], c / radii[2]) for a, b, c in self.axes)
