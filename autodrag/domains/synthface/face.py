"""The face: shaded skin, then eyes, brows, nose and mouth, painted in charts of the head, so they rotate with it."""

import torch
from torch import Tensor

from autodrag.domains.synthface import shapes
from autodrag.domains.synthface.canvas import Canvas, bump, cover, fade
from autodrag.domains.synthface.layers import hairline
from autodrag.domains.synthface.palette import Palette
from autodrag.domains.synthface.surface import Head, Surface
from autodrag.domains.synthface.textures import FRECKLES, SKIN_LIGHT, SKIN_RED, head_atlas, look_up


def nose_frame(nose: shapes.Nose, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(across in local half-widths, along from 0 at the root to 1 at the tip, strength of the relief)."""
    along = (y - nose.root[1]) / (nose.tip[1] - nose.root[1])
    clipped = along.clamp(0, 1)
    middle = nose.root[0] + clipped * (nose.tip[0] - nose.root[0])
    across = (x - middle) / (nose.width * (0.45 + 0.55 * clipped.square()))
    strength = torch.sigmoid((along - 0.22) / 0.10) * torch.sigmoid((1.22 - along) / 0.05)
    return across, along, strength


def skin(canvas: Canvas, head: Head, seen: Surface, x: Tensor, y: Tensor, light: Tensor, colours: Palette) -> None:
    """The skin of the head, with the relief of nose and chin."""
    nose = shapes.nose(head)
    across, along, strength = nose_frame(nose, x, y)
    nx, ny, nz = seen.normal
    ridge = strength * bump(across)
    nx = nx + 0.95 * across * ridge
    tip_x, tip_y = (x - nose.tip[0]) / (0.85 * nose.width), (y - nose.tip[1]) / (0.75 * nose.width)
    tip = bump(tip_x, tip_y)
    ny = ny + 0.9 * tip_y * tip
    chin = bump(seen.longitude / 0.30, (seen.latitude - 1.02) / 0.16)
    ny = ny + 0.5 * (seen.latitude - 1.02) / 0.16 * chin
    norm = (nx.square() + ny.square() + nz.square()).rsqrt()
    lx, ly, lz = 0.50 * light, -0.48, 0.72
    lambert = (nx * lx + ny * ly + nz * lz) * norm * (lx**2 + ly**2 + lz**2) ** -0.5
    shade = 0.60 + 0.43 * lambert - 0.16 * (1 - seen.normal[2]).square()
    shade = shade - 0.16 * fade((seen.latitude - hairline(seen.longitude)) / 0.11)
    atlas = look_up(head_atlas(), seen.longitude / torch.pi, seen.latitude * (2 / torch.pi))
    shade = shade + 0.030 * atlas[:, SKIN_LIGHT]
    gloss = 0.10 * lambert.clamp(min=0).pow(10) + 0.07 * tip * strength
    base = colours.skin * shade[:, None] + gloss[:, None]
    rosy = sum(bump((seen.longitude - s * 0.66) / 0.26, (seen.latitude - 0.30) / 0.17) for s in (-1, 1))
    rosy = rosy + 0.5 * tip + 0.12 * atlas[:, SKIN_RED]
    hue = torch.tensor((0.35, -0.75, -0.55), dtype=base.dtype, device=base.device).view(1, 3, 1, 1)
    base = base + colours.blush * torch.as_tensor(rosy)[:, None] * hue
    base = base * (1 - 0.13 * atlas[:, FRECKLES])[:, None]
    alpha = cover(seen.inside, canvas.pixel)
    canvas.blend(base.clamp(0, 1), alpha)
    canvas.hide(alpha)
    canvas.maps |= {
        "head": alpha,
        "longitude": seen.longitude * alpha,
        "latitude": seen.latitude * alpha,
        "nose": ridge * torch.sigmoid((along - 0.3) / 0.1) * alpha,
    }


def nostrils(canvas: Canvas, head: Head, x: Tensor, y: Tensor, colours: Palette) -> None:
    """Nostrils, nasal wings and the shadow under the nose."""
    nose = shapes.nose(head)
    turn = head.g.yaw.cos()
    for side in (-1, 1):
        dx, dy = (x - nose.base[0]) / turn - side * 0.40 * nose.width, y - nose.base[1] + 0.010
        hole = cover(0.020 - ((dx * 0.9).square() + (dy * 1.7).square()).sqrt(), canvas.pixel, 2.5)
        wing_x, wing_y = (x - nose.base[0]) / turn - side * 0.66 * nose.width, y - nose.base[1] + 0.028
        wing = bump((torch.hypot(wing_x, wing_y) - 0.034) / 0.010) * torch.sigmoid(side * wing_x / 0.012)
        canvas.darken(0.22 * wing)
        canvas.blend(colours.skin * 0.30, 0.85 * hole)
    canvas.darken(0.10 * bump((x - nose.base[0]) / (0.9 * nose.width), (y - nose.base[1] - 0.028) / 0.020))


def eye(canvas: Canvas, head: Head, seen: Surface, side: int, colours: Palette) -> None:
    """Socket, eyeball, iris with highlight, and lids."""
    shape = shapes.eye(head, side)
    s, t = shape.chart.of(seen)
    x = s / shape.half_width
    upper, lower = shape.upper(x), shape.lower(x)
    face = canvas.maps["head"]
    canvas.darken(0.13 * bump(x / 1.25, (t + 0.02) / 0.085) * face)
    opening = (
        cover(torch.minimum(torch.minimum(t - upper, lower - t), (1 - x.abs()) * shape.half_width), canvas.pixel) * face
    )
    ball = torch.tensor((0.95, 0.94, 0.92), dtype=s.dtype, device=s.device).view(1, 3, 1, 1)
    lid_shadow = 0.34 * fade((t - upper) / 0.022) + 0.16 * x.square().clamp(max=1)
    canvas.blend(ball * (1 - lid_shadow)[:, None], opening)
    centre_s, centre_t, radius = shape.iris()
    ds, dt = s - centre_s, t - centre_t
    distance = torch.hypot(ds, dt)
    iris = cover(radius - distance, canvas.pixel) * opening
    glow = 0.72 + 0.50 * (dt / radius).clamp(-1, 1) * 0.6 - 0.55 * cover(distance - 0.80 * radius, canvas.pixel, 3.0)
    canvas.blend(colours.iris * (glow * (1 - 0.6 * lid_shadow))[:, None], iris)
    canvas.blend(torch.zeros_like(ball) + 0.03, cover(0.45 * radius - distance, canvas.pixel) * opening)
    spark = cover(0.24 * radius - torch.hypot(ds + 0.32 * radius, dt + 0.34 * radius), canvas.pixel, 2.0)
    canvas.blend(torch.ones_like(ball), 0.95 * spark * opening)
    _lids(canvas, head, shape, x, t, upper, lower, face)
    canvas.maps["eye"] = torch.maximum(canvas.maps["eye"], opening) if side > 0 else opening
    canvas.maps["iris"] = torch.maximum(canvas.maps["iris"], iris) if side > 0 else iris


def _lids(
    canvas: Canvas, head: Head, shape: shapes.Eye, x: Tensor, t: Tensor, upper: Tensor, lower: Tensor, face: Tensor
) -> None:
    scale = head.g.scale
    ends = cover((1.10 - x.abs()) * shape.half_width, canvas.pixel, 3.0) * face
    thick = scale * (0.0085 + 0.006 * (shape.side * x).clamp(-1, 1.1))
    lash = cover(thick - (t - upper + 0.35 * thick).abs(), canvas.pixel) * ends
    crease = bump((t - upper + 0.032 * scale) / (0.009 * scale)) * ends * (1 - (x / 1.1).square()).clamp(min=0)
    under = bump((t - lower) / (0.008 * scale)) * ends
    canvas.darken(0.28 * crease)
    canvas.darken(0.30 * under)
    canvas.blend(torch.full_like(canvas.image[:, :, :1, :1], 0.06), 0.9 * lash)


def brow(canvas: Canvas, head: Head, seen: Surface, side: int, colours: Palette) -> None:
    """A brow, in a darker hair colour."""
    shape = shapes.brow(head, side)
    s, t = shape.chart.of(seen)
    x = s / shape.half_width
    bounded = x.clamp(-1.02, 1.02)
    body = shape.thickness(bounded) - (t - shape.spine(bounded)).abs()
    ends = (1.02 - x.abs()) * shape.half_width
    alpha = cover(torch.minimum(body, ends), canvas.pixel, 2.5) * canvas.maps["head"]
    canvas.blend(0.55 * colours.hair + 0.04, 0.88 * alpha)
    canvas.maps["brow"] = torch.maximum(canvas.maps["brow"], alpha) if side > 0 else alpha


def mouth(canvas: Canvas, head: Head, seen: Surface, colours: Palette) -> None:
    """Lips, and between them the inside of the mouth or a seam where they meet."""
    shape = shapes.mouth(head)
    s, t = shape.chart.of(seen)
    x = s / shape.half_width
    scale = head.g.scale
    face = canvas.maps["head"] * cover((1.02 - x.abs()) * shape.half_width, canvas.pixel, 2.0)
    inner_top, inner_low = shape.inner_upper(x), shape.inner_lower(x)
    outer_top, outer_low = shape.outer_upper(x), shape.outer_lower(x)
    lips = cover(torch.minimum(t - outer_top, outer_low - t), canvas.pixel, 2.0) * face
    canvas.darken(0.20 * bump(x / 0.55, (t - outer_low - 0.022 * scale) / (0.020 * scale)) * canvas.maps["head"])
    fullness = (t - inner_low) / (outer_low - inner_low).clamp(min=1e-3)
    gleam = 0.16 * bump((fullness - 0.45) / 0.28, x / 0.45)
    upper_shade = 0.20 * torch.sigmoid((inner_top - t) / 0.006)
    canvas.blend((colours.lips * (0.98 - upper_shade)[:, None] + gleam[:, None]).clamp(0, 1), lips)
    gap = cover(torch.minimum(t - inner_top, inner_low - t), canvas.pixel, 1.5) * face
    canvas.blend(_inside(x, t, inner_top, inner_low), gap)
    seam = bump((t - 0.5 * (inner_top + inner_low)) / (0.007 * scale + 0.35 * (inner_low - inner_top))) * (1 - gap)
    canvas.darken(0.55 * seam * face * (1 - x.pow(4)).clamp(min=0))
    corners = sum(bump((x - e) / 0.09, (t - shape.centre_line(x)) / (0.016 * scale)) for e in (-1, 1))
    canvas.darken(0.30 * torch.as_tensor(corners) * canvas.maps["head"])
    canvas.maps |= {"lip": lips * (1 - gap), "mouth": gap}


def _inside(x: Tensor, t: Tensor, top: Tensor, low: Tensor) -> Tensor:
    """Colour of the inside of the mouth: teeth, dark throat and tongue, from top to bottom."""
    depth = (t - top) / (low - top).clamp(min=1e-3)
    teeth = torch.sigmoid((0.42 - depth) / 0.05) * (1 - 0.35 * x.square())
    tongue = 0.8 * torch.sigmoid((depth - 0.68) / 0.08)
    dark, white, red = (
        torch.tensor(c, dtype=x.dtype, device=x.device).view(1, 3, 1, 1)
        for c in ((0.20, 0.05, 0.06), (0.96, 0.95, 0.91), (0.68, 0.28, 0.28))
    )
    colour = dark + (red - dark) * tongue[:, None]
    return colour + (white - colour) * teeth[:, None]
