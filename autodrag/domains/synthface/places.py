"""Correspondence between renders: the place on the face shown at a pixel, and its position in any other face.

A place is a part of the face and two coordinates that move with it: longitude and latitude on the skin and the hair
cap, the position between the curves of lips, lids and brows, the offset in radii on the iris, the frame of the nose,
the strands and the outline of the hair behind the head, the centre of the shoulders. The background has no places.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor

from autodrag.domains.synthface import face, layers, shapes
from autodrag.domains.synthface.canvas import Canvas
from autodrag.domains.synthface.palette import palette
from autodrag.domains.synthface.parameters import APPEARANCE, GEOMETRY, values
from autodrag.domains.synthface.surface import Head

PARTS = (
    *("background", "body", "back hair", "skin", "nose", "mouth", "cap"),
    *("eye left", "eye right", "iris left", "iris right", "brow left", "brow right"),
)
BACKGROUND = PARTS.index("background")
HALF = 0.5  # minimum coverage for a point to belong to a part

Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Places:
    """part: indices into PARTS. at: coordinates in the part, NaN on the background."""

    part: Int[Tensor, " N"]
    at: Float[Tensor, "N 2"]


@torch.no_grad()
def places(geometry: Float[Tensor, " G"], points: Float[Tensor, "N 2"], size: int) -> Places:
    """The places shown at `points`, (x, y) pixels, in the size x size render of one face."""
    head = Head(values(geometry[None], GEOMETRY))
    u, v = ((points + 0.5) * (2 / size) - 1).T[:, None, None]  # [1, 1, N] each
    part = _parts(head, u, v, size)
    at = torch.full((len(points), 2), torch.nan)
    for number in part.unique().tolist():
        if number != BACKGROUND:
            here = part == number
            found = _READ[PARTS[number]](head, u[..., here], v[..., here])
            at[here] = torch.stack([c.expand(1, 1, int(here.sum()))[0, 0] for c in found], dim=1)
    return Places(part, at)


def where(geometry: Float[Tensor, "B G"], found: Places, size: int) -> Float[Tensor, "B N 2"]:
    """Positions of places in the renders of other faces, in (x, y) pixels; NaN for the background.

    Differentiable in `geometry`. Places that face away from the viewer are mapped to the nearest point of the outline.
    """
    head = Head(values(geometry, GEOMETRY))
    there = geometry.new_full((len(geometry), len(found.part), 2), torch.nan)
    for number in found.part.unique().tolist():
        if number != BACKGROUND:
            here = (found.part == number).nonzero().flatten()
            a, b = found.at[here].T[:, None, None]  # [1, 1, n] each
            x, y = torch.broadcast_tensors(*_WRITE[PARTS[number]](head, a, b))
            moved = torch.stack([x, y], dim=-1)  # [B or 1, 1, n, 2]
            there = there.index_copy(1, here, moved[:, 0].expand(len(geometry), -1, -1))
    return (there + 1) * (size / 2) - 0.5


def _parts(head: Head, u: Tensor, v: Tensor, size: int) -> Int[Tensor, " N"]:
    """The part at each point, by rendering on a canvas whose pixels are the points; later parts hide earlier ones."""
    colours = palette(values(torch.zeros(1, len(APPEARANCE)), APPEARANCE))
    canvas = Canvas(1, size, u)
    canvas.u, canvas.v, canvas.image = u, v, torch.zeros(1, 3, *u.shape[1:])
    layers.back_hair(canvas, head, colours)
    canvas.maps["free of body"] = torch.ones_like(u)
    layers.body(canvas, head, colours)
    body = 1 - canvas.maps["free of body"]
    x, y = head.local(u, v)
    seen, light = head.surface(x, y), torch.zeros(1, 1, 1)
    face.skin(canvas, head, seen, x, y, light, colours)
    for side in (-1, 1):
        face.eye(canvas, head, seen, side, colours)
        face.brow(canvas, head, seen, side, colours)
    face.mouth(canvas, head, seen, colours)
    canvas.maps["free of cap"] = torch.ones_like(u)
    behind = canvas.maps["hair"]
    layers.hair_cap(canvas, head, layers.cap_of(head, x, y), light, colours)
    maps = canvas.maps
    right = seen.longitude > 0
    part = torch.full_like(u, BACKGROUND, dtype=torch.long)
    cap = 1 - maps["free of cap"]
    for name, covered in (
        ("back hair", behind),
        ("body", body * (1 - maps["head"])),
        ("skin", maps["head"]),
        ("nose", maps["nose"]),
        ("brow left", maps["brow"] * ~right),
        ("brow right", maps["brow"] * right),
        ("eye left", maps["eye"] * ~right),
        ("eye right", maps["eye"] * right),
        ("iris left", maps["iris"] * ~right),
        ("iris right", maps["iris"] * right),
        ("mouth", maps["lip"] + maps["mouth"]),
        ("cap", cap),
    ):
        part[covered > HALF] = PARTS.index(name)
    return part[0, 0]


def _read_skin(head: Head, u: Tensor, v: Tensor) -> Pair:
    seen = head.surface(*head.local(u, v))
    return seen.longitude, seen.latitude


def _read_cap(head: Head, u: Tensor, v: Tensor) -> Pair:
    seen = layers.cap_of(head, *head.local(u, v))
    return seen.longitude, seen.latitude


def _write_cap(head: Head, a: Tensor, b: Tensor) -> Pair:
    return head.project(a, b, layers.CAP_INFLATE * head.g.hair_volume - 1)


def _read_nose(head: Head, u: Tensor, v: Tensor) -> Pair:
    across, along, _ = face.nose_frame(shapes.nose(head), *head.local(u, v))
    return across, along


def _write_nose(head: Head, across: Tensor, along: Tensor) -> Pair:
    nose, clipped = shapes.nose(head), along.clamp(0, 1)
    x = nose.root[0] + clipped * (nose.tip[0] - nose.root[0]) + across * nose.width * (0.45 + 0.55 * clipped.square())
    return head.image(x, nose.root[1] + along * (nose.tip[1] - nose.root[1]))


def _mouth_curves(mouth: shapes.Mouth, x: Tensor) -> list[Tensor]:
    return [curve(x) for curve in (mouth.outer_upper, mouth.inner_upper, mouth.inner_lower, mouth.outer_lower)]


def _read_mouth(head: Head, u: Tensor, v: Tensor) -> Pair:
    """Second coordinate: 0 to 1 on the upper lip, to 2 between the lips, to 3 on the lower one."""
    mouth = shapes.mouth(head)
    s, t = mouth.chart.of(head.surface(*head.local(u, v)))
    x = (s / mouth.half_width).clamp(-1, 1)
    curves = _mouth_curves(mouth, x)
    bands = pairwise(curves)
    return x, sum(((t - top) / (low - top).clamp(min=1e-4)).clamp(0, 1) for top, low in bands) + torch.zeros_like(t)


def _write_mouth(head: Head, x: Tensor, band: Tensor) -> Pair:
    mouth = shapes.mouth(head)
    curves = _mouth_curves(mouth, x)
    t = curves[0]
    for number, (top, low) in enumerate(pairwise(curves)):
        t = t + (band - number).clamp(0, 1) * (low - top)
    return head.project(*mouth.chart.place(x * mouth.half_width, t))


def _eye(side: int) -> tuple[Callable[[Head, Tensor, Tensor], Pair], Callable[[Head, Tensor, Tensor], Pair]]:
    """Between the lids: 0 at the upper, 1 at the lower."""

    def read(head: Head, u: Tensor, v: Tensor) -> Pair:
        eye = shapes.eye(head, side)
        s, t = eye.chart.of(head.surface(*head.local(u, v)))
        x = s / eye.half_width
        upper, lower = eye.upper(x), eye.lower(x)
        return x, (t - upper) / (lower - upper).clamp(min=1e-4)

    def write(head: Head, x: Tensor, part: Tensor) -> Pair:
        eye = shapes.eye(head, side)
        return head.project(*eye.chart.place(x * eye.half_width, torch.lerp(eye.upper(x), eye.lower(x), part)))

    return read, write


def _iris(side: int) -> tuple[Callable[[Head, Tensor, Tensor], Pair], Callable[[Head, Tensor, Tensor], Pair]]:
    def read(head: Head, u: Tensor, v: Tensor) -> Pair:
        eye = shapes.eye(head, side)
        s, t = eye.chart.of(head.surface(*head.local(u, v)))
        centre_s, centre_t, radius = eye.iris()
        return (s - centre_s) / radius, (t - centre_t) / radius

    def write(head: Head, a: Tensor, b: Tensor) -> Pair:
        eye = shapes.eye(head, side)
        centre_s, centre_t, radius = eye.iris()
        return head.project(*eye.chart.place(centre_s + a * radius, centre_t + b * radius))

    return read, write


def _brow(side: int) -> tuple[Callable[[Head, Tensor, Tensor], Pair], Callable[[Head, Tensor, Tensor], Pair]]:
    def read(head: Head, u: Tensor, v: Tensor) -> Pair:
        brow = shapes.brow(head, side)
        s, t = brow.chart.of(head.surface(*head.local(u, v)))
        x = s / brow.half_width
        return x, (t - brow.spine(x)) / head.g.scale

    def write(head: Head, x: Tensor, off: Tensor) -> Pair:
        brow = shapes.brow(head, side)
        return head.project(*brow.chart.place(x * brow.half_width, brow.spine(x) + off * head.g.scale))

    return read, write


BAND = 0.05  # distance from the outline of the hair, in half image sides, within which places move with it
FROM_OUTLINE = 10.0  # added to the coordinates of these places, to mark them


def _painted(head: Head, u: Tensor, v: Tensor) -> Pair:
    """The frame in which the strands of falling hair are painted (`layers.back_hair`)."""
    g = head.g
    c, s = g.roll.cos(), g.roll.sin()
    du, dv = u - g.shift_x, v - g.shift_y
    return c * du + s * dv + 0.10 * g.yaw.sin(), c * dv - s * du


def _hair_outline(head: Head, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Half the width of the hair at heights y of that frame, where it starts, and where the falling hair ends."""
    g = head.g
    width, top = head.width * 1.17 * g.hair_volume, -0.15 * head.length
    skull = head.length * 1.09 * g.hair_volume
    bottom = top + 1.55 * g.hair_length * head.length
    around_skull = width * (1 - ((y + 0.04) / skull).square()).clamp(min=0).sqrt()
    falling = width * (1 + 0.06 * (y - top) / head.length) * (y > top)
    return torch.maximum(around_skull, falling), -skull - 0.04, bottom


