"""Stage 1: the regularizer learns to restore corrupted latents (section 3.1)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from autodrag.data.trajectories import TrajectoryConfig, latent_motion
from autodrag.generator import FrozenGenerator
from autodrag.latents import corrupt, join, split
from autodrag.losses import restoration_loss
from autodrag.models import Regularizer
from autodrag.seeding import rng
from autodrag.training.stages.base import Budget, Report, Schedule, Stage
from autodrag.typed import check_bounds

HELD_OUT = 2**40  # first position of the validation latents, beyond any training and any folder of trajectories


@dataclass(frozen=True)
class Stage1Config:
    """`stage1` in `configs/train.yaml`.

    mixed is ours: all rows of a mapped latent are equal, so R could copy the kept rows and undo every edit.
    """

    budget: Budget
    schedule: Schedule
    latents: Literal["w", "trajectory"]  # mapped latents (paper) | random ones of pseudo-trajectories, as in stage 2
    mixed: float  # share of latents with the kept rows of another latent
    noise: float  # sigma of N in Eq. 1, in standard deviations of W
    drop: float  # probability of a zero in M of Eq. 1
    granularity: Literal["element", "row"]  # of M
    validation: int  # latents held out for validation

    def __post_init__(self) -> None:
        share = (0, 1)  # validation needs two latents, as it edits each towards another
        check_bounds("stage1", self, mixed=share, noise=(0, math.inf), drop=share, validation=(2, math.inf))


@dataclass(frozen=True)
class Corrupted:
    """Clean latents, and the same corrupted by Eq. 1."""

    clean: Float[Tensor, "B L D"]
    corrupted: Float[Tensor, "B L D"]


class RegularizerStage(Stage):
    """psi: truncation of mapped latents. motion: of the pseudo-trajectories, for latents="trajectory"."""

    model: Regularizer

    def __init__(
        self,
        regularizer: Regularizer,
        generator: FrozenGenerator,
        config: Stage1Config,
        psi: float,
        seed: int,
        motion: TrajectoryConfig | None = None,
    ) -> None:
        super().__init__(regularizer, config.schedule, {"generator": generator.name})
        self.config, self.psi, self.seed, self.motion = config, psi, seed, motion
        self._generator = generator

    def batch(self, positions: Sequence[int]) -> Corrupted:
        """New latents for every position."""
        clean = self._clean("stage1", positions)
        return Corrupted(clean, self._corrupt(clean, "stage1 noise", positions))

    def forward(self, batch: Corrupted) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Eq. 6. Logs: `left`, the remaining fraction of the corruption."""
        std = self.model.standardise.std
        loss = restoration_loss(self.model(batch.corrupted), batch.clean, std)
        before = restoration_loss(batch.corrupted, batch.clean, std)
        return loss.mean(), {"left": (loss.sum() / before.sum()).detach()}

    def report(self) -> Report:
        """`left`: L1(R(w'), w) / L1(w', w). `undone`: the fraction of a real edit that R undoes.

        The edit interpolates the edited rows by 0.4 towards those of another latent.
        """
        std = self.model.standardise.std
        positions = range(HELD_OUT, HELD_OUT + self.config.validation)
        clean = self._clean("stage1 held out", positions)
        corrupted = self._corrupt(clean, "stage1 held out noise", positions)
        left = restoration_loss(self.model(corrupted), clean, std).sum()
        numbers = {"left": (left / restoration_loss(corrupted, clean, std).sum()).item()}
        mapped = self._mapped("stage1 edits", positions)
        head, tail = split(mapped)
        edited = join(torch.lerp(head, head.roll(1, 0), 0.4), tail)
        edit = (edited - mapped) / std
        back = (edited - self.model(edited)) / std
        numbers["undone"] = ((back * edit).sum() / edit.square().sum()).item()
        return Report(numbers)

    def _clean(self, stage: str, positions: Sequence[int]) -> Float[Tensor, "B L D"]:
        head, tail = split(self._moving(stage, positions))
        mixed = [torch.rand((), generator=rng(self.seed, f"{stage} mixed", p)) < self.config.mixed for p in positions]
        chosen = torch.stack(mixed).to(head.device)[:, None, None]
        others = split(self._mapped(f"{stage} strangers", positions))[1]
        return join(head, torch.where(chosen, others, tail))

    def _moving(self, stage: str, positions: Sequence[int]) -> Float[Tensor, "B L D"]:
        if self.motion is None or self.config.latents == "w":
            return self._mapped(stage, positions)
        motion = latent_motion(self._generator, self.motion, self.seed, [(p, 0) for p in positions])
        steps = [torch.randint(motion.shape[1], (), generator=rng(self.seed, stage, p)) for p in positions]
        return motion[torch.arange(len(positions)), torch.stack(steps)].float()

    def _mapped(self, stage: str, positions: Sequence[int]) -> Float[Tensor, "B L D"]:
        generator = self._generator
        z = torch.stack([torch.randn(generator.z_dim, generator=rng(self.seed, stage, p)) for p in positions])
        return generator.map(z.to(generator.device), psi=self.psi).float()

    def _corrupt(self, clean: Float[Tensor, "B L D"], stage: str, positions: Sequence[int]) -> Float[Tensor, "B L D"]:
        """Eq. 1, with one random stream per sample, so that the result does not depend on the number of ranks."""
        config, std = self.config, self.model.standardise.std
        rows = zip(clean.split(1), positions, strict=True)
        return torch.cat(
            [corrupt(w, std, config.noise, config.drop, config.granularity, rng(self.seed, stage, p)) for w, p in rows]
        )
