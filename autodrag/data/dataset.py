"""The training set: samples with their latents and a random subset of their points, and batches of them.

Samples form an infinite stream of shuffled epochs, indexed by position. A sample and its points are a pure function of
(seed, position), so that a batch is the same for any number of ranks, and a run can resume with another number.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import exp, log
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from autodrag.data.matching import Matches
from autodrag.data.shards import read_index, read_shard
from autodrag.data.trajectories import NO_MATCHES, MatchedMotion, Recipe, latent_motion
from autodrag.errors import InputError
from autodrag.fingerprint import fingerprint
from autodrag.generator import FrozenGenerator
from autodrag.latents import jump_fractions, perturb, split
from autodrag.seeding import rng


@dataclass(frozen=True)
class Sample:
    """One motion with randomly chosen points, in (x, y) image pixels."""

    index: int  # of the sample in its folder
    ws: Float[Tensor, "steps L D"]  # w_0..w_n
    handles: Float[Tensor, "P 2"]  # in I_0
    targets: Float[Tensor, "P 2"]  # the same points in I_n
    step_handles: list[Float[Tensor, "_ 2"]]  # for each of the n steps, points in I_i; may be empty
    step_targets: list[Float[Tensor, "_ 2"]]  # the same points in I_i+1


@dataclass(frozen=True)
class Batch:
    """Samples with the same n, with padded points. Masks: True at points, False at padding."""

    index: Int[Tensor, " B"]
    ws: Float[Tensor, "B steps L D"]
    handles: Float[Tensor, "B P 2"]
    targets: Float[Tensor, "B P 2"]
    mask: Bool[Tensor, "B P"]
    step_handles: Float[Tensor, "B n Q 2"]
    step_targets: Float[Tensor, "B n Q 2"]
    step_mask: Bool[Tensor, "B n Q"]


def collate(samples: Sequence[Sample]) -> Batch:
    """Batch samples, padded with zeros, on the device of the latents."""
    device = samples[0].ws.device
    handles, mask = _pad([s.handles for s in samples])
    targets, _ = _pad([s.targets for s in samples])
    step_handles, step_mask = _pad([points for s in samples for points in s.step_handles])
    step_targets, _ = _pad([points for s in samples for points in s.step_targets])
    shape = (len(samples), len(samples[0].step_handles))
    return Batch(
        torch.tensor([s.index for s in samples]),
        torch.stack([s.ws for s in samples]),
        handles.to(device),
        targets.to(device),
        mask.to(device),
        step_handles.unflatten(0, shape).to(device),
        step_targets.unflatten(0, shape).to(device),
        step_mask.unflatten(0, shape).to(device),
    )


def _pad(sets: Sequence[Float[Tensor, "_ 2"]]) -> tuple[Float[Tensor, "B P 2"], Bool[Tensor, "B P"]]:
    """(padded points, mask), with P >= 1 even if all sets are empty."""
    longest = max(1, *(len(points) for points in sets))
    lengths = torch.tensor([len(points) for points in sets])
    padded = pad_sequence([*sets, torch.zeros(longest, 2)], batch_first=True)[:-1]
    return padded, torch.arange(longest) < lengths[:, None]


class Trajectories:
    """The samples of a folder. Latents are recomputed from seeds on the generator's device for each batch.

    max_points: maximum pairs per sample; their number is log-uniform in 1..max_points, limited by the matches (our
        choice: drags of one point are as frequent as drags of many).
    step_points: maximum pairs per step.
    part: slice of the folder's samples to use.
    together: size of groups of consecutive positions with the same number of points, to reduce padding.
    landmarks: share of the groups that use landmarks as points instead of matches.
    far: share of the samples of those groups that end at the w_0 of another motion.
    first: number of samples, from the first, that the folder counts as having; None: all.

    Raises InputError if the folder was made with another generator, or has no samples, fewer than `first`, or no
    landmarks.
    """

    def __init__(
        self,
        folder: str | Path,
        generator: FrozenGenerator,
        max_points: int,
        step_points: int,
        seed: int = 0,
        part: slice = slice(None),
        together: int = 1,
        landmarks: float = 0.0,
        far: float = 0.0,
        first: int | None = None,
    ) -> None:
        if min(max_points, step_points, together) < 1:
            raise InputError(
                f"max_points={max_points}, step_points={step_points} and together={together} must be at least 1."
            )
        folder = Path(folder)
        index = read_index(folder)
        _check_recipe(folder, index.recipe, generator, landmarks)
        if first is not None and index.samples < first:
            raise InputError(
                f"{folder} holds {index.samples} samples, but this run was started with {first}: make the others "
                "again with scripts/trajectories.py, or choose another out=."
            )
        shards = [index.shards[number] for number in sorted(index.shards)]
        self.motions = [motion for shard in shards for motion in read_shard(folder, shard)][:first][part]
        if not self.motions:
            raise InputError(
                f"{folder} has no sample in the slice {part.start}:{part.stop}: make more, or use fewer for validation."
            )
        self.recipe, self.generator, self.seed = index.recipe, generator, seed
        self.max_points, self.step_points, self.together = max_points, step_points, together
        self.landmarks, self.far = landmarks, far
        self._order: tuple[int, Int[Tensor, " N"]] | None = None  # (epoch, its order)

    def __len__(self) -> int:
        return len(self.motions)

    def batch(self, positions: Sequence[int]) -> Batch:
        """The samples at these positions as a batch."""
        return collate(self.samples(positions))

    def samples(self, positions: Sequence[int]) -> list[Sample]:
        """The samples at these positions. Each epoch of len(self) positions is a permutation of all samples."""
        motions = [self.motions[self._at(position)] for position in positions]
        draws = [(motion.index, motion.attempt) for motion in motions]
        ws = latent_motion(self.generator, self.recipe.trajectory, self.recipe.seed, draws)
        drags = [self._far(motion, w, p) for motion, w, p in zip(motions, ws, positions, strict=True)]
        return [self._choose(motion, w, p) for (motion, w), p in zip(drags, positions, strict=True)]

    def other_latents(self, positions: Sequence[int]) -> Float[Tensor, "B L D"]:
        """A random latent for each position, independent of the motions."""
        streams = [rng(self.seed, "stranger", position) for position in positions]
        z = torch.stack([torch.randn(self.generator.z_dim, generator=s) for s in streams])
        return self.generator.map(z.to(self.generator.device), psi=self.recipe.trajectory.psi)

    def _at(self, position: int) -> int:
        number, place = divmod(position, len(self.motions))
        if self._order is None or self._order[0] != number:
            self._order = number, torch.randperm(len(self.motions), generator=rng(self.seed, "order", number))
        return int(self._order[1][place])

    def _group(self, position: int) -> tuple[float, bool]:
        """Choices shared by a group: a number in [0, 1) that sets the point count, and whether to use landmarks."""
        number, kind = torch.rand(2, generator=rng(self.seed, "points of a group", position // self.together)).tolist()
        return number, kind < self.landmarks

    def _far(
        self, motion: MatchedMotion, ws: Float[Tensor, "steps L D"], position: int
    ) -> tuple[MatchedMotion, Float[Tensor, "steps L D"]]:
        """The motion itself, or with probability `far` one from its w_0 to that of another motion."""
        chance, number = torch.rand(2, generator=rng(self.seed, "far", position)).tolist()
        other = self.motions[int(number * len(self.motions))]
        points = (motion.landmarks.handles, other.landmarks.handles)
        if not self._group(position)[1] or chance >= self.far or min(map(len, points)) == 0:
            return motion, ws
        recipe, n = self.recipe, len(motion.steps)
        goal = latent_motion(self.generator, recipe.trajectory, recipe.seed, [(other.index, other.attempt)])[:, 0]
        stars = split(goal)[0][:, None].expand(-1, n, -1, -1)
        way = perturb(ws[:1], stars, jump_fractions(1, n).to(ws.device))[0]
        return replace(motion, landmarks=Matches(*points), steps=(NO_MATCHES,) * n), way

    def _choose(self, motion: MatchedMotion, ws: Float[Tensor, "steps L D"], position: int) -> Sample:
        stream = rng(self.seed, "points", position)
        number, landmarks = self._group(position)
        points = motion.landmarks if landmarks and len(motion.landmarks.handles) else motion.ends
        handles, targets = _some(points, int(exp(number * log(self.max_points + 1))), stream)
        steps = [_some(step, self.step_points, stream) for step in motion.steps]
        return Sample(motion.index, ws, handles, targets, [h for h, _ in steps], [t for _, t in steps])


def _some(matches: Matches, count: int, stream: torch.Generator) -> tuple[Float[Tensor, "P 2"], Float[Tensor, "P 2"]]:
    """`count` random matches, or all of them if there are fewer."""
    chosen = torch.randperm(len(matches.handles), generator=stream)[:count].numpy()
    return _tensor(matches.handles[chosen]), _tensor(matches.targets[chosen])


def _tensor(points: np.ndarray) -> Float[Tensor, "P 2"]:
    return torch.from_numpy(points)


def _check_recipe(folder: Path, recipe: Recipe, generator: FrozenGenerator, landmarks: float) -> None:
    """Raises InputError if the samples are of another generator, or lack landmarks although their share is above 0."""
    if recipe.generator != fingerprint(generator):
        raise InputError(
            f"{folder} was made with another generator than {generator.name}: load that generator, or make new "
            "trajectories in another folder."
        )
    if landmarks > 0 and not recipe.trajectory.landmarks:
        raise InputError(
            f"{folder} holds no landmarks to train on: make trajectories with trajectory.landmarks=true in another "
            "folder, or set stage2.landmarks=0 (aim.landmarks=0)."
        )
