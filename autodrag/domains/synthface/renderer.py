"""The procedural face: (geometry, appearance) -> image, landmarks and maps; deterministic and batched."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from autodrag.domains.synthface import face, layers
from autodrag.domains.synthface.canvas import MAPS, Canvas
from autodrag.domains.synthface.landmarks import landmarks
from autodrag.domains.synthface.palette import palette
from autodrag.domains.synthface.parameters import APPEARANCE, GEOMETRY, values
from autodrag.domains.synthface.surface import Head

SIZE = 256


@dataclass(frozen=True)
class Render:
    """image [B, 3, S, S] in [-1, 1]; landmarks [B, 68, 2] in pixels; maps [B, len(MAPS), S, S] in the order of MAPS."""

    image: Tensor
    landmarks: Tensor
    maps: Tensor


@torch.no_grad()
def render(geometry: Float[Tensor, "B G"], appearance: Float[Tensor, "B A"], size: int = SIZE) -> Render:
    """Render faces. Parameters are in [-1, 1], in the order of parameters.GEOMETRY and parameters.APPEARANCE."""
    head, looks = Head(values(geometry, GEOMETRY)), values(appearance, APPEARANCE)
    colours, light = palette(looks), looks.light
    canvas = Canvas(len(geometry), size, geometry)
    layers.background(canvas, colours)
    layers.back_hair(canvas, head, colours)
    layers.body(canvas, head, colours)
    x, y = head.local(canvas.u, canvas.v)
    seen = head.surface(x, y)
    face.skin(canvas, head, seen, x, y, light, colours)
    face.nostrils(canvas, head, x, y, colours)
    for side in (-1, 1):
        face.eye(canvas, head, seen, side, colours)
        face.brow(canvas, head, seen, side, colours)
    face.mouth(canvas, head, seen, colours)
    layers.hair_cap(canvas, head, layers.cap_of(head, x, y), light, colours)
    maps = torch.stack([canvas.maps[name] for name in MAPS], dim=1)
    return Render(canvas.image.clamp(0, 1) * 2 - 1, landmarks(head, size), maps)
