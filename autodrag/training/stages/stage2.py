"""Stage 2: train the predictor and the regularizer jointly on pseudo-trajectories (section 3.2)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from autodrag.data.dataset import Batch, Trajectories, collate
from autodrag.errors import InputError
from autodrag.latents import split
from autodrag.losses import drag_loss, prediction_loss, total_loss
from autodrag.models import AutoDrag, PointMotion
from autodrag.seeding import rng
from autodrag.training.augmentation import AugmentationConfig, check_shares, in_steps, vary
from autodrag.training.latent_statistics import image_metric, image_units
from autodrag.training.rollouts import Dragging, Drags
from autodrag.training.stages.base import Budget, Group, Report, Schedule, Stage
from autodrag.training.validation import report_drags


@dataclass(frozen=True)
class Stage2Config:
    """`stage2` in `configs/train.yaml`. Ours: aim, metric, motion, gamma and all from `drag_steps` on."""

    budget: Budget
    predictor: Schedule  # learning rate of the predictor
    regularizer: Schedule  # learning rate of the regularizer and its gate
    start: str | None  # weights of stage 1, or of another stage 2; None: random weights
    aim: str | None  # weights of the stage `aim`, kept frozen; None: train the aim jointly, if the model has one
    alpha: float  # weight of L_pred
    beta: float  # weight of L_drag; 0: skip computing it
    metric: Literal["deviation", "image"]  # units of L_pred: deviations of W | changes of the image (`image_units`)
    motion: str | None  # weights of the stage `motion`, for the landing loss; None: no landing loss
    gamma: float  # weight of the landing loss
    drag_block: int  # generator block, counted from 1, whose features L_drag compares; paper: 6
    drag_patch: int  # side of the patches that L_drag compares, in pixels of those features; paper: 7
    drag_steps: int | None  # random steps per motion to estimate L_drag from; None: all
    points: int  # maximum pairs per sample
    step_points: int  # maximum pairs per step
    landmarks: float  # share of the batches that use landmarks as points instead of matches
    far: float  # share of the samples of those batches that end at the w_0 of another motion
    validation: int  # samples held out for validation
    rollout: float  # share of samples with the model's own predictions as inputs instead of the true latents
    continued: float  # share that starts at a random step of a rollout, with tracked handles
    final_share: float  # final fraction of the training with L_drag and continued drags, the costly parts
    augmentation: AugmentationConfig
    half: bool  # store the weights in float16
    metric_latents: int = 6  # number of latents that `image_metric` averages over


@dataclass(frozen=True)
class DragBatch:
    """Samples, and how to train on each.

    All random choices are made on the CPU before the copy: reading them back would synchronise the GPU.
    """

    samples: Batch
    rollout: Bool[Tensor, " B"]  # True: inputs are the model's own predictions
    first_step: Int[Tensor, " B"]  # step of a rollout to start from; 0: start from w_0
    continued: Int[Tensor, " A"]  # indices of samples with first_step > 0
    steps: Int[Tensor, "B S"]  # steps that L_drag is computed on
    matched: Int[Tensor, " M"]  # indices into the flattened steps: those with points, of samples that start from w_0
    final: bool  # whether L_drag is computed


class PredictorStage(Stage):
    """trajectories, validation: samples for training and validation. motion: gets frozen; None: no landing loss.

    Raises InputError for shares out of range.
    """

    model: AutoDrag
    units: Tensor

    def __init__(
        self,
        model: AutoDrag,
        trajectories: Trajectories,
        validation: Trajectories,
        config: Stage2Config,
        seed: int,
        motion: PointMotion | None = None,
    ) -> None:
        super().__init__(model, config.predictor, {"generator": trajectories.generator.name}, config.half)
        check_shares(config.augmentation)
        if not 0 < config.final_share <= 1:
            raise InputError(
                f"stage2.final_share is {config.final_share:g}, expected a fraction of the training in (0, 1]."
            )
        self.motion = None if motion is None else motion.requires_grad_(False)
        self.config, self.seed = config, seed
        self._trajectories, self._validation = trajectories, validation
        self._dragging = Dragging(model, trajectories.generator)
        std = model.predictor.standardise.std
        units = torch.diag(1 / std)
        if config.metric == "image":
            block = model.config.feature_block
            units = image_units(image_metric(trajectories.generator, std, block, latents=config.metric_latents), std)
        self.register_buffer("units", units, persistent=False)

    def batch(self, positions: Sequence[int]) -> DragBatch:
        """The augmented samples at these positions."""
        config, n = self.config, self.model.config.steps
        streams = [rng(self.seed, "stage2", position) for position in positions]
        trajectories = self._trajectories
        parts = zip(trajectories.samples(positions), trajectories.other_latents(positions), streams, strict=True)
        samples = [vary(sample, other, config.augmentation, n, config.points, s) for sample, other, s in parts]
        collated = collate(samples)
        chance = torch.stack([torch.rand(2, generator=s) for s in streams])
        budget = config.budget
        final = budget.start(positions[0]) >= (1 - config.final_share) * budget.epochs * budget.samples
        rollout, continued = (chance < torch.tensor([config.rollout, config.continued * final])).unbind(1)
        first_step = torch.stack([torch.randint(1, n + 1, (), generator=s) for s in streams]) * continued
        steps = torch.stack([torch.randperm(n, generator=s)[: config.drag_steps or n] for s in streams])
        some = torch.tensor([[len(points) > 0 for points in sample.step_handles] for sample in samples])
        matched = some.gather(1, steps) & (first_step == 0)[:, None]  # steps from a rollout have no matches
        device = collated.ws.device
        return DragBatch(
            collated,
            rollout.to(device),
            first_step.to(device),
            first_step.nonzero()[:, 0].to(device),
            steps.to(device),
            matched.flatten().nonzero()[:, 0].to(device),
            final,
        )

    def forward(self, batch: DragBatch) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Eq. 14 plus gamma times the landing loss. Logs: the terms."""
        drags = self._begin(batch)
        rollout = batch.rollout if self.config.rollout > 0 else None
        predicted = self.model(drags.ws[:, :-1], drags.features, drags.handles, drags.targets, drags.mask, rollout)
        prediction = prediction_loss(predicted, drags.ws[:, 1:], self.units)
        beta = self.config.beta * batch.final
        drag = self._drag_loss(batch, predicted) if beta > 0 else torch.zeros_like(prediction)
        loss = total_loss(prediction, drag, self.config.alpha, beta)
        logs = {"prediction": prediction, "drag": drag}
        if self.motion is not None:
            before, after = (split(ws)[0] for ws in (drags.ws[:, 0], predicted[:, -1]))
            points, size = (drags.handles, drags.targets, drags.mask), self._dragging.generator.resolution
            logs["landing"] = self.motion.missed(before, after, *points, size)
            loss = loss + self.config.gamma * logs["landing"]
        if self.model.config.skip == "gated":
            logs["gate"] = self.model.gate
        logs["empty_steps"] = 1 - batch.samples.step_mask.any(dim=2).float()
        return loss.mean(), {name: value.detach().mean() for name, value in logs.items()}

    def groups(self) -> list[Group]:
        """Two groups: the predictor, and the regularizer with its gate if the model has them."""
        learning = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        known = {id(parameter) for parameter in self.model.predictor.parameters()}
        predictor = [parameter for parameter in learning if id(parameter) in known]
        rest = [parameter for parameter in learning if id(parameter) not in known]
        groups = [Group("predictor", predictor, self.schedule)]
        return [*groups, Group("regularizer", rest, self.config.regularizer)] if rest else groups

    def report(self) -> Report:
        """See `report_drags`."""
        samples = self._validation.samples(range(len(self._validation)))
        steps = self.model.config.steps
        return report_drags(self._dragging, [in_steps(sample, steps) for sample in samples], self.units)

    def _begin(self, batch: DragBatch) -> Drags:
        """The drags, which start from w_0, or for `batch.continued` from a step of a rollout."""
        drags = self._dragging.begin(batch.samples)
        if len(batch.continued) == 0:
            return drags
        moved = self._dragging.continued(drags.only(batch.continued), batch.first_step[batch.continued])
        return drags.replaced(batch.continued, moved)

    def _drag_loss(self, batch: DragBatch, predicted: Float[Tensor, "B n L D"]) -> Float[Tensor, " B"]:
        """Eq. 13 on the chosen steps. No gradient flows through the features of the true latents."""
        samples, steps, some = batch.samples, batch.steps, batch.matched
        losses = predicted.new_zeros(steps.numel())
        if len(some):  # steps without points have no loss and need no features
            row, step = some // steps.shape[1], steps.flatten()[some]
            pairs = (samples.step_handles, samples.step_targets, samples.step_mask)
            handles, targets, mask = (part[row, step] for part in pairs)
            generator, block = self._dragging.generator, self.config.drag_block
            with torch.no_grad():
                held = generator.features(samples.ws[row, step], block=block)
            after = generator.features(predicted[row, step], block=block)
            losses[some] = drag_loss(held, after, handles, targets, mask, generator.resolution, self.config.drag_patch)
        return losses.unflatten(0, tuple(steps.shape)).sum(dim=1) * (samples.step_mask.shape[1] / steps.shape[1])
