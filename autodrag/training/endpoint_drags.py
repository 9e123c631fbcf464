"""Drags between the ends of motions, as latents and points without images: thousands per second."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import exp, log

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from autodrag.data.dataset import Trajectories
from autodrag.data.matching import Matches
from autodrag.data.trajectories import latent_motion
from autodrag.errors import InputError
from autodrag.latents import split
from autodrag.seeding import rng

CHUNK = 500  # motions whose latents are mapped at once


@dataclass(frozen=True)
class EndsConfig:
    """How drags are sampled."""

    points: int  # maximum pairs per sample; the number is log-uniform from 1 and the same for a whole batch
    landmarks: float  # share of the batches that use landmarks as points instead of matches
    far: float  # share of the samples of those batches that end at the face of another motion
    partial: float  # share of drags cut at a uniform fraction of their length; points move in a straight line
    still: float  # share without motion
    validation: int  # motions held out for validation


@dataclass(frozen=True)
class EndsBatch:
    """A batch of drags in W with their points."""

    source: Float[Tensor, "B K D"]  # edited rows at the start
    goal: Float[Tensor, "B K D"]  # edited rows at the end
    handles: Float[Tensor, "B P 2"]  # image pixels at the start
    targets: Float[Tensor, "B P 2"]  # the same points at the end
    mask: Bool[Tensor, "B P"]  # False at padding


@dataclass(frozen=True)
class _Ends:
    """Both ends of all motions, with points of one kind."""

    rows: Float[Tensor, "N 2 K D"]  # edited rows of w_0 and w_n
    points: Float[Tensor, "N 2 P 2"]  # in I_0 and in I_n, image pixels
    mask: Bool[Tensor, "N P"]  # False at padding

    def part(self, which: slice) -> "_Ends":
        """A slice of the motions."""
        return _Ends(self.rows[which], self.points[which], self.mask[which])


class Ends:
    """Samples drags between the ends of motions, in both directions.

    section: name of the stage's config section. Raises InputError if config.validation leaves no motions for training.
    """

    def __init__(self, trajectories: Trajectories, config: EndsConfig, seed: int, section: str) -> None:
        if not 0 < config.validation < len(trajectories):
            raise InputError(
                f"{section}.validation={config.validation} leaves no trajectories for training or none for validation: "
                f"there are {len(trajectories)}. Choose another number, or make more."
            )
        self.config, self._seed, self._section = config, seed, section
        rows = _rows(trajectories)
        matches = _ends(rows, [motion.ends for motion in trajectories.motions])
        landmarks = _ends(rows, [motion.landmarks for motion in trajectories.motions])
        shown, validation = slice(None, -config.validation), slice(-config.validation, None)
        self._shown = {"matches": matches.part(shown), "landmarks": landmarks.part(shown)}
        self._validation = {"matches": matches.part(validation), "landmarks": landmarks.part(validation)}

    def batch(self, positions: Sequence[int], device: torch.device) -> EndsBatch:
        """Drags between random ends: a function of the seed and the first position.

        The whole batch uses one random stream: one per sample would take longer than the training step.
        """
        config = self.config
        stream = rng(self._seed, self._section, positions[0])
        kind, number = torch.rand(2, generator=stream).tolist()
        landmarks = kind < config.landmarks and bool(self._shown["landmarks"].mask.any())
        ends = self._shown["landmarks" if landmarks else "matches"]
        usable = ends.mask.any(dim=1).nonzero()[:, 0]
        size = len(positions)
        first, other = usable[torch.randint(len(usable), (2, size), generator=stream)].unbind()
        side = torch.randint(2, (2, size), generator=stream)
        chance = torch.rand(4, size, generator=stream)
        far = (chance[0] < config.far) & landmarks
        last, last_side = torch.where(far, other, first), torch.where(far, side[1], 1 - side[0])
        still = chance[1] < config.still
        last, last_side = torch.where(still, first, last), torch.where(still, side[0], last_side)
        count = int(exp(number * log(config.points + 1)))
        order = torch.rand(ends.mask.shape, generator=stream)[first]
        way = torch.where(chance[2] < config.partial, chance[3], 1.0)
        return _drags(ends, (first, side[0]), (last, last_side), order, count, way, device)

    def validation(self, device: torch.device) -> Iterator[tuple[str, EndsBatch]]:
        """Yield the validation motions from w_0 to w_n, named by kind and number of points, e.g. `matches_5`."""
        for kind, ends in self._validation.items():
            known = ends.mask.any(dim=1).nonzero()[:, 0]
            if len(known) == 0:
                continue
            order = torch.rand(ends.mask.shape, generator=rng(self._seed, f"{self._section} held out {kind}"))[known]
            start, goal = torch.zeros_like(known), torch.ones_like(known)
            for count in sorted({1, min(5, self.config.points), self.config.points}):
                yield f"{kind}_{count}", _drags(ends, (known, start), (known, goal), order, count, 1.0, device)


def _drags(
    ends: _Ends,
    start: tuple[Int[Tensor, " B"], Int[Tensor, " B"]],
    goal: tuple[Int[Tensor, " B"], Int[Tensor, " B"]],
    order: Float[Tensor, "B P"],
    count: int,
    way: Float[Tensor, " B"] | float,
    device: torch.device,
) -> EndsBatch:
    """Drags between pairs (motion, end).

    order: the `count` points with the largest values are used. way: fraction of the distance to the goal.
    """
    mask = ends.mask[start[0]] & ends.mask[goal[0]]
    chosen = order.masked_fill(~mask, -1).topk(min(count, mask.shape[1]), dim=1).indices
    row = torch.arange(len(chosen))[:, None]
    source, handles = ends.rows[start], ends.points[start][row, chosen]
    part = torch.as_tensor(way).expand(len(chosen))[:, None, None]
    rows = torch.lerp(source, ends.rows[goal], part)
    targets = torch.lerp(handles, ends.points[goal][row, chosen], part)
    batch = (source, rows, handles, targets, mask[row, chosen])
    return EndsBatch(*(each.to(device) for each in batch))


def _rows(trajectories: Trajectories) -> Float[Tensor, "N 2 K D"]:
    """The edited rows of w_0 and w_n of every motion, on the CPU."""
    recipe, generator = trajectories.recipe, trajectories.generator
    draws = [(motion.index, motion.attempt) for motion in trajectories.motions]
    parts = [draws[i : i + CHUNK] for i in range(0, len(draws), CHUNK)]
    motions = (latent_motion(generator, recipe.trajectory, recipe.seed, part) for part in parts)
    return torch.cat([split(ws[:, [0, -1]])[0].float().cpu() for ws in motions])


def _ends(rows: Float[Tensor, "N 2 K D"], matches: Sequence[Matches]) -> _Ends:
    """Rows with the matched points, padded to the largest number of points."""
    both = (
        [torch.from_numpy(m.handles).float() for m in matches],
        [torch.from_numpy(m.targets).float() for m in matches],
    )
    handles, targets = (pad_sequence([*points, torch.zeros(1, 2)], batch_first=True)[:-1] for points in both)
    lengths = torch.tensor([len(m.handles) for m in matches])
    return _Ends(rows, torch.stack([handles, targets], dim=1), torch.arange(handles.shape[1]) < lengths[:, None])
