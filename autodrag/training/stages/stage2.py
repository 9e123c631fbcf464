"""Stage 2: the predictor and the regularizer learn pseudo-trajectories together (section 3.2)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from autodrag.data.dataset import Batch, Trajectories, collate
from autodrag.errors import InputError
from autodrag.latents import split
from autodrag.losses import drag_loss, prediction_loss, total_loss
from autodrag.models import AutoDrag, PointMotion
from autodrag.seeding import rng
from autodrag.training.augmentation import AugmentationConfig, check_shares, in_steps, vary
from autodrag.training.latent_statistics import image_units
from autodrag.training.rollouts import Dragging, Drags
from autodrag.training.stages.base import Budget, Group, Report, Schedule, Stage
from autodrag.training.validation import report_drags


@dataclass(frozen=True)
class Stage2Config:
    """What stage 2 shows and what it asks for. Ours: gamma and everything from `drag_steps` on.

    predictor, regularizer: learning rates. start: the weights that stage 1 wrote, or another stage 2 to go on from;
    None: new ones. aim: the weights that the stage `aim` wrote, held fixed here; None: learnt along. Of use only to a
    model that has one.
    alpha, beta: weights of L_pred and L_drag; with beta 0 no features are computed for it. metric: L_pred counts errors
    of latents in W's deviations, or by what they change in the image (`image_units`, measured at `metric_latents`).
    motion: the weights
    that the stage `motion` wrote, by which the landing loss tells where the handles come to; None without. gamma: its
    weight.
    drag_block, drag_patch: the generator block, counted from 1, whose features L_drag compares, and how many
    of its pixels around a point (the paper's: 6 and 7).
    drag_steps: L_drag is computed on so many random steps of a motion and scaled to all of them; None: on all.
    finish: the last share of the training, in which beta and rounds take part; before it they are 0, for they are what
    costs most. 1: all of it, the paper's.
    points, step_points: pairs of a sample and of a step, at most. landmarks: share of the batches whose points are
    landmarks instead of matches. far: share of their samples that go to another motion's w_0. validation: samples that
    reports are made on.
    rollout: share of the samples trained on the model's own steps instead of the true ones. rounds: share that begins
    at a random step of an earlier rollout, with the handles tracked there.
    half: the weights are stored in float16.
    """

    budget: Budget
    predictor: Schedule
    regularizer: Schedule
    start: str | None
    aim: str | None
    alpha: float
    beta: float
    metric: Literal["deviation", "image"]
    motion: str | None
    gamma: float
    drag_block: int
    drag_patch: int
    drag_steps: int | None
    points: int
    step_points: int
    landmarks: float
    far: float
    validation: int
    rollout: float
    rounds: float
    finish: float
    augmentation: AugmentationConfig
    half: bool
    metric_latents: int = 6


@dataclass(frozen=True)
class DragBatch:
    """Samples, and how each is to be trained on.

    own: on the model's own steps. again: from that step of an earlier rollout; 0: from w_0. later: the samples for
    which that is not 0. steps: those of L_drag. matched: places among all steps [B S] of those that have points and
    begin at w_0. finishing: whether beta takes part. What is chosen is known before the batch goes to the device: to
    ask for it there would wait.
    """

    samples: Batch
    own: Bool[Tensor, " B"]
    again: Int[Tensor, " B"]
    later: Int[Tensor, " A"]
    steps: Int[Tensor, "B S"]
    matched: Int[Tensor, " M"]
    finishing: bool


class PredictorStage(Stage):
    """trajectories, validation: samples to train on and samples to report on. seed: of the variants and shares.

    motion: held fixed; None: no landing loss.
    """

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
        super().__init__()
        check_shares(config.augmentation)
        if not 0 < config.finish <= 1:
            raise InputError(
                f"stage2.finish is {config.finish:g}, expected a share of the training above 0, at most 1."
            )
        self.model = model
        self.motion = None if motion is None else motion.requires_grad_(False)
        self.config, self.seed = config, seed
        self._trajectories, self._validation = trajectories, validation
        self._dragging = Dragging(model, trajectories.generator)
        std = model.predictor.standardise.std
        image = config.metric == "image"
        measured = (trajectories.generator, std, model.config.feature_block)
        units = image_units(*measured, latents=config.metric_latents) if image else torch.diag(1 / std)
        self.register_buffer("units", units, persistent=False)

    def batch(self, positions: Sequence[int]) -> DragBatch:
        """What the trajectories hold there, varied by chance."""
        config, n = self.config, self.model.config.steps
        streams = [rng(self.seed, "stage2", position) for position in positions]
        trajectories = self._trajectories
        parts = zip(trajectories.samples(positions), trajectories.strangers(positions), streams, strict=True)
        samples = [vary(sample, other, config.augmentation, n, config.points, s) for sample, other, s in parts]
        collated = collate(samples)
        chance = torch.stack([torch.rand(2, generator=s) for s in streams])
        budget = config.budget
        begun = positions[0] // budget.batch * budget.batch  # where the batch begins, for every rank's part of it
        finishing = begun >= (1 - config.finish) * budget.epochs * budget.samples
        own, earlier = (chance < torch.tensor([config.rollout, config.rounds * finishing])).unbind(1)
        again = torch.stack([torch.randint(1, n + 1, (), generator=s) for s in streams]) * earlier
        steps = torch.stack([torch.randperm(n, generator=s)[: config.drag_steps or n] for s in streams])
        some = torch.tensor([[len(points) > 0 for points in sample.step_handles] for sample in samples])
        matched = some.gather(1, steps) & (again == 0)[:, None]  # nobody has matched the steps of later rounds
        device = collated.ws.device
        return DragBatch(
            collated,
            own.to(device),
            again.to(device),
            again.nonzero()[:, 0].to(device),
            steps.to(device),
            matched.flatten().nonzero()[:, 0].to(device),
            finishing,
        )

    def forward(self, batch: DragBatch) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Eq. 14 plus gamma times the landing loss, and its terms."""
        drags = self._begin(batch)
        own = batch.own if self.config.rollout > 0 else None
        predicted = self.model(drags.ws[:, :-1], drags.features, drags.handles, drags.targets, drags.mask, own)
        prediction = prediction_loss(predicted, drags.ws[:, 1:], self.units)
        beta = self.config.beta * batch.finishing
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
        """The predictor, and the regularizer with its gate where there is one."""
        learning = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        known = {id(parameter) for parameter in self.model.predictor.parameters()}
        predictor = [parameter for parameter in learning if id(parameter) in known]
        rest = [parameter for parameter in learning if id(parameter) not in known]
        groups = [Group("predictor", predictor, self.config.predictor)]
        return [*groups, Group("regularizer", rest, self.config.regularizer)] if rest else groups

    def networks(self) -> Iterable[nn.Module]:
        """The model, as it is called in training."""
        return [self.model]

    def report(self) -> Report:
        """See `report_drags`."""
        samples = self._validation.samples(range(len(self._validation)))
        steps = self.model.config.steps
        return report_drags(self._dragging, [in_steps(sample, steps) for sample in samples], self.units)

    def save(self, path: Path) -> None:
        """The whole model."""
        self.model.save(path, {"generator": self._dragging.generator.name}, self.config.half)

    def _begin(self, batch: DragBatch) -> Drags:
        """Where the drags start: at w_0, or for some of them where an earlier drag has come to."""
        drags = self._dragging.begin(batch.samples)
        if len(batch.later) == 0:
            return drags
        moved = self._dragging.go_on(drags.only(batch.later), batch.again[batch.later])
        return drags.replaced(batch.later, moved)

    def _drag_loss(self, batch: DragBatch, predicted: Float[Tensor, "B n L D"]) -> Float[Tensor, " B"]:
        """Eq. 13 on the chosen steps. The teacher's features are those of the true latents and outside the graph."""
        samples, steps, some = batch.samples, batch.steps, batch.matched
        losses = predicted.new_zeros(steps.numel())
        if len(some):  # a step without points has no loss, and its features would be wasted
            row, step = some // steps.shape[1], steps.flatten()[some]
            pairs = (samples.step_handles, samples.step_targets, samples.step_mask)
            handles, targets, mask = (part[row, step] for part in pairs)
            generator, block = self._dragging.generator, self.config.drag_block
            with torch.no_grad():
                held = generator.features(samples.ws[row, step], block=block)
            after = generator.features(predicted[row, step], block=block)
            losses[some] = drag_loss(held, after, handles, targets, mask, generator.resolution, self.config.drag_patch)
        return losses.unflatten(0, tuple(steps.shape)).sum(dim=1) * (samples.step_mask.shape[1] / steps.shape[1])