def _read_back_hair(head: Head, u: Tensor, v: Tensor) -> Pair:
    """When hair grows or gains volume, its strands stay in place and its outline moves, as in the image."""
    x, y = _painted(head, u, v)
    half, upper, bottom = _hair_outline(head, y)
    across = torch.where(x.abs() > half - BAND, x.sign() * (FROM_OUTLINE + x.abs() - half), x)
    ends = (y > bottom - BAND) & (y < bottom + BAND / 4)
    down = torch.where(ends, FROM_OUTLINE + y - bottom, y)
    return across, torch.where(y < upper + BAND, y - upper - FROM_OUTLINE, down)


def _write_back_hair(head: Head, a: Tensor, b: Tensor) -> Pair:
    g = head.g
    _, upper, bottom = _hair_outline(head, b)
    inside = torch.minimum(b, torch.maximum(bottom, -upper - 0.08))  # short hair ends at the skull's lower edge
    y = torch.where(b > FROM_OUTLINE / 2, b - FROM_OUTLINE + bottom, inside)
    y = torch.where(b < -FROM_OUTLINE / 2, b + FROM_OUTLINE + upper, y)
    half, _, _ = _hair_outline(head, y)
    x = torch.where(a.abs() > FROM_OUTLINE / 2, a.sign() * (a.abs() - FROM_OUTLINE + half), a) - 0.10 * g.yaw.sin()
    c, s = g.roll.cos(), g.roll.sin()
    return c * x - s * y + g.shift_x, s * x + c * y + g.shift_y


