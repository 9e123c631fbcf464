"""Paired image reconstruction (section 4.3.2): turn an image into another, given 32 points of the flow between them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from autodrag.evaluation.metrics import squared_error
from autodrag.evaluation.tasks.base import Item, Latents, Prediction, Score
from autodrag.evaluation.tasks.motion import HEIGHT, FlowTask, flow_item
from autodrag.generator import FrozenGenerator
from autodrag.images import to_size
from autodrag.latents import EDITED_ROWS, join, split
from autodrag.seeding import rng
from autodrag.vision.flow import Flow
from autodrag.vision.networks import Lpips


@dataclass(frozen=True)
class PairedConfig:
    """`configs/task/paired.yaml`."""

    name: Literal["paired"]
    count: int  # pairs
    psi: float  # truncation of the first image
    lam: float  # how far each row of the second goes towards that of its own random, untruncated latent
    points: int  # of the flow that the method gets
    flow: Literal["auto", "raft", "dis"]
    max_steps: int  # limit for the optimisers


class Paired(FlowTask):
    """MSE x 100 and LPIPS x 10 between the edited and the second image, in [-1, 1] at 256 px."""

    columns: ClassVar = {"mse": "MSE x 100", "lpips": "LPIPS x 10", "outside": "outside"}

    def __init__(
        self,
        generator: FrozenGenerator,
        seed: int,
        config: PairedConfig,
        content: tuple[float, float, float, float] | None,
        lpips: Lpips | None,
    ) -> None:
        """content: as in `FlowTask`."""
        super().__init__(generator, seed, config.points, Flow(config.flow, generator.device), content)
        self._config, self._lpips = config, lpips

    def try_item(self, index: int, attempt: int) -> Item | None:
        first, second = self.image_pair(index, attempt)
        flow = self._flow(first, second)[0]
        height, width = flow.shape[1:]
        x0, y0, x1, y1 = self._content
        left, top, right, bottom = round(x0 * width), round(y0 * height), round(x1 * width), round(y1 * height)
        draw = torch.randperm(
            (right - left) * (bottom - top), generator=rng(self.seed, "paired points", index, attempt)
        )
        chosen = draw[: self._points]
        x, y = left + chosen % (right - left), top + chosen // (right - left)
        return flow_item(index, attempt, torch.stack([x, y], dim=1), flow, self.generator.resolution)

    def latents(self, items: Sequence[Item]) -> Latents:
        size = (EDITED_ROWS + 1, self.generator.z_dim)
        z = torch.stack([self.draws("paired", item.index, item.attempt, *size) for item in items])
        first = self.generator.map(z[:, 0], psi=self._config.psi)
        others = self.generator.map(z[:, 1:].flatten(0, 1)).unflatten(0, (len(z), EDITED_ROWS))
        row = torch.arange(EDITED_ROWS, device=first.device)
        head, tail = split(first)
        return Latents(first, join(torch.lerp(head, others[:, row, row], self._config.lam), tail))

    def score(self, setting: str, items: Sequence[Item], prediction: Prediction) -> list[Score]:
        latents = self.latents(items)
        assert latents.goal is not None
        images, sources, goals = (self.images(ws) for ws in (prediction.ws, latents.source, latents.goal))
        small, wanted = to_size(images, HEIGHT), to_size(goals, HEIGHT)
        mse = (100 * squared_error(small, wanted)).tolist()
        lpips: list[float | None] = [None] * len(items)
        if self._lpips is not None:
            lpips = (10 * self._lpips(small, wanted)).tolist()
        outside = self.outside(setting, items, images, sources)
        return [{"mse": m, "lpips": p, "outside": o} for m, p, o in zip(mse, lpips, outside, strict=True)]
