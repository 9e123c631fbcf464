"""Stage `latent_transformer`: UserControllableLT learns to predict small offsets of latents from optical flow."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from autodrag.generator import FrozenGenerator
from autodrag.geometry import sample_at
from autodrag.images import to_size
from autodrag.latents import EDITED_ROWS, join, split
from autodrag.models.latent_transformer import (
    FEATURE_BLOCK,
    UNIT_HEIGHT,
    LatentTransformer,
    LatentTransformerConfig,
    MotionScale,
)
from autodrag.seeding import rng
from autodrag.training.stages.base import Budget, Report, Schedule, Stage
from autodrag.typed import check_bounds
from autodrag.vision.flow import Flow, log_expansion

GRID = 16  # points per side


@dataclass(frozen=True)
class LatentTransformerTraining:
    """`latent_transformer` in `configs/train.yaml`. Adam instead of the published Ranger is our choice."""

    budget: Budget
    schedule: Schedule
    network: LatentTransformerConfig  # size of the network
    psi: float  # truncation of w_1
    lam: float  # interpolation weight from w_1 towards random rows, for w_2
    flow: Literal["auto", "raft", "dis"]  # source of optical flow; auto: raft if its weights are installed, else dis
    validation: int  # pairs held out for validation
    half: bool  # store the weights in float16

    def __post_init__(self) -> None:
        check_bounds("latent_transformer", self, validation=(1, math.inf))


@dataclass(frozen=True)
class MotionBatch:
    """Pairs of latents, and the motion between their images at a grid of points."""

    first: Float[Tensor, "B L D"]  # w_1
    second: Float[Tensor, "B L D"]  # w_2
    features: Float[Tensor, "B C h w"]  # of w_1
    points: Float[Tensor, "B P 2"]  # image pixels
    motion: Float[Tensor, "B P 3"]  # (dx, dy, log expansion)


class MotionPairs:
    """Pairs of latents that differ by a small step in the edited rows, and the motion between their images."""

    def __init__(self, generator: FrozenGenerator, flow: Flow, psi: float, lam: float, seed: int) -> None:
        self.generator, self.flow = generator, flow
        self.psi, self.lam, self.seed = psi, lam, seed

    def latents(self, stage: str, positions: Sequence[int]) -> tuple[Float[Tensor, "B L D"], Float[Tensor, "B L D"]]:
        """(w_1, w_2): each edited row of w_2 is interpolated by lam towards that of a random untruncated latent."""
        size = (EDITED_ROWS + 1, self.generator.z_dim)
        z = torch.stack([torch.randn(size, generator=rng(self.seed, stage, position)) for position in positions])
        first = self.generator.map(z[:, 0], psi=self.psi).float()
        others = self.generator.map(z[:, 1:].flatten(0, 1)).float().unflatten(0, (len(z), EDITED_ROWS))
        row = torch.arange(EDITED_ROWS, device=first.device)
        head, tail = split(first)
        return first, join(torch.lerp(head, others[:, row, row], self.lam), tail)

    @torch.no_grad()
    def motion(
        self, first: Float[Tensor, "B L D"], second: Float[Tensor, "B L D"]
    ) -> tuple[Float[Tensor, "B P 2"], Float[Tensor, "B P 3"]]:
        """(points in image pixels, (dx, dy, log expansion) there), with flow in pixels of a 256 px image."""
        images = [self.generator.synthesize(ws) for ws in (first, second)]
        small = [to_size(image, UNIT_HEIGHT) for image in images]
        flow = self.flow(*small)
        fields = torch.cat([flow, log_expansion(flow)[:, None]], dim=1).to(first.device)
        points = grid_points(self.generator.resolution).to(first.device).expand(len(first), -1, -1)
        return points, sample_at(fields, points, self.generator.resolution)

    def scale(self, pairs: int = 64) -> MotionScale:
        """Root mean square of the flow and of the log expansion over `pairs` pairs."""
        parts = [self.motion(*self.latents("motion scale", range(i, i + 4)))[1] for i in range(0, pairs, 4)]
        motion = torch.cat(parts)
        flow, expansion = motion[..., :2].square().mean().sqrt(), motion[..., 2].square().mean().sqrt()
        return MotionScale(max(flow.item(), 1e-6), max(expansion.item(), 1e-6))


def grid_points(image_hw: tuple[int, int]) -> Float[Tensor, "P 2"]:
    """Centres of GRID x GRID cells of an image, row by row."""
    share = (torch.arange(GRID) + 0.5) / GRID
    y, x = torch.meshgrid(share * image_hw[0] - 0.5, share * image_hw[1] - 0.5, indexing="ij")
    return torch.stack([x, y], dim=2).flatten(0, 1)


class LatentTransformerStage(Stage):
    """The model learns to predict w_2 from w_1 and the motion."""

    model: LatentTransformer

    def __init__(self, model: LatentTransformer, pairs: MotionPairs, config: LatentTransformerTraining) -> None:
        about = {"generator": pairs.generator.name, "flow": pairs.flow.name}
        super().__init__(model, config.schedule, about, config.half)
        self.config, self._pairs = config, pairs

    def batch(self, positions: Sequence[int]) -> MotionBatch:
        """A new pair for every position."""
        return self._show("latent transformer", positions)

    def forward(self, batch: MotionBatch) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """MSE of the edited rows, in standard deviations of W. Logs: `left`, relative to the MSE of w_1."""
        change = self.model(batch.first, batch.features, batch.points, batch.motion)
        wanted = split((batch.second - batch.first) / self.model.standardise.std)[0]
        loss = (split(change / self.model.standardise.std)[0] - wanted).square().mean()
        return loss, {"left": (loss / wanted.square().mean()).detach()}

    def report(self) -> Report:
        """`left` on validation pairs."""
        left = [
            self(self._show("latent transformer held out", range(i, min(i + 4, self.config.validation))))[1]["left"]
            for i in range(0, self.config.validation, 4)
        ]
        return Report({"left": torch.stack(left).mean().item()})

    def _show(self, stage: str, positions: Sequence[int]) -> MotionBatch:
        pairs, scale = self._pairs, self.model.scale
        first, second = pairs.latents(stage, positions)
        points, motion = pairs.motion(first, second)
        units = motion.new_tensor([scale.flow, scale.flow, scale.expansion])
        with torch.no_grad():
            features = pairs.generator.features(first, block=FEATURE_BLOCK).float()
        return MotionBatch(first, second, features, points, motion / units)