def _body_centre(head: Head, v: Tensor) -> Tensor:
    g = head.g
    return 0.4 * g.shift_x + (0.85 - v).clamp(0, 1) * (0.7 * g.shift_x - 0.12 * g.roll.sin())


def _read_body(head: Head, u: Tensor, v: Tensor) -> Pair:
    return u - _body_centre(head, v), v


def _write_body(head: Head, a: Tensor, b: Tensor) -> Pair:
    return a + _body_centre(head, b), b


_SIDED = {
    f"{name} {word}": make(side)
    for name, make in (("eye", _eye), ("iris", _iris), ("brow", _brow))
    for word, side in (("left", -1), ("right", 1))
}
_BOTH: dict[str, tuple[Callable[[Head, Tensor, Tensor], Pair], Callable[[Head, Tensor, Tensor], Pair]]] = {
    "skin": (_read_skin, Head.project),
    "cap": (_read_cap, _write_cap),
    "nose": (_read_nose, _write_nose),
    "mouth": (_read_mouth, _write_mouth),
    "back hair": (_read_back_hair, _write_back_hair),
    "body": (_read_body, _write_body),
    **_SIDED,
}
_READ = {name: read for name, (read, _) in _BOTH.items()}
_WRITE = {name: write for name, (_, write) in _BOTH.items()}
