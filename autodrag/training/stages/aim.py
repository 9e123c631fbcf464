"""Stage `aim`: train the first guess of a drag's end on latents and points, without images."""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from autodrag.data.dataset import Trajectories
from autodrag.losses import prediction_loss
from autodrag.models import Aim, PointMotion
from autodrag.training.endpoint_drags import Ends, EndsBatch, EndsConfig, check_outlines
from autodrag.training.latent_statistics import image_metric, image_units
from autodrag.training.stages.base import Budget, Report, Schedule, Stage


@dataclass(frozen=True)
class AimTraining(EndsConfig):
    """`aim` in `configs/train.yaml`."""

    budget: Budget
    schedule: Schedule
    motion: str | None  # weights of the stage `motion`, for the landing loss; None: no landing loss
    gamma: float  # weight of the landing loss
    metric_latents: int = 6  # number of latents that `image_metric` averages over


class AimStage(Stage):
    """trajectories: motions whose ends are used, in both directions. motion: gets frozen; None: no landing loss.

    Raises InputError if config.validation leaves no motions for training, or if outlines are asked for and missing.
    """

    model: Aim
    units: Tensor

    def __init__(
        self,
        aim: Aim,
        trajectories: Trajectories,
        block: int,
        config: AimTraining,
        seed: int,
        motion: PointMotion | None = None,
    ) -> None:
        super().__init__(aim, config.schedule, {"generator": trajectories.generator.name})
        self.config = config
        self.motion = None if motion is None else motion.requires_grad_(False)
        self._ends = Ends(trajectories, config, seed, "aim")
        check_outlines([self._ends], config.outlines, "aim")
        self._generator = trajectories.generator
        std = aim.standardise.std
        metric = image_metric(trajectories.generator, std, block, latents=config.metric_latents)
        self.register_buffer("units", image_units(metric, std), persistent=False)

    def batch(self, positions: Sequence[int]) -> EndsBatch:
        """See `Ends.batch`."""
        return self._ends.batch(positions, self.config.budget, self.units.device)

    def forward(self, batch: EndsBatch) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Eq. 12 for a single step, in `image_units`, plus gamma times the landing loss.

        Logs: `left` is the L1 distance from the guess to the goal, relative to that from the source.
        """
        guess = self._guess(batch)
        loss, way = self._distance(guess, batch), self._distance(batch.source, batch)
        logs = {"prediction": loss.mean(), "left": loss.sum() / way.sum()}
        total = loss.mean()
        if self.motion is not None:
            logs["landing"] = self._landing(self.motion, guess, batch).mean()
            total = total + self.config.gamma * logs["landing"]
        return total, {name: value.detach() for name, value in logs.items()}

    def report(self) -> Report:
        """`matches_5`, `landmarks_5`, ...: `left` with 5 points of that kind.

        `matches_5_lands`, ...: the landing loss, in hundredths of the image sides.
        """
        numbers = {}
        for name, batch in self._ends.validation(self.units.device):
            guess = self._guess(batch)
            numbers[name] = (self._distance(guess, batch).sum() / self._distance(batch.source, batch).sum()).item()
            if self.motion is not None:
                numbers[f"{name}_lands"] = self._landing(self.motion, guess, batch).mean().item()
        return Report(numbers)

    def _guess(self, batch: EndsBatch) -> Float[Tensor, "B K D"]:
        return self.model(batch.source, batch.handles, batch.targets, batch.mask, self._generator.resolution)

    def _distance(self, rows: Float[Tensor, "B K D"], batch: EndsBatch) -> Float[Tensor, " B"]:
        return prediction_loss(rows[:, None], batch.goal[:, None], self.units)

    def _landing(self, motion: PointMotion, guess: Float[Tensor, "B K D"], batch: EndsBatch) -> Float[Tensor, " B"]:
        size = self._generator.resolution
        return motion.missed(batch.source, guess, batch.handles, batch.targets, batch.mask, size, batch.normals)
