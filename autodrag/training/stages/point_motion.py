"""Stage `motion`: where points go when latents move, for the landing loss of the stages `aim` and 2."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from autodrag.data.dataset import Trajectories
from autodrag.losses import landing_loss
from autodrag.models import Landing, LandingConfig, PointMotion, PointMotionConfig
from autodrag.training.endpoint_drags import Ends, EndsBatch, EndsConfig
from autodrag.training.stages.base import Budget, Group, Report, Schedule, Stage


@dataclass(frozen=True)
class MotionTraining(EndsConfig):
    """network: its size. landing: how drags weigh what it says. folders: of trajectories, a batch from each in turn;
    None: that of the config's `data`. metric_latents: at how many what a move changes in the image is measured.
    """

    network: PointMotionConfig
    landing: LandingConfig
    folders: tuple[str, ...] | None
    budget: Budget
    schedule: Schedule
    metric_latents: int = 4


class MotionStage(Stage):
    """trajectories: motions whose both ends are learnt from, in both directions, a batch from each folder in turn.

    Raises InputError where config.validation leaves no motions to train on.
    """

    def __init__(self, landing: Landing, trajectories: Sequence[Trajectories], config: MotionTraining, seed: int):
        super().__init__()
        self.landing, self.config = landing, config
        self._ends = [Ends(each, config, seed, "motion") for each in trajectories]
        self._generator = trajectories[0].generator

    @property
    def motion(self) -> PointMotion:
        """The network that learns; the rest of the landing was measured."""
        return self.landing.motion

    def batch(self, positions: Sequence[int]) -> EndsBatch:
        """See `Ends.batch`."""
        number = positions[0] // self.config.budget.batch
        return self._ends[number % len(self._ends)].batch(positions, self.motion.standardise.std.device)

    def forward(self, batch: EndsBatch) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """The landing loss of latents that are known to put the handles on the targets."""
        return self._missed(batch).mean(), {}

    def groups(self) -> list[Group]:
        """One learning rate for all."""
        return [Group("motion", list(self.motion.parameters()), self.config.schedule)]

    def networks(self) -> Iterable[nn.Module]:
        """The MLPs."""
        return [self.motion]

    def report(self) -> Report:
        """`matches_5`, `landmarks_5`, ...: how far points are from where they are said to go, as a share of the way.

        `1_matches_5`, ...: of the motions of the second folder.
        """
        numbers = {}
        for number, ends in enumerate(self._ends):
            for name, batch in ends.validation(self.motion.standardise.std.device):
                still = torch.zeros_like(batch.handles)
                way = landing_loss(still, batch.handles, batch.targets, batch.mask, self._generator.resolution)
                left = (self._missed(batch).sum() / way.sum()).item()
                numbers[name if number == 0 else f"{number}_{name}"] = left
        return Report(numbers)

    def save(self, path: Path) -> None:
        """The whole of `Landing`, ready to drag with."""
        self.landing.save(path, {"generator": self._generator.name})

    def _missed(self, batch: EndsBatch) -> Float[Tensor, " B"]:
        drag = (batch.source, batch.goal, batch.handles, batch.targets, batch.mask)
        return self.motion.missed(*drag, self._generator.resolution)
