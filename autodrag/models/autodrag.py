"""AutoDrag: the predictor P and the regularizer R, with teacher forcing for training and rollouts for inference."""

import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from autodrag.errors import InputError
from autodrag.latents import join, split
from autodrag.models.predictor import DragContext, Past, Predictor, PredictorConfig
from autodrag.models.regularizer import Regularizer, RegularizerConfig
from autodrag.models.statistics import Statistics
from autodrag.models.stored import StoredModel
from autodrag.typed import build

NEGLIGIBLE_GATE = 1e-3  # gates below it leave no visible effect of R


@dataclass(frozen=True)
class ModelConfig:
    """Config of the whole model.

    skip: how R is applied. `gated` (ours): w_hat = w~ + g (R(w~) - w~) with a learned scalar g; `plain`: w_hat = R(w~);
    `none`: w_hat = w~.
    """

    predictor: PredictorConfig
    regularizer: RegularizerConfig
    steps: int = 5  # n, steps per drag
    feature_block: int = 6  # generator block, counted from 1, whose output is F_0
    skip: Literal["gated", "plain", "none"] = "gated"  # see above
    gate: float = 0.0  # initial g; 0: an untrained model is the identity


@dataclass(frozen=True)
class DomainShape:
    """Shapes of a generator's latents, features and images."""

    num_ws: int  # L, rows of a latent
    w_dim: int  # D, width of a latent
    feature_shape: tuple[int, int, int]  # (C, h, w) of F_0
    resolution: tuple[int, int]  # (H, W) of the images


class AutoDrag(StoredModel):
    """Predicts the latents of each step of a drag from source features, points and latents. Rows 6.. do not change."""

    kind = "autodrag"

    def __init__(self, config: ModelConfig, shape: DomainShape, statistics: Statistics) -> None:
        super().__init__()
        if config.steps < 1:
            raise InputError(f"A drag needs at least one step, but model.steps={config.steps}: set it to at least 1.")
        self.config = config
        self.shape = shape
        self.predictor = Predictor(config.predictor, shape.w_dim, shape.feature_shape, statistics)
        self.regularizer: Regularizer | None = None
        if config.skip != "none":
            self.regularizer = Regularizer(config.regularizer, shape.num_ws, shape.w_dim, statistics)
        if config.skip == "gated":
            self.gate = nn.Parameter(torch.tensor(config.gate))
        self.leaves_out_regularizer = False

    def leave_out_negligible(self) -> "AutoDrag":
        """For inference: drop R if its gate is below NEGLIGIBLE_GATE (reported on stderr). Returns self.

        R is a third of the cost of a drag.
        """
        gate = self.gate.item() if self.config.skip == "gated" else 1.0
        self.leaves_out_regularizer = abs(gate) < NEGLIGIBLE_GATE
        if self.leaves_out_regularizer:
            print(f"Skipping the regularizer: its gate is {gate:.2g}, below {NEGLIGIBLE_GATE:g}.", file=sys.stderr)
        return self

    def forward(
        self,
        ws: Float[Tensor, "B n L D"],
        features: Float[Tensor, "B C h w"],
        handles: Float[Tensor, "B P 2"],
        targets: Float[Tensor, "B P 2"],
        mask: Bool[Tensor, "B P"] | None = None,
        own: Bool[Tensor, " B"] | None = None,
    ) -> Float[Tensor, "B n L D"]:
        """Predict w_hat_1..w_hat_n in one pass, each from the given previous latent (teacher forcing).

        ws: w_0..w_{n-1}. features: F_0 of w_0. handles, targets: image pixels. mask: False at padding; None: no
        padding. own: True for samples whose inputs after w_0 are the model's own predictions (detached) instead.
        """
        context = self.predictor.encode(split(ws[:, 0])[0], features, handles, targets, mask, self.shape.resolution)
        if own is not None:
            ws = self._replaced(ws, context, own)
        return self._steps(ws, context, ws.shape[1])

    @torch.no_grad()
    def _replaced(
        self, ws: Float[Tensor, "B n L D"], context: DragContext, own: Bool[Tensor, " B"]
    ) -> Float[Tensor, "B n L D"]:
        """The given latents; for samples with `own`, the model's own predictions, decoded step by step."""
        total = ws.shape[1]
        starts, past = [ws[:, :1]], self.predictor.begin(total)
        for index in range(total - 1):
            reached = self._steps(starts[-1], context, total, index, past)
            starts.append(torch.where(own[:, None, None, None], reached, ws[:, index + 1 : index + 2]))
        return torch.cat(starts, dim=1)

    def rollout(
        self,
        ws: Float[Tensor, "B L D"],
        features: Float[Tensor, "B C h w"],
        handles: Float[Tensor, "B P 2"],
        targets: Float[Tensor, "B P 2"],
        mask: Bool[Tensor, "B P"] | None = None,
        n: int | None = None,
    ) -> list[Float[Tensor, "B L D"]]:
        """All steps of `walk`, as a list."""
        return list(self.walk(ws, features, handles, targets, mask, n))

    def walk(
        self,
        ws: Float[Tensor, "B L D"],
        features: Float[Tensor, "B C h w"],
        handles: Float[Tensor, "B P 2"],
        targets: Float[Tensor, "B P 2"],
        mask: Bool[Tensor, "B P"] | None = None,
        n: int | None = None,
        image: Float[Tensor, "B S E"] | None = None,
    ) -> Iterator[Float[Tensor, "B L D"]]:
        """Drag: yield w_hat_1..w_hat_n, each predicted from the previous one.

        ws: latents of the source. n: number of steps, default as in training. image: as in `Predictor.encode`. Other
        arguments as in `forward`. Costs one encoder pass, and n decoder passes over the K tokens of a step. Raises
        InputError if n is below 1.
        """
        total = self.config.steps if n is None else n
        if total < 1:
            raise InputError(f"A drag needs at least one step, but got n={total}: choose n of at least 1.")
        context = self.predictor.encode(split(ws)[0], features, handles, targets, mask, self.shape.resolution, image)
        here, past = ws[:, None], self.predictor.begin(total)
        for index in range(total):
            here = self._steps(here, context, total, index, past)
            yield here[:, 0]

    def _steps(
        self,
        ws: Float[Tensor, "B s L D"],
        context: DragContext,
        total: int,
        start: int = 0,
        past: Past | None = None,
    ) -> Float[Tensor, "B s L D"]:
        """w_hat_{start+1}, ... from w_start, ...; `past` as in `Predictor.forward`."""
        head, tail = split(ws)
        return self.regularize(join(self.predictor(head, context, total, start, past), tail))

    def regularize(self, w_tilde: Float[Tensor, "*batch L D"]) -> Float[Tensor, "*batch L D"]:
        """w~ -> w_hat: R with its skip connection; w~ itself without R."""
        if self.regularizer is None or self.leaves_out_regularizer:
            return w_tilde
        restored = self.regularizer(w_tilde.reshape(-1, *w_tilde.shape[-2:])).view_as(w_tilde)
        return restored if self.config.skip == "plain" else w_tilde + self.gate * (restored - w_tilde)

    def stored_config(self) -> dict[str, Any]:
        """Config and shape."""
        return {"model": asdict(self.config), "shape": asdict(self.shape)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "AutoDrag":
        """See `StoredModel`; the statistics are buffers, loaded with the weights."""
        shape = build(DomainShape, config["shape"])
        identity = Statistics.identity(shape.w_dim, shape.feature_shape[0])
        return cls(build(ModelConfig, config["model"]), shape, identity)
