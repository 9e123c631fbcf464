"""Stage `aim`: the first guess of a drag's end learns from latents and points alone, thousands of samples a second."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import exp, log
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from autodrag.data.dataset import Trajectories
from autodrag.data.matching import Matches
from autodrag.data.trajectories import latent_motion
from autodrag.errors import InputError
from autodrag.latents import split
from autodrag.losses import prediction_loss
from autodrag.models import Aim
from autodrag.seeding import rng
from autodrag.training.measure import image_units
from autodrag.training.stage import Budget, Group, Report, Schedule, Stage

CHUNK = 500  # motions whose latents are mapped at once


@dataclass(frozen=True)
class AimTraining:
    """points: pairs of a sample, at most; their number is log-uniform from 1 up, the same for a batch.

    landmarks: share of the batches whose points are landmarks instead of matches. far: share of their samples that go
    to another motion's face, whose landmarks are known as well. short: share that goes only a part of the way, evenly
    distributed, over which points are taken to move in a straight line. still: share that stays where it is. held_out:
    motions that reports are made on.
    """

    budget: Budget
    schedule: Schedule
    points: int
    landmarks: float
    far: float
    short: float
    still: float
    held_out: int


@dataclass(frozen=True)
class AimBatch:
    """Drags from `source` to `goal`, edited rows, and their points in image pixels; mask: False at padding."""

    source: Float[Tensor, "B K D"]
    goal: Float[Tensor, "B K D"]
    handles: Float[Tensor, "B P 2"]
    targets: Float[Tensor, "B P 2"]
    mask: Bool[Tensor, "B P"]


@dataclass(frozen=True)
class Ends:
    """Both ends of the motions that have points of one kind."""

    rows: Float[Tensor, "N 2 K D"]
    points: Float[Tensor, "N 2 P 2"]
    mask: Bool[Tensor, "N P"]

    def part(self, which: slice) -> "Ends":
        """Some of them."""
        return Ends(self.rows[which], self.points[which], self.mask[which])


class AimStage(Stage):
    """trajectories: motions whose both ends are learnt from, in both directions."""

    units: Tensor

    def __init__(self, aim: Aim, trajectories: Trajectories, block: int, config: AimTraining, seed: int) -> None:
        super().__init__()
        if not 0 < config.held_out < len(trajectories):
            raise InputError(
                f"aim.held_out={config.held_out} leaves nothing to train on or to report on: there are "
                f"{len(trajectories)} trajectories."
            )
        self.aim, self.config, self.seed = aim, config, seed
        self._generator = trajectories.generator
        rows = _rows(trajectories)
        matches = _ends(rows, [motion.ends for motion in trajectories.motions])
        landmarks = _ends(rows, [motion.landmarks for motion in trajectories.motions])
        shown, held_out = slice(None, -config.held_out), slice(-config.held_out, None)
        self._shown = {"matches": matches.part(shown), "landmarks": landmarks.part(shown)}
        self._held_out = {"matches": matches.part(held_out), "landmarks": landmarks.part(held_out)}
        units = image_units(trajectories.generator, aim.standardise.std, block)
        self.register_buffer("units", units, persistent=False)

    def batch(self, positions: Sequence[int]) -> AimBatch:
        """Drags between random ends. Drawn together: a stream for each would cost more than the step itself."""
        config = self.config
        stream = rng(self.seed, "aim", positions[0])
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
        way = torch.where(chance[2] < config.short, chance[3], 1.0)
        return self._drags(ends, (first, side[0]), (last, last_side), order, count, way)

    def forward(self, batch: AimBatch) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Eq. 12 for a single step, in the units of `image_units`, and what is left as a share of the way."""
        loss, way = self._losses(batch)
        return loss.mean(), {"left": (loss.sum() / way.sum()).detach()}

    def groups(self) -> list[Group]:
        """One learning rate for all."""
        return [Group("aim", list(self.aim.parameters()), self.config.schedule)]

    def networks(self) -> Iterable[nn.Module]:
        """The MLP."""
        return [self.aim]

    def report(self) -> Report:
        """`matches_5`, `landmarks_5`, ...: what is left of the way in W with so many points of that kind."""
        numbers = {}
        for kind, ends in self._held_out.items():
            known = ends.mask.any(dim=1).nonzero()[:, 0]
            if len(known) == 0:
                continue
            order = torch.rand(ends.mask.shape, generator=rng(self.seed, f"aim held out {kind}"))[known]
            start, goal = torch.zeros_like(known), torch.ones_like(known)
            for count in sorted({1, min(5, self.config.points), self.config.points}):
                loss, way = self._losses(self._drags(ends, (known, start), (known, goal), order, count))
                numbers[f"{kind}_{count}"] = (loss.sum() / way.sum()).item()
        return Report(numbers)

    def save(self, path: Path) -> None:
        """The aim as a file of its own, for stage 2 to begin with."""
        self.aim.save(path, {"generator": self._generator.name})

    def _drags(
        self,
        ends: Ends,
        start: tuple[Int[Tensor, " B"], Int[Tensor, " B"]],
        goal: tuple[Int[Tensor, " B"], Int[Tensor, " B"]],
        order: Float[Tensor, "B P"],
        count: int,
        way: Float[Tensor, " B"] | float = 1.0,
    ) -> AimBatch:
        """Drags between those (motion, end), that part of the way, with the `count` points first in the order."""
        mask = ends.mask[start[0]] & ends.mask[goal[0]]
        chosen = order.masked_fill(~mask, -1).topk(min(count, mask.shape[1]), dim=1).indices
        row = torch.arange(len(chosen))[:, None]
        source, handles = ends.rows[start], ends.points[start][row, chosen]
        part = torch.as_tensor(way).expand(len(chosen))[:, None, None]
        rows = torch.lerp(source, ends.rows[goal], part)
        targets = torch.lerp(handles, ends.points[goal][row, chosen], part)
        batch = (source, rows, handles, targets, mask[row, chosen])
        return AimBatch(*(each.to(self.units.device) for each in batch))

    def _losses(self, batch: AimBatch) -> tuple[Float[Tensor, " B"], Float[Tensor, " B"]]:
        """L1 to the goal from the guess, and from the start."""
        resolution = self._generator.resolution
        guess = self.aim(batch.source, batch.handles, batch.targets, batch.mask, resolution)
        goal = batch.goal[:, None]
        return tuple(prediction_loss(rows[:, None], goal, self.units) for rows in (guess, batch.source))  # type: ignore[return-value]


def _rows(trajectories: Trajectories) -> Float[Tensor, "N 2 K D"]:
    """The edited rows of w_0 and w_n of every motion, on the CPU."""
    recipe, generator = trajectories.recipe, trajectories.generator
    draws = [(motion.index, motion.attempt) for motion in trajectories.motions]
    parts = [draws[i : i + CHUNK] for i in range(0, len(draws), CHUNK)]
    motions = (latent_motion(generator, recipe.trajectory, recipe.seed, part) for part in parts)
    return torch.cat([split(ws[:, [0, -1]])[0].float().cpu() for ws in motions])


def _ends(rows: Float[Tensor, "N 2 K D"], matches: Sequence[Matches]) -> Ends:
    """Points padded to the longest."""
    both = (
        [torch.from_numpy(m.handles).float() for m in matches],
        [torch.from_numpy(m.targets).float() for m in matches],
    )
    handles, targets = (pad_sequence([*points, torch.zeros(1, 2)], batch_first=True)[:-1] for points in both)
    lengths = torch.tensor([len(m.handles) for m in matches])
    return Ends(rows, torch.stack([handles, targets], dim=1), torch.arange(handles.shape[1]) < lengths[:, None])
