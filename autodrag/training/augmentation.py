"""Augmentation of trajectories: reversed, partial or single-step motions, no motion, or other kept rows.

Ours, not the paper's (all shares 0: the paper). A model trained only on whole motions from sampled latents overshoots
on short drags, and drifts when a drag starts from the result of another.
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
from autodrag.latents import join, progress, split, walk


@dataclass(frozen=True)
class AugmentationConfig:
    """Shares of the samples, each in [0, 1]. The remainder of still, short and backwards are whole forward motions.

    Backward motions always take their kept rows from another latent: those of w_0 would reveal the end of the motion,
    and the model would learn to undo every edit.
    """

    still: float  # no motion: targets equal handles
    short: float  # a single step of a motion, with the points of that step
    backwards: float  # from w_n to w_0
    partial: float  # share of whole and backward motions cut at a uniform fraction; points move in a straight line
    mixed: float  # share of all samples with kept rows of another latent


def check_shares(config: AugmentationConfig) -> None:
    """Raises InputError for shares outside [0, 1] or with a sum above 1."""
    shares = (config.still, config.short, config.backwards)
    if min(shares) < 0 or sum(shares) > 1:
        raise InputError(
            f"stage2.augmentation has still={shares[0]:g}, short={shares[1]:g}, backwards={shares[2]:g}, expected "
            "shares from 0 to 1 with a sum of at most 1."
        )
    for name in ("partial", "mixed"):
        if not 0 <= (share := getattr(config, name)) <= 1:
            raise InputError(f"stage2.augmentation.{name} is {share:g}, expected a share from 0 to 1.")


def vary(
    sample: Sample,
    other: Float[Tensor, "L D"],
    config: AugmentationConfig,
    n: int,
    max_points: int,
    stream: torch.Generator,
) -> Sample:
    """Augment a sample at random and resample it to n steps. other: latent that mixed samples take kept rows from."""
    kind, mixed, shortened, way = torch.rand(4, generator=stream).tolist()
    before_back = config.still + config.short
    back = before_back <= kind < before_back + config.backwards
    if kind < config.still:
        varied = still(sample, n)
    elif kind < before_back:
        varied = short(sample, n, max_points, stream)
    else:
        varied = backwards(sample, n) if back else in_steps(sample, n)
        varied = partial(varied, way) if shortened < config.partial else varied
    return with_kept_rows(varied, other) if back or mixed < config.mixed else varied


def with_kept_rows(sample: Sample, other: Float[Tensor, "L D"]) -> Sample:
    """The same motion with the kept rows of another latent. Points do not change."""
    head, _ = split(sample.ws)
    return replace(sample, ws=join(head, split(other)[1].to(head).expand(len(head), -1, -1)))


def still(sample: Sample, n: int) -> Sample:
    """w_0 repeated n + 1 times, with the targets at the handles."""
    return _without_steps(replace(sample, ws=sample.ws[:1].expand(n + 1, -1, -1), targets=sample.handles), n)


def short(sample: Sample, n: int, max_points: int, stream: torch.Generator) -> Sample:
    """A random step that has matches, divided into n steps; the whole motion if no step has any."""
    matched = [i for i, points in enumerate(sample.step_handles) if len(points)]
    if not matched:
        return in_steps(sample, n)
    i = matched[int(torch.randint(len(matched), (), generator=stream))]
    count = int(exp(torch.rand((), generator=stream).item() * log(max_points + 1)))
    some = torch.randperm(len(sample.step_handles[i]), generator=stream)[:count]
    ws = walk(sample.ws[i], sample.ws[i + 1], progress(sample.ws, n))
    return _without_steps(
        replace(sample, ws=ws, handles=sample.step_handles[i][some], targets=sample.step_targets[i][some]), n
    )


def backwards(sample: Sample, n: int) -> Sample:
    """The motion from w_n to w_0, with the relative step lengths of the forward one."""
    ws = walk(sample.ws[-1], sample.ws[0], progress(sample.ws, n))
    return _without_steps(replace(sample, ws=ws, handles=sample.targets, targets=sample.handles), n)


def partial(sample: Sample, way: float) -> Sample:
    """The motion scaled to a fraction `way` of its length, in the same number of steps."""
    ws = torch.lerp(sample.ws[:1], sample.ws, way)
    targets = torch.lerp(sample.handles, sample.targets, way)
    return _without_steps(replace(sample, ws=ws, targets=targets), len(sample.step_handles))


def check_steps(trajectory: TrajectoryConfig, n: int) -> None:
    """Raises InputError if the steps of whole motions have no points for L_drag after `in_steps`."""
    if n == 1 or (trajectory.match_steps and trajectory.steps == n):
        return
    stored = f"matches of {trajectory.steps} steps" if trajectory.match_steps else "no matches of single steps"
    raise InputError(
        f"These trajectories hold {stored}, but L_drag needs those of model.steps={n}: make new ones in another folder "
        f"with trajectory.match_steps=true trajectory.in_steps={n} and set data= to it, or set stage2.beta=0."
    )


def in_steps(sample: Sample, n: int) -> Sample:
    """Resample a motion to n steps: unchanged if it has n, else along the straight line from w_0 to w_n.

    Resampled steps have no matched points (`check_steps`), except for n = 1, which uses those of (I_0, I_n).
    """
    if n == len(sample.step_handles):
        return sample
    ws = walk(sample.ws[0], sample.ws[-1], progress(sample.ws, n))
    if n == 1:
        return replace(sample, ws=ws, step_handles=[sample.handles], step_targets=[sample.targets])
    return _without_steps(replace(sample, ws=ws), n)


def _without_steps(sample: Sample, n: int) -> Sample:
    """The sample with n steps without matched points."""
    none: Sequence[Tensor] = [sample.handles[:0]] * n
    return replace(sample, step_handles=list(none), step_targets=list(none))
