"""Colours of a synthface from its appearance values: RGB in [0, 1], [B, 3, 1, 1] each."""

from dataclasses import dataclass

import torch
from torch import Tensor

from autodrag.domains.synthface.parameters import Values

Colour = tuple[float, float, float]


def mix(low: Colour, middle: Colour, high: Colour, position: Tensor) -> Tensor:
    """Piecewise linear interpolation of three colours at position [B, 1, 1] in [-1, 1]."""
    a, b, c = (
        torch.tensor(x, dtype=position.dtype, device=position.device).view(1, 3, 1, 1) for x in (low, middle, high)
    )
    p = position[:, None]
    return b + (c - b) * p.clamp(min=0) + (a - b) * (-p).clamp(min=0)


def tint(colour: Tensor, direction: Colour, amount: Tensor) -> Tensor:
    """The colour shifted along `direction` by amount [B, 1, 1]."""
    shift = torch.tensor(direction, dtype=colour.dtype, device=colour.device).view(1, 3, 1, 1)
    return (colour + shift * amount[:, None]).clamp(0.02, 1.0)


@dataclass(frozen=True)
class Palette:
    """The colour of each surface; blush is a strength."""

    skin: Tensor
    blush: Tensor
    hair: Tensor
    iris: Tensor
    lips: Tensor
    background: Tensor
    background_far: Tensor
    cloth: Tensor


def palette(a: Values) -> Palette:
    """The colours of appearance values."""
    skin = mix((0.40, 0.25, 0.18), (0.76, 0.55, 0.43), (0.97, 0.82, 0.73), a.skin_tone)
    skin = tint(skin, (0.035, 0.0, -0.045), a.skin_warmth)
    hair = mix((0.07, 0.06, 0.07), (0.30, 0.18, 0.11), (0.83, 0.66, 0.42), a.hair_tone)
    hair = tint(hair, (0.13, -0.01, -0.07), a.hair_warmth)
    iris = mix((0.20, 0.42, 0.70), (0.25, 0.48, 0.36), (0.42, 0.25, 0.12), a.iris_hue)
    lips = mix((0.62, 0.25, 0.25), (0.78, 0.36, 0.36), (0.86, 0.48, 0.44), a.lip_tone)
    background = mix((0.24, 0.28, 0.36), (0.50, 0.56, 0.60), (0.84, 0.86, 0.86), a.background_tone)
    background = tint(tint(background, (0.12, -0.02, -0.12), a.background_a), (-0.09, 0.08, -0.05), a.background_b)
    cloth = mix((0.16, 0.17, 0.24), (0.40, 0.42, 0.50), (0.85, 0.83, 0.80), a.cloth_tone)
    cloth = tint(tint(cloth, (0.22, -0.04, -0.16), a.cloth_a), (-0.10, 0.14, -0.06), a.cloth_b)
    return Palette(
        skin=skin,
        blush=0.10 * (0.6 + 0.4 * a.blush)[:, None],
        hair=hair,
        iris=tint(iris, (0.10, 0.10, 0.10), a.iris_tone),
        lips=0.65 * lips
        + 0.35 * skin * torch.tensor((1.0, 0.72, 0.72), dtype=skin.dtype, device=skin.device).view(1, 3, 1, 1),
        background=background,
        background_far=tint(background * 0.72, (0.03, -0.02, 0.05), a.background_a),
        cloth=cloth,
    )
