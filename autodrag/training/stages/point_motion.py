"""Stage `motion`: learn how points move when latents change, for method=landing and the landing loss."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from autodrag.data.dataset import Trajectories
from autodrag.losses import landing_loss
from autodrag.models import Landing, LandingConfig, PointMotion, PointMotionConfig
from autodrag.training.endpoint_drags import Ends, EndsBatch, EndsConfig, check_outlines
from autodrag.training.stages.base import Budget, Report, Schedule, Stage


@dataclass(frozen=True)
class MotionTraining(EndsConfig):
    """`motion` in `configs/train.yaml`."""

    network: PointMotionConfig  # size of the network
    landing: LandingConfig  # settings of the drag method that uses it
    folders: tuple[str, ...] | None  # of trajectories, one batch from each in turn; None: the config's `data`
    budget: Budget
    schedule: Schedule
    start: str | None = None  # weights of an earlier training to go on from; None: random ones
    metric_latents: int = 4  # number of latents that `image_metric` averages over


class MotionStage(Stage):
    """trajectories: one per folder, of which the ends are used in both directions.

    Raises InputError if config.validation leaves no motions for training, or if outlines are asked for and missing.
    """

    model: Landing

    def __init__(self, landing: Landing, trajectories: Sequence[Trajectories], config: MotionTraining, seed: int):
        super().__init__(landing, config.schedule, {"generator": trajectories[0].generator.name}, half=True)
        self.config = config
        self._ends = [Ends(each, config, seed, "motion") for each in trajectories]
        check_outlines(self._ends, config.outlines, "motion")
        self._generator = trajectories[0].generator

    @property
    def motion(self) -> PointMotion:
        """The trained network; the rest of `Landing` is measured."""
        return self.model.motion

    def batch(self, positions: Sequence[int]) -> EndsBatch:
        """See `Ends.batch`."""
        budget = self.config.budget
        ends = self._ends[positions[0] // budget.batch % len(self._ends)]
        return ends.batch(positions, budget, self.motion.standardise.std.device)

    def forward(self, batch: EndsBatch) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """The landing loss at the true ends of drags, whose handles are at the targets."""
        return self._missed(batch).mean(), {}

    def networks(self) -> Iterable[nn.Module]:
        """The point motion network."""
        return [self.motion]

    def report(self) -> Report:
        """`matches_5`, `landmarks_5`, ...: error of the predicted displacements relative to the true ones.

        `1_matches_5`, ...: for the second folder.
        """
        numbers = {}
        for number, ends in enumerate(self._ends):
            for name, batch in ends.validation(self.motion.standardise.std.device):
                still = torch.zeros_like(batch.handles)
                points = (batch.handles, batch.targets, batch.mask)
                way = landing_loss(still, *points, self._generator.resolution, batch.normals)
                left = (self._missed(batch).sum() / way.sum()).item()
                numbers[name if number == 0 else f"{number}_{name}"] = left
        return Report(numbers)

    def _missed(self, batch: EndsBatch) -> Float[Tensor, " B"]:
        drag = (batch.source, batch.goal, batch.handles, batch.targets, batch.mask)
        return self.motion.missed(*drag, self._generator.resolution, batch.normals)
