"""Latents: the rows that drags edit, corruption for stage 1 (Eq. 1) and pseudo-trajectories (Eq. 7)."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

EDITED_ROWS = 6  # section 3.1: the first six layers control spatial attributes; the others are kept


def split(ws: Float[Tensor, "*batch L D"]) -> tuple[Float[Tensor, "*batch K D"], Float[Tensor, "*batch M D"]]:
    """(edited rows 0-5, kept rows 6..), the paper's w1 and w2, as views."""
    return ws[..., :EDITED_ROWS, :], ws[..., EDITED_ROWS:, :]


def join(head: Float[Tensor, "*batch K D"], tail: Float[Tensor, "*batch M D"]) -> Float[Tensor, "*batch L D"]:
    """The inverse of `split`."""
    return torch.cat([head, tail], dim=-2)


def corrupt(
    ws: Float[Tensor, "B L D"],
    std: Float[Tensor, " D"],
    noise: float,
    drop: float,
    granularity: Literal["element", "row"],
    rng: torch.Generator,
) -> Float[Tensor, "B L D"]:
    """Corrupt latents for the regularizer; rows 6.. stay clean.

    std: standard deviation of W per dimension. noise: sigma of N as a multiple of `std`. drop: probability that M is
    zero, per element or per row (granularity). rng: on the CPU, so that draws do not depend on the device of `ws`.
    """
    head, tail = split(ws)
    shape = head.shape if granularity == "element" else (*head.shape[:-1], 1)
    keep = torch.rand(shape, generator=rng) >= drop
    gauss = torch.randn(head.shape, generator=rng)
    # Eq. 1: w' = w * M + N
    return join(head * keep.to(head) + noise * std.to(head) * gauss.to(head), tail)


def constant_fractions(lam: Float[Tensor, " B"], n: int, direction: Literal["away", "toward"]) -> Float[Tensor, "B n"]:
    """Constant lambda of Eq. 7, as the signed fraction of the distance to w* covered by each step.

    "away": as in Eq. 7, the distance to w* grows by (1 + lambda) per step; "toward": as in UserControllableLT.
    """
    signed = -lam if direction == "away" else lam
    return signed[:, None].expand(-1, n)


def jump_fractions(batch: int, n: int) -> Float[Tensor, "B n"]:
    """Fractions that reach w* in n equal steps: w_i = w_0 + i/n (w* - w_0)."""
    return (1 / torch.arange(n, 0, -1)).expand(batch, n)


def perturb(
    ws: Float[Tensor, "B L D"], stars: Float[Tensor, "B n K D"], fractions: Float[Tensor, "B n"]
) -> Float[Tensor, "B steps L D"]:
    """The latent motion w_0..w_n, [B, n + 1, L, D]; rows 6.. are those of w_0.

    stars: edited rows of w* for each step. fractions: signed, as in `constant_fractions`.
    """
    head, tail = split(ws)
    heads = [head]
    for i in range(fractions.shape[1]):
        # Eq. 7: w_i = w_{i-1} - lambda (w* - w_{i-1}), with fraction = -lambda
        heads.append(heads[-1] + fractions[:, i, None, None].to(ws) * (stars[:, i] - heads[-1]))
    sequence = torch.stack(heads, dim=1)
    return join(sequence, tail[:, None].expand(-1, len(heads), -1, -1))


def progress(ws: Float[Tensor, "steps L D"], n: int) -> Float[Tensor, " waypoints"]:
    """Cumulative fractions of the distance from w_0 to w_n at n + 1 waypoints; n may differ from the motion's steps."""
    way = (ws[-1] - ws[0]).flatten()
    length = way.square().sum()
    if length == 0:
        return torch.linspace(0, 1, n + 1, device=ws.device, dtype=ws.dtype)
    behind = ((ws - ws[0]).flatten(1) * way).sum(dim=1) / length  # [steps]
    at = torch.linspace(0, len(ws) - 1, n + 1, device=ws.device, dtype=ws.dtype)
    low = at.long().clamp(max=len(ws) - 2)
    return torch.lerp(behind[low], behind[low + 1], at - low)


def walk(
    start: Float[Tensor, "*batch L D"], end: Float[Tensor, "*batch L D"], fractions: Float[Tensor, "*batch waypoints"]
) -> Float[Tensor, "*batch waypoints L D"]:
    """Points on the straight line from start to end at the given fractions."""
    return start.unsqueeze(-3) + fractions[..., None, None] * (end - start).unsqueeze(-3)
