"""AutoDrag: the predictor and the regularizer together, taught on given motions or rolled out on its own."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from autodrag.errors import InputError
from autodrag.latents import join, split
from autodrag.models.predictor import DragContext, Past, Predictor, PredictorConfig
from autodrag.models.regularizer import Regularizer, RegularizerConfig
from autodrag.models.statistics import Statistics
from autodrag.models.stored import read_model, write_model
from autodrag.typed import build

NEGLIGIBLE_GATE = 1e-3  # of R: below it a drag changes by less than a thousandth of what R corrects


@dataclass(frozen=True)
class ModelConfig:
    """The whole model.

    steps: n, the steps of a drag. feature_block: the generator block, counted from 1, whose output is F_0.
    skip: how R enters. `gated`: w_hat = w~ + g (R(w~) - w~) with a learned number g; `plain`: w_hat = R(w~); `none`: no
    R.
    gate: g before training. At 0 (ours) an untrained model is the identity and R earns its share.
    """

    predictor: PredictorConfig
    regularizer: RegularizerConfig
    steps: int = 5
    feature_block: int = 6
    skip: Literal["gated", "plain", "none"] = "gated"
    gate: float = 0.0


@dataclass(frozen=True)
class DomainShape:
    """What a model must know of its generator.

    num_ws, w_dim: rows L and width D of its latents. feature_shape: (C, h, w) of F_0. resolution: (H, W) of its images.
    """

    num_ws: int
    w_dim: int
    feature_shape: tuple[int, int, int]
    resolution: tuple[int, int]


class AutoDrag(nn.Module):
    """Source features, points and latents in; the latents of each step of the drag out. Rows 6.. are never changed."""

    def __init__(self, config: ModelConfig, shape: DomainShape, statistics: Statistics) -> None:
        super().__init__()
        if config.steps < 1:
            raise InputError(f"A drag of steps={config.steps} goes nowhere; give model.steps of at least 1.")
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
        """For use, not for training: leave R out where its gate all but closes it, and say so. Returns self.

        R is a third of what a drag costs, and at a gate below 0.001 no picture shows what it adds.
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
        """w_hat_1..w_hat_n, each from the given latent before it (teacher forcing), all at once.

        ws: w_0..w_{n-1}. features: F_0 of w_0. handles, targets: pixels of the generator's image. mask: True at real
        pairs. own: True where a step starts from what the model itself has just reached (without a gradient through
        that) instead of the given latent.
        """
        context = self.predictor.remember(split(ws[:, 0])[0], features, handles, targets, mask, self.shape.resolution)
        if own is not None:
            ws = self._replaced(ws, context, own)
        return self._steps(ws, context, ws.shape[1])

    @torch.no_grad()
    def _replaced(
        self, ws: Float[Tensor, "B n L D"], context: DragContext, own: Bool[Tensor, " B"]
    ) -> Float[Tensor, "B n L D"]:
        """The given latents, or the model's own where asked for, which have to be found one after another."""
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
    ) -> Iterator[Float[Tensor, "B L D"]]:
        """Drag, step by step.

        Arguments as in `forward`, with ws the source's latents and n the number of steps (None: those of the training).
        Costs one pass over the memory and n passes over the K tokens of a single step.
        """
        total = self.config.steps if n is None else n
        if total < 1:
            raise InputError(f"A drag of n={total} steps goes nowhere; give n of at least 1.")
        context = self.predictor.remember(split(ws)[0], features, handles, targets, mask, self.shape.resolution)
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
        """From w_start, w_start+1, ... to w_hat one step on; `past` as in `Predictor`."""
        head, tail = split(ws)
        return self.regularize(join(self.predictor(head, context, total, start, past), tail))

    def regularize(self, w_tilde: Float[Tensor, "*batch L D"]) -> Float[Tensor, "*batch L D"]:
        """w~ -> w_hat by the skip connection to R; w~ itself where R is left out."""
        if self.regularizer is None or self.leaves_out_regularizer:
            return w_tilde
        restored: Tensor = self.regularizer(w_tilde.reshape(-1, *w_tilde.shape[-2:])).view_as(w_tilde)
        return restored if self.config.skip == "plain" else w_tilde + self.gate * (restored - w_tilde)

    def save(self, path: Path | str, about: Mapping[str, str] | None = None, half: bool = False) -> None:
        """Write weights, statistics and configuration to one safetensors file; `about` is kept beside them as text.

        half: weights (not statistics) in float16, for half the size; they are read back as float32.
        """
        config = {"model": asdict(self.config), "shape": asdict(self.shape)}
        write_model(path, "autodrag", self, config, about, half)

    @classmethod
    def load(cls, path: Path | str, device: torch.device | str = "cpu") -> "AutoDrag":
        """The model of a file that `save` wrote. Raises InputError where the file is missing or something else."""
        stored = read_model(path, "autodrag", str(device))
        config, shape = build(ModelConfig, stored.config["model"]), build(DomainShape, stored.config["shape"])
        model = cls(config, shape, Statistics.identity(shape.w_dim, shape.feature_shape[0])).to(device)
        model.load_state_dict({name: tensor.float() for name, tensor in stored.tensors.items()})
        return model.eval()
