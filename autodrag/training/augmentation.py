"""The drags that training shows besides whole motions: backwards, a single step of one, none at all, or in other steps.

A model that has only seen long drags from samples overshoots on short ones and drifts when it is asked again from where
it ended. None of this is in the paper; with all shares at 0 the samples are the paper's.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp, log

import torch
from jaxtyping import Float
from torch import Tensor

from autodrag.data.dataset import Sample
from autodrag.data.trajectories import TrajectoryConfig
from autodrag.errors import InputError
from autodrag.latents import join, pace, split, walk


@dataclass(frozen=True)
class AugmentationConfig:
    """Shares of the samples, each in [0, 1]; still, short and backwards together at most 1, the rest are whole motions.

    still: targets on the handles, and nothing moves. short: one step of the motion as a drag of its own, with that
    step's points. backwards: from w_n to w_0.
    part: of the drags in either direction, the share that ends a part of the way, evenly distributed, over which points
    are taken to move in a straight line.
    mixed: whose kept rows are another latent's. Those of backward motions always are: w_0's own would tell where to go,
    and the model would learn to undo every edit.
    """

    still: float
    short: float
    backwards: float
    part: float
    mixed: float


def check_shares(config: AugmentationConfig) -> None:
    """Raises InputError for shares that are none."""
    shares = (config.still, config.short, config.backwards)
    if min(shares) < 0 or sum(shares) > 1:
        raise InputError(
            f"stage2.augmentation still={shares[0]:g}, short={shares[1]:g}, backwards={shares[2]:g} are no shares: "
            "choose numbers from 0 on whose sum is at most 1."
        )
    for name in ("part", "mixed"):
        if not 0 <= (share := getattr(config, name)) <= 1:
            raise InputError(f"stage2.augmentation.{name} is {share:g}, expected a share from 0 to 1.")


def vary(
    sample: Sample,
    stranger: Float[Tensor, "L D"],
    config: AugmentationConfig,
    n: int,
    max_points: int,
    stream: torch.Generator,
) -> Sample:
    """One of the variants, by chance, in n steps. stranger: the latent that kept rows are taken from."""
    kind, mixed, shortened, way = torch.rand(4, generator=stream).tolist()
    before_back = config.still + config.short
    back = before_back <= kind < before_back + config.backwards
    if kind < config.still:
        varied = still(sample, n)
    elif kind < before_back:
        varied = short(sample, n, max_points, stream)
    else:
        varied = backwards(sample, n) if back else in_steps(sample, n)
        varied = part(varied, way) if shortened < config.part else varied
    return with_kept_rows(varied, stranger) if back or mixed < config.mixed else varied


def with_kept_rows(sample: Sample, other: Float[Tensor, "L D"]) -> Sample:
    """The same motion of the edited rows, the rows below them from another latent. Points are taken to stay."""
    head, _ = split(sample.ws)
    return replace(sample, ws=join(head, split(other)[1].to(head).expand(len(head), -1, -1)))


def still(sample: Sample, n: int) -> Sample:
    """Nothing moves."""
    return _without_steps(replace(sample, ws=sample.ws[:1].expand(n + 1, -1, -1), targets=sample.handles), n)


def short(sample: Sample, n: int, max_points: int, stream: torch.Generator) -> Sample:
    """One of the steps that have matches, in n smaller ones; the motion itself where no step has any."""
    matched = [i for i, points in enumerate(sample.step_handles) if len(points)]
    if not matched:
        return in_steps(sample, n)
    i = matched[int(torch.randint(len(matched), (), generator=stream))]
    count = int(exp(torch.rand((), generator=stream).item() * log(max_points + 1)))
    some = torch.randperm(len(sample.step_handles[i]), generator=stream)[:count]
    ws = walk(sample.ws[i], sample.ws[i + 1], pace(sample.ws, n))
    return _without_steps(
        replace(sample, ws=ws, handles=sample.step_handles[i][some], targets=sample.step_targets[i][some]), n
    )


def backwards(sample: Sample, n: int) -> Sample:
    """From w_n to w_0, as fast at first and as slow in the end as the motion itself."""
    ws = walk(sample.ws[-1], sample.ws[0], pace(sample.ws, n))
    return _without_steps(replace(sample, ws=ws, handles=sample.targets, targets=sample.handles), n)


def part(sample: Sample, way: float) -> Sample:
    """The same number of steps towards the same end, but only that part of the way."""
    ws = torch.lerp(sample.ws[:1], sample.ws, way)
    targets = torch.lerp(sample.handles, sample.targets, way)
    return _without_steps(replace(sample, ws=ws, targets=targets), len(sample.step_handles))


def check_steps(trajectory: TrajectoryConfig, n: int) -> None:
    """Raises InputError where `in_steps` has no points for the steps of a whole motion: L_drag would see none."""
    if n == 1 or (trajectory.match_steps and trajectory.steps == n):
        return
    held = f"matches of {trajectory.steps} steps" if trajectory.match_steps else "no matches of single steps"
    raise InputError(
        f"These trajectories hold {held}, but L_drag needs those of model.steps={n}: make some in another folder with "
        f"trajectory.match_steps=true trajectory.in_steps={n} and name it by data=, or do without by stage2.beta=0."
    )


def in_steps(sample: Sample, n: int) -> Sample:
    """The same motion in n steps: as it is where it has n, else along the straight line from w_0 to w_n.

    Of those steps nobody has matched the images (`check_steps`), unless it is one: that from w_0 to w_n.
    """
    if n == len(sample.step_handles):
        return sample
    ws = walk(sample.ws[0], sample.ws[-1], pace(sample.ws, n))
    if n == 1:
        return replace(sample, ws=ws, step_handles=[sample.handles], step_targets=[sample.targets])
    return _without_steps(replace(sample, ws=ws), n)


def _without_steps(sample: Sample, n: int) -> Sample:
    """Nobody has matched the images of these steps."""
    none: Sequence[Tensor] = [sample.handles[:0]] * n
    return replace(sample, step_handles=list(none), step_targets=list(none))
