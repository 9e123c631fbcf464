"""What training reads: samples with their latents, a few of their points, and batches of them.

Samples come in an endless order, pass after pass, and training asks for positions of it. Which sample stands at a
position and which points of it are used is a pure function of (seed, position): ranks that share out the positions of a
batch see together what one rank would, and a run may go on with another number of ranks.
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
from autodrag.data.trajectories import NO_MATCHES, MatchedMotion, latent_motion
from autodrag.errors import InputError
from autodrag.fingerprint import fingerprint
from autodrag.generator import FrozenGenerator
from autodrag.latents import jump_fractions, perturb, split
from autodrag.seeding import rng


@dataclass(frozen=True)
class Sample:
    """One motion, with the points chosen for this visit. Points are (x, y) pixels of the generator's image."""

    index: int
    ws: Float[Tensor, "steps L D"]  # w_0..w_n
    handles: Float[Tensor, "P 2"]  # in I_0 ...
    targets: Float[Tensor, "P 2"]  # ... and where they are in I_n
    step_handles: list[Float[Tensor, "_ 2"]]  # n times: in I_i ...
    step_targets: list[Float[Tensor, "_ 2"]]  # ... and in I_i+1; may be empty


@dataclass(frozen=True)
class Batch:
    """Samples of one n, points padded to the longest. Masks: True = a point, False = padding."""

    index: Int[Tensor, " B"]
    ws: Float[Tensor, "B steps L D"]
    handles: Float[Tensor, "B P 2"]
    targets: Float[Tensor, "B P 2"]
    mask: Bool[Tensor, "B P"]
    step_handles: Float[Tensor, "B n Q 2"]
    step_targets: Float[Tensor, "B n Q 2"]
    step_mask: Bool[Tensor, "B n Q"]


def collate(samples: Sequence[Sample]) -> Batch:
    """Pads with zeros, on the device of the latents."""
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
    """At least one column, so that a batch of empty steps keeps its shape."""
    longest = max(1, *(len(points) for points in sets))
    lengths = torch.tensor([len(points) for points in sets])
    padded = pad_sequence([*sets, torch.zeros(longest, 2)], batch_first=True)[:-1]
    return padded, torch.arange(longest) < lengths[:, None]


class Trajectories:
    """The samples of a folder. Latents are mapped from their seeds on the generator's device for each batch.

    max_points: point pairs (I_0, I_n) a sample, at most; their number is log-uniform in 1..max_points (our choice: one
    point matters as much as many) as far as there are matches. step_points: pairs (I_i, I_i+1) a step, at most. part:
    the samples to use, of those in the folder in order. together: so many positions that follow each other have the
    same number of points, so that little of a batch is padding. landmarks: share of such groups whose points are
    landmarks of the images instead of matches. far: share of the samples of those groups that go all the way to the w_0
    of another motion, whose landmarks are known as well. Raises InputError where folder and generator do not belong
    together, or the folder has no landmarks.
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
        landmarks: float = 0,
        far: float = 0,
    ) -> None:
        folder = Path(folder)
        manifest = read_index(folder)
        if manifest.recipe.generator != fingerprint(generator):
            raise InputError(
                f"{folder} was made with another generator than {generator.name}: load that one, or make the "
                "trajectories anew in another folder."
            )
        if min(max_points, step_points, together) < 1:
            raise InputError(
                f"max_points={max_points}, step_points={step_points} and together={together} must be at least 1."
            )
        if landmarks > 0 and not manifest.recipe.trajectory.landmarks:
            raise InputError(
                f"{folder} holds no landmarks to train on: make trajectories with trajectory.landmarks=true in another "
                "folder, or set stage2.landmarks=0 (aim.landmarks=0)."
            )
        entries = [manifest.shards[number] for number in sorted(manifest.shards)]
        self.motions = [motion for entry in entries for motion in read_shard(folder, entry)][part]
        if not self.motions:
            raise InputError(
                f"{folder} has no sample in the part {part.start}:{part.stop}: make more, or ask for fewer."
            )
        self.recipe = manifest.recipe
        self.generator = generator
        self.max_points = max_points
        self.step_points = step_points
        self.seed = seed
        self.together = together
        self.landmarks, self.far = landmarks, far
        self._order: tuple[int, Int[Tensor, " N"]] | None = None  # the pass in progress

    def __len__(self) -> int:
        return len(self.motions)

    def batch(self, positions: Sequence[int]) -> Batch:
        """The samples at `positions` of the endless order, padded."""
        return collate(self.samples(positions))

    def samples(self, positions: Sequence[int]) -> list[Sample]:
        """The samples at positions of the endless order, in which every len(self) are a permutation of all."""
        motions = [self.motions[self._at(position)] for position in positions]
        draws = [(motion.index, motion.attempt) for motion in motions]
        ws = latent_motion(self.generator, self.recipe.trajectory, self.recipe.seed, draws)
        drags = [self._far(motion, w, p) for motion, w, p in zip(motions, ws, positions, strict=True)]
        return [self._choose(motion, w, p) for (motion, w), p in zip(drags, positions, strict=True)]

    def strangers(self, positions: Sequence[int]) -> Float[Tensor, "B L D"]:
        """A latent for each position that belongs to none of the motions."""
        streams = [rng(self.seed, "stranger", position) for position in positions]
        z = torch.stack([torch.randn(self.generator.z_dim, generator=s) for s in streams])
        return self.generator.map(z.to(self.generator.device), psi=self.recipe.trajectory.psi)

    def _at(self, position: int) -> int:
        number, place = divmod(position, len(self.motions))
        if self._order is None or self._order[0] != number:
            self._order = number, torch.randperm(len(self.motions), generator=rng(self.seed, "order", number))
        return int(self._order[1][place])

    def _group(self, position: int) -> tuple[float, bool]:
        """A number in [0, 1) that tells how many points the samples around the position have, and if by landmarks."""
        number, kind = torch.rand(2, generator=rng(self.seed, "points of a group", position // self.together)).tolist()
        return number, kind < self.landmarks

    def _far(
        self, motion: MatchedMotion, ws: Float[Tensor, "steps L D"], position: int
    ) -> tuple[MatchedMotion, Float[Tensor, "steps L D"]]:
        """The motion itself, or by chance one from its w_0 to that of another."""
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
    """A random `count` of the matches, or all."""
    chosen = torch.randperm(len(matches.handles), generator=stream)[:count].numpy()
    return _tensor(matches.handles[chosen]), _tensor(matches.targets[chosen])


def _tensor(points: np.ndarray) -> Float[Tensor, "P 2"]:
    return torch.from_numpy(points)
