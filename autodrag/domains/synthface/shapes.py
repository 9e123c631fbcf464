"""Positions and bounding curves of the facial features, shared by the renderer and the landmarks.

A feature is defined in a chart of the head: s to the right and t downward from its centre, in half image sides along
the surface. `x` is s in half-widths of the feature, so its corners are at x = -1 and 1. Curves return t.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from autodrag.domains.synthface.parameters import Values
from autodrag.domains.synthface.surface import Head, Surface


@dataclass(frozen=True)
class Chart:
    """A position on the head and the scales of the chart around it."""

    longitude: Tensor
    latitude: Tensor
    scale_s: Tensor
    scale_t: Tensor

    def of(self, surface: Surface) -> tuple[Tensor, Tensor]:
        """(s, t) of the surface at each pixel."""
        return (surface.longitude - self.longitude) * self.scale_s, (surface.latitude - self.latitude) * self.scale_t

    def place(self, s: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """(longitude, latitude) of chart positions."""
        return self.longitude + s / self.scale_s, self.latitude + t / self.scale_t


def chart(head: Head, longitude: Tensor, latitude: Tensor) -> Chart:
    """The chart centred at (longitude, latitude)."""
    return Chart(longitude, latitude, head.width * latitude.cos(), head.length * torch.ones_like(latitude))


@dataclass(frozen=True)
class Eye:
    """One eye; `side` is -1 for the eye at the image's left, 1 for the other."""

    g: Values
    side: int
    half_width: Tensor
    chart: Chart

    def upper(self, x: Tensor) -> Tensor:
        g = self.g
        lid = (1 - x.square()).clamp(min=0)
        return self._tilt(x) - 0.088 * g.scale * g.eye_size * g.eye_open * lid * (1 - 0.12 * self.side * x)

    def lower(self, x: Tensor) -> Tensor:
        g = self.g
        return self._tilt(x) + 0.042 * g.scale * g.eye_size * (0.45 + 0.55 * g.eye_open) * (1 - x.square()).clamp(min=0)

    def iris(self) -> tuple[Tensor, Tensor, Tensor]:
        """Centre (s, t) and radius."""
        g = self.g
        return g.gaze_x * g.scale, (g.gaze_y - 0.020) * g.scale, 0.060 * g.scale * g.eye_size

    def _tilt(self, x: Tensor) -> Tensor:
        return -0.010 * self.g.scale * self.side * x


def eye(head: Head, side: int) -> Eye:
    """The eye on one side."""
    g = head.g
    place = chart(head, side * g.eye_spacing, torch.full_like(g.yaw, -0.06))
    return Eye(g, side, 0.108 * g.scale * g.eye_size, place)


@dataclass(frozen=True)
class Brow:
    """One brow; `side` as for eyes."""

    g: Values
    side: int
    half_width: Tensor
    chart: Chart

    def spine(self, x: Tensor) -> Tensor:
        g = self.g
        outward = self.side * x
        return g.scale * (0.030 * (outward - 0.25).square() - 0.018 - 0.09 * g.brow_angle * outward)

    def thickness(self, x: Tensor) -> Tensor:
        """Half the height of the brow, which tapers outwards."""
        return 0.023 * self.g.scale * (1 - 0.45 * self.side * x) * (1.05 - x.square()).clamp(min=0).sqrt()


def brow(head: Head, side: int) -> Brow:
    """The brow on one side; it rises as the eye opens."""
    g = head.g
    place = chart(head, side * (g.eye_spacing + 0.03), -0.345 - g.brow_height / 0.5 - 0.07 * (g.eye_open - 0.9))
    return Brow(g, side, 0.135 * g.scale, place)


@dataclass(frozen=True)
class Mouth:
    """Four curves from corner to corner: the outer and inner edges of both lips."""

    g: Values
    half_width: Tensor
    chart: Chart

    def centre_line(self, x: Tensor) -> Tensor:
        return -0.070 * self.g.smile * self.g.scale * x.square()

    def inner_upper(self, x: Tensor) -> Tensor:
        return self.centre_line(x) - 0.018 * self._gap() * (1 - x.square()).clamp(min=0)

    def inner_lower(self, x: Tensor) -> Tensor:
        return self.centre_line(x) + 0.085 * self._gap() * (1 - x.square()).clamp(min=0)

    def outer_upper(self, x: Tensor) -> Tensor:
        bow = 1 - 0.28 * (-(x / 0.16).square()).exp()
        return self.inner_upper(x) - 0.040 * self.g.scale * bow * self._profile(x)

    def outer_lower(self, x: Tensor) -> Tensor:
        return self.inner_lower(x) + 0.050 * self.g.scale * self._profile(x)

    def _gap(self) -> Tensor:
        return self.g.mouth_open.clamp(min=0.0) * self.g.scale

    def _profile(self, x: Tensor) -> Tensor:
        rest = (1 - x.square()).clamp(min=0)
        return rest * (1.5 - 0.5 * rest)


def mouth(head: Head) -> Mouth:
    """The mouth; a longer nose lowers it."""
    g = head.g
    place = chart(head, torch.zeros_like(g.yaw), 0.64 + 0.35 * g.nose_length)
    return Mouth(g, (0.195 + 0.035 * g.smile) * g.scale * g.mouth_width, place)


@dataclass(frozen=True)
class Nose:
    """Camera positions [B, 1, 1], as the nose is raised off the head: root between the eyes, tip, base below it."""

    root: tuple[Tensor, Tensor]
    tip: tuple[Tensor, Tensor]
    base: tuple[Tensor, Tensor]
    width: Tensor


def nose(head: Head) -> Nose:
    """The nose as seen from the camera."""
    g = head.g
    zero = torch.zeros_like(g.yaw)
    return Nose(
        root=head.camera(zero, zero - 0.10, 0.05),
        tip=head.camera(zero, 0.30 + g.nose_length, 0.24),
        base=head.camera(zero, 0.405 + g.nose_length, 0.10),
        width=0.088 * g.scale * g.nose_width,
    )
