"""Drags between the ends of motions, as latents and points without images: thousands per second."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import exp, log

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from autodrag.data.dataset import Trajectories
from autodrag.data.matching import Matches
from autodrag.data.outlines import Outlines
from autodrag.data.trajectories import latent_motion
from autodrag.errors import InputError
from autodrag.latents import split
from autodrag.seeding import rng
from autodrag.training.stages.base import Budget

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
    #: Share of the batches that use outlines instead, which count across their edges alone. Older run folders lack it.
    outlines: float = field(default=0.0, kw_only=True)


@dataclass(frozen=True)
class EndsBatch:
    """A batch of drags in W with their points."""

    source: Float[Tensor, "B K D"]  # edited rows at the start
    goal: Float[Tensor, "B K D"]  # edited rows at the end
    handles: Float[Tensor, "B P 2"]  # image pixels at the start
    targets: Float[Tensor, "B P 2"]  # the same points at the end
    mask: Bool[Tensor, "B P"]  # False at padding
    normals: Float[Tensor, "B P 2"] | None  # of outlines, whose targets count along them alone


@dataclass(frozen=True)
class _Ends:
    """Both ends of all motions, with points of one kind."""

    rows: Float[Tensor, "N 2 K D"]  # edited rows of w_0 and w_n
    points: Float[Tensor, "N 2 P 2"]  # in I_0 and in I_n, image pixels
    mask: Bool[Tensor, "N P"]  # False at padding
    normals: Float[Tensor, "N P 2"] | None = None  # of outlines, in I_0; edges hardly turn

    def part(self, which: slice) -> "_Ends":
        """A slice of the motions."""
        normals = None if self.normals is None else self.normals[which]
        return _Ends(self.rows[which], self.points[which], self.mask[which], normals)


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
        outlines = _ends(rows, [motion.outlines for motion in trajectories.motions])
        shown, validation = slice(None, -config.validation), slice(-config.validation, None)
        kinds = {"matches": matches, "landmarks": landmarks, "outlines": outlines}
        self._shown = {kind: ends.part(shown) for kind, ends in kinds.items()}
        self._validation = {kind: ends.part(validation) for kind, ends in kinds.items()}

    @property
    def outlined(self) -> bool:
        """Whether any motion has outlines."""
        return bool(self._shown["outlines"].mask.any())

    def batch(self, positions: Sequence[int], budget: Budget, device: torch.device) -> EndsBatch:
        """Drags between random ends, at positions of one step.

        All positions of a step share a random stream: one per sample would take longer than the training step. Every
        rank draws for the whole step and keeps its own part.
        """
        config, start = self.config, budget.start(positions[0])
        own = torch.tensor([position - start for position in positions])
        stream = rng(self._seed, self._section, start)
        kind, number = torch.rand(2, generator=stream).tolist()
        landmarks = kind < config.landmarks and bool(self._shown["landmarks"].mask.any())
        outlines = not landmarks and kind > 1 - config.outlines and self.outlined
        ends = self._shown["landmarks" if landmarks else "outlines" if outlines else "matches"]
        usable = ends.mask.any(dim=1).nonzero()[:, 0]
        first, other = usable[torch.randint(len(usable), (2, budget.batch), generator=stream)[:, own]].unbind()
        side = torch.randint(2, (2, budget.batch), generator=stream)[:, own]
        chance = torch.rand(4, budget.batch, generator=stream)[:, own]
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


def check_outlines(ends: Sequence[Ends], share: float, section: str) -> None:
    """Raises InputError if batches are to use outlines that no folder has."""
    if share > 0 and not any(each.outlined for each in ends):
        raise InputError(
            f"{section}.outlines={share:g}, but the trajectories have no outlines: make them with "
            f"trajectory.outlines=true, or set {section}.outlines=0."
        )


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
    normals = None if ends.normals is None else ends.normals[start[0]][row, chosen].to(device)
    batch = (source, rows, handles, targets, mask[row, chosen])
    source, rows, handles, targets, mask = (each.to(device) for each in batch)
    return EndsBatch(source, rows, handles, targets, mask, normals)


def _rows(trajectories: Trajectories) -> Float[Tensor, "N 2 K D"]:
    """The edited rows of w_0 and w_n of every motion, on the CPU."""
    recipe, generator = trajectories.recipe, trajectories.generator
    draws = [(motion.index, motion.attempt) for motion in trajectories.motions]
    parts = [draws[i : i + CHUNK] for i in range(0, len(draws), CHUNK)]
    motions = (latent_motion(generator, recipe.trajectory, recipe.seed, part) for part in parts)
    return torch.cat([split(ws[:, [0, -1]])[0].float().cpu() for ws in motions])


def _ends(rows: Float[Tensor, "N 2 K D"], found: Sequence[Matches] | Sequence[Outlines]) -> _Ends:
    """Rows with the matched points or outlines, padded to the largest number of points."""
    handles, targets = _padded([m.handles for m in found]), _padded([m.targets for m in found])
    lengths = torch.tensor([len(m.handles) for m in found])
    normals = _padded([m.normals for m in found if isinstance(m, Outlines)]) if isinstance(found[0], Outlines) else None
    mask = torch.arange(handles.shape[1]) < lengths[:, None]
    return _Ends(rows, torch.stack([handles, targets], dim=1), mask, normals)


def _padded(sets: Sequence[np.ndarray]) -> Float[Tensor, "N P 2"]:
    """Points of all motions, padded with zeros; P is at least 1."""
    points = [torch.from_numpy(each).float() for each in sets]
    return pad_sequence([*points, torch.zeros(1, 2)], batch_first=True)[:-1]
