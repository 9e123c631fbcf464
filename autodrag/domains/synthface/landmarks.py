"""The exact 68 landmarks in iBUG order, projected from the renderer's curves."""

import torch
from jaxtyping import Float
from torch import Tensor

from autodrag.domains.synthface import shapes
from autodrag.domains.synthface.surface import Head


def landmarks(head: Head, size: int) -> Float[Tensor, "B 68 2"]:
    """(x, y) pixels of a `size` x `size` image: jaw 0-16, brows 17-26, nose 27-35, eyes 36-47, mouth 48-67."""
    parts = [
        _jaw(head),
        *(_brow(head, s) for s in (-1, 1)),
        _nose(head),
        *(_eye(head, s) for s in (-1, 1)),
        _mouth(head),
    ]
    x, y = (torch.cat([p[axis] for p in parts], dim=2) for axis in (0, 1))
    points = torch.stack([x, y], dim=-1).squeeze(1)
    return (points + 1) * (size / 2) - 0.5


def _row(values: list[float], like: Tensor) -> Tensor:
    return torch.tensor(values, dtype=like.dtype, device=like.device).view(1, 1, -1)


def _jaw(head: Head) -> tuple[Tensor, Tensor]:
    turn = torch.linspace(-1, 1, 17, dtype=head.width.dtype, device=head.width.device).view(1, 1, -1)
    # From ear to ear around the chin: the outline of the head in the frontal view.
    longitude = 1.45 * turn.sign() * turn.abs().pow(0.55)
    latitude = 1.42 - 1.45 * turn.square()
    return head.project(longitude.expand_as(head.width * longitude), latitude.expand_as(head.width * latitude))


def _brow(head: Head, side: int) -> tuple[Tensor, Tensor]:
    brow = shapes.brow(head, side)
    x = _row([-0.95, -0.5, 0.0, 0.5, 0.95], head.width)
    return head.project(*brow.chart.place(x * brow.half_width, brow.spine(x)))


def _nose(head: Head) -> tuple[Tensor, Tensor]:
    nose = shapes.nose(head)
    along = _row([0.0, 0.36, 0.70, 1.0], head.width)
    across = _row([-0.85, -0.45, 0.0, 0.45, 0.85], head.width)
    sag = _row([-0.022, -0.004, 0.006, -0.004, -0.022], head.width)
    turn = head.g.yaw.cos()
    x = torch.cat(
        [nose.root[0] + along * (nose.tip[0] - nose.root[0]), nose.base[0] + across * nose.width * turn], dim=2
    )
    y = torch.cat([nose.root[1] + along * (nose.tip[1] - nose.root[1]), nose.base[1] + sag * head.g.scale], dim=2)
    return head.image(x, y)


def _eye(head: Head, side: int) -> tuple[Tensor, Tensor]:
    eye = shapes.eye(head, side)
    x_up, x_low = _row([-1.0, -0.38, 0.38, 1.0], head.width), _row([0.38, -0.38], head.width)
    t = torch.cat([eye.upper(x_up), eye.lower(x_low)], dim=2)
    return head.project(*eye.chart.place(torch.cat([x_up, x_low], dim=2) * eye.half_width, t))


def _mouth(head: Head) -> tuple[Tensor, Tensor]:
    mouth = shapes.mouth(head)
    curves = (
        (mouth.outer_upper, [-1.0, -0.60, -0.22, 0.0, 0.22, 0.60, 1.0]),
        (mouth.outer_lower, [0.60, 0.25, 0.0, -0.25, -0.60]),
        (mouth.inner_upper, [-0.86, -0.32, 0.0, 0.32, 0.86]),
        (mouth.inner_lower, [0.32, 0.0, -0.32]),
    )
    x = [_row(places, head.width) for _, places in curves]
    t = torch.cat([curve(p).expand_as(head.width * p) for (curve, _), p in zip(curves, x, strict=True)], dim=2)
    return head.project(*mouth.chart.place(torch.cat(x, dim=2) * mouth.half_width, t))
