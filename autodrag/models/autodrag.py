"""AutoDrag: the predictor and the regularizer, with teacher forcing for training and rollouts for drags."""

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

NEGLIGIBLE_GATE = 1e-3  # below it, R adds less than a thousandth of its correction


@dataclass(frozen=True)
class ModelConfig:
    """The whole model.

    skip is how R is used. `gated` (ours): w_hat = w~ + g (R(w~) - w~) with a learned number g; `plain`: w_hat = R(w~);
    `none`: w_hat = w~.
    """

    predictor: PredictorConfig
    regularizer: RegularizerConfig
    steps: int = 5  # n, the steps of a drag
    feature_block: int = 6  # generator block, counted from 1, whose output is F_0
    skip: Literal["gated", "plain", "none"] = "gated"  # see above
    gate: float = 0.0  # g before training; at 0, an untrained model is the identity


@dataclass(frozen=True)
class DomainShape:
    """What a model needs to know about its generator."""

    num_ws: int  # L, rows of a latent
    w_dim: int  # D, width of a latent
    feature_shape: tuple[int, int, int]  # (C, h, w) of F_0
    resolution: tuple[int, int]  # (H, W) of the images


class AutoDrag(StoredModel):
    """Predicts the latents of every step of a drag from source features, points and latents. Rows 6.. do not change."""

    kind = "autodrag"

    def __init__(self, config: ModelConfig, shape: DomainShape, statistics: Statistics) -> None:
        super().__init__()
        if config.steps < 1:
            raise InputError(f"A drag of steps={config.steps} has no step: set model.steps of at least 1.")
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
        """For inference: leave R out if its gate is below NEGLIGIBLE_GATE, and print that. Returns self.

        R is a third of the cost of a drag, and its effect is invisible at a gate below 0.001.
        """
        gate = self.gate.item() if self.config.skip == "gated" else 1.0
        self.leaves_out_regularizer = abs(gate) < NEGLIGIBLE_GATE
        if self.leaves_out_regularizer:
            print(f"R is left out: its gate is {gate:.2g}, below {NEGLIGIBLE_GATE:g}.", file=sys.stderr)
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
        """w_hat_1..w_hat_n, each predicted from the given latent before it (teacher forcing), in one pass.

        ws: w_0..w_{n-1}. features: F_0 of w_0. handles, targets: image pixels. mask: False at padding; None: no
        padding. own: True for samples whose steps start from the model's own predictions (without a gradient through
        them) instead of the given latents.
        """
        context = self.predictor.encode(split(ws[:, 0])[0], features, handles, targets, mask, self.shape.resolution)
        if own is not None:
            ws = self._replaced(ws, context, own)
        return self._steps(ws, context, ws.shape[1])

    @torch.no_grad()
    def _replaced(
        self, ws: Float[Tensor, "B n L D"], context: DragContext, own: Bool[Tensor, " B"]
    ) -> Float[Tensor, "B n L D"]:
        """The given latents, with the model's own predictions for samples with `own`, which are made step by step."""
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
        """Drag: w_hat_1..w_hat_n, each predicted from the one before it. Arguments as in `walk`."""
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
        """Drag, step by step: yields w_hat_1..w_hat_n.

        ws: latents of the source. n: number of steps; None: that of training. image: as in `Predictor.encode`. Other
        arguments as in `forward`. Costs one pass of the encoder, and n passes of the decoder over the K tokens of one
        step.
        """
        total = self.config.steps if n is None else n
        if total < 1:
            raise InputError(f"A drag of n={total} steps has no step: choose n of at least 1.")
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
        """w~ -> w_hat by the skip connection around R; w~ itself if R is left out."""
        if self.regularizer is None or self.leaves_out_regularizer:
            return w_tilde
        restored = self.regularizer(w_tilde.reshape(-1, *w_tilde.shape[-2:])).view_as(w_tilde)
        return restored if self.config.skip == "plain" else w_tilde + self.gate * (restored - w_tilde)

    def stored_config(self) -> dict[str, Any]:
        """Config and shape."""
        return {"model": asdict(self.config), "shape": asdict(self.shape)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "AutoDrag":
        """A network of that config and shape; its statistics come with its weights."""
        shape = build(DomainShape, config["shape"])
        identity = Statistics.identity(shape.w_dim, shape.feature_shape[0])
        return cls(build(ModelConfig, config["model"]), shape, identity)
