"""Everything but the face: background, hair, neck and clothes. Each layer is painted over the previous ones."""

import torch
from torch import Tensor

from autodrag.domains.synthface.canvas import Canvas, bump, cover, fade
from autodrag.domains.synthface.palette import Palette
from autodrag.domains.synthface.surface import Head, Surface
from autodrag.domains.synthface.textures import STRANDS, head_atlas, look_up, plane_atlas

CAP_INFLATE = 1.075


def background(canvas: Canvas, colours: Palette) -> None:
    """Two tones and a texture fixed to the image."""
    coarse, fine = look_up(plane_atlas(), canvas.u[:1], canvas.v[:1])[0, :2]
    fall = 0.5 + 0.35 * canvas.v[:1] + 0.22 * coarse
    canvas.image = torch.lerp(colours.background, colours.background_far, fall[:, None].clamp(0, 1))
    canvas.image = canvas.image * (1 + 0.042 * fine)


def back_hair(canvas: Canvas, head: Head, colours: Palette) -> None:
    """Hair behind the head: around the skull and down to the shoulders."""
    g = head.g
    c, s = g.roll.cos(), g.roll.sin()
    du, dv = canvas.u - g.shift_x, canvas.v - g.shift_y
    x = c * du + s * dv + 0.10 * g.yaw.sin()
    y = c * dv - s * du
    width, length = head.width * 1.17 * g.hair_volume, head.length
    skull = 1 - ((x / width).square() + ((y + 0.04) / (length * 1.09 * g.hair_volume)).square()).sqrt()
    top, bottom = -0.15 * length, (-0.15 + 1.55 * g.hair_length) * length
    corner = 0.16
    box_x = x.abs() - width * (1 + 0.06 * (y - top) / length) + corner
    box_y = (y - 0.5 * (top + bottom)).abs() - 0.5 * (bottom - top) + corner
    fall = corner - (box_x.clamp(min=0).square() + box_y.clamp(min=0).square()).sqrt()
    alpha = cover(torch.maximum(skull * width, fall), canvas.pixel)
    strands = look_up(plane_atlas(), x / 1.2, y / 1.6)[:, 3]
    shade = 0.72 + 0.14 * strands - 0.18 * bump(x / (0.75 * width), (y - 0.35) / 0.6)
    canvas.blend(colours.hair * shade[:, None], alpha)
    canvas.maps["hair"] = alpha


def body(canvas: Canvas, head: Head, colours: Palette) -> None:
    """Neck, shoulders and a collar, which follow the head only slightly."""
    g = head.g
    u, v = canvas.u, canvas.v
    centre = 0.4 * g.shift_x
    lean = (0.85 - v).clamp(0, 1) * (0.7 * g.shift_x - 0.12 * g.roll.sin())
    x = u - centre - lean
    flare = (v - 0.66).clamp(min=0)
    neck = cover(0.215 * g.scale + 0.9 * flare.square() - x.abs(), canvas.pixel) * cover(v - 0.2, canvas.pixel)
    collar = 1 - ((x / 0.34).square() + ((v - 0.74) / 0.15).square()).sqrt()
    shoulders = cover(v - 0.755 - 0.20 * x.abs().pow(1.6), canvas.pixel, 2.0)
    round_light = 1 - 0.30 * (x / 0.25).square().clamp(max=1)
    chin_shadow = 1 - 0.42 * torch.sigmoid((0.80 * head.length + g.shift_y + 0.10 - v) / 0.035)
    skin = colours.skin * (0.93 * round_light * chin_shadow)[:, None]
    weave = look_up(plane_atlas(), x, v)[:, 2]
    fold = 1 - 0.20 * bump((x.abs() - 0.62) / 0.22, (v - 1.0) / 0.25) + 0.06 * weave
    canvas.blend(colours.cloth * fold[:, None], shoulders)
    edge = cover(collar * 0.15, canvas.pixel) * shoulders
    canvas.darken(0.30 * bump(collar / 0.12) * shoulders)
    canvas.blend(skin, (neck * (1 - shoulders) + edge).clamp(max=1))
    canvas.hide(torch.maximum(torch.maximum(neck, edge), shoulders))


def hairline(longitude: Tensor) -> Tensor:
    """Latitude of the lower edge of the hair cap: a side parting, fringe and sideburns."""
    part = longitude + 0.16
    side = (longitude.abs() - 1.0).clamp(min=0)
    return (-0.86 + 0.34 * part.square() - 0.05 * torch.cos(5 * part) + 1.9 * side.square()).clamp(max=0.30)


def cap_of(head: Head, x: Tensor, y: Tensor) -> Surface:
    """Visible surface of the hair on top of the head, at each pixel."""
    return head.surface(x, y, CAP_INFLATE * head.g.hair_volume)


def hair_cap(canvas: Canvas, head: Head, cap: Surface, light: Tensor, colours: Palette) -> None:
    """The hair on top of the head, down to the hairline."""
    reach = (hairline(cap.longitude) - cap.latitude) * head.length
    alpha = cover(torch.minimum(reach, cap.inside), canvas.pixel, 2.0)
    strands = look_up(head_atlas(), cap.longitude / torch.pi, cap.latitude * (2 / torch.pi))[:, STRANDS]
    nx, ny, nz = cap.normal
    sheen = bump((cap.latitude + 0.95 - 0.12 * light * cap.longitude) / 0.20) * nz
    shade = 0.62 + 0.26 * (0.35 * light * nx - 0.55 * ny + 0.75 * nz) + 0.14 * strands
    front = torch.sigmoid((1.0 - cap.longitude.abs()) / 0.10)
    root = 0.22 * front * fade(reach / 0.045)
    canvas.blend((colours.hair * (shade - root)[:, None] + 0.12 * sheen[:, None]).clamp(0, 1), alpha)
    canvas.hide(alpha)
    canvas.maps["hair"] = torch.maximum(canvas.maps["hair"], alpha)
