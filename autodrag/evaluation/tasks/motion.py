"""Items for images of any kind: points whose motion between two generated images is known from optical flow."""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from autodrag.errors import InputError
from autodrag.evaluation.tasks.base import Item, Latents, Prediction, Task
from autodrag.generator import FrozenGenerator
from autodrag.geometry import rescale, sample
from autodrag.images import to_size
from autodrag.latents import join, split
from autodrag.seeding import rng
from autodrag.vision.flow import Flow

HEIGHT = 256  # pixels at which flow is computed
ROUND_TRIP_PX = 1.0  # largest error of the flow there and back, at that height


class FlowTask(Task):
    """The method gets some points of the optical flow between the first image and the second."""

    def __init__(
        self,
        generator: FrozenGenerator,
        seed: int,
        points: int,
        flow: Flow,
        content: tuple[float, float, float, float] | None,
    ) -> None:
        """content: (x0, y0, x1, y1) as fractions, the part of the canvas with a picture; None: all of it.

        Raises InputError for fewer than one point.
        """
        super().__init__(generator, seed)
        if points < 1:
            raise InputError(f"task.points is {points}, but an edit needs at least 1.")
        self._points, self._flow, self._content = points, flow, content or (0.0, 0.0, 1.0, 1.0)

    @property
    def settings(self) -> dict[str, list[int]]:
        return {str(self._points): list(range(self._points))}

    @property
    def tools(self) -> dict[str, str]:
        return {"flow": self._flow.name}

    def image_pair(self, index: int, attempt: int) -> tuple[Float[Tensor, "1 3 h w"], Float[Tensor, "1 3 h w"]]:
        """Both images of a draw, at the height at which flow is computed."""
        latents = self.latents([Item(index, attempt, (), ())])
        assert latents.goal is not None
        return to_size(self.images(latents.source), HEIGHT), to_size(self.images(latents.goal), HEIGHT)


class MotionTask(FlowTask):
    """The second image has rows 0-5 moved by `lam` towards those of another latent. The flow gives the points."""

    def __init__(
        self,
        generator: FrozenGenerator,
        seed: int,
        psi: float,
        lam: float,
        points: int,
        motion_px: float,
        flow: Flow,
        content: tuple[float, float, float, float] | None,
    ) -> None:
        """motion_px: least motion of a point, in pixels of a 512 px image. content: as in `FlowTask`."""
        super().__init__(generator, seed, points, flow, content)
        self._psi, self._lam, self._motion_px = psi, lam, motion_px

    def try_item(self, index: int, attempt: int) -> Item | None:
        first, second = self.image_pair(index, attempt)
        there, back = self._flow(first, second)[0], self._flow(second, first)[0]
        y, x = self._usable(there, back).nonzero(as_tuple=True)
        if len(x) < self._points:
            return None
        chosen = torch.randperm(len(x), generator=rng(self.seed, "motion points", index, attempt))[: self._points]
        return flow_item(index, attempt, torch.stack([x, y], dim=1)[chosen], there, self.generator.resolution)

    def latents(self, items: Sequence[Item]) -> Latents:
        first, second = (
            self.generator.map(self._z(items).flatten(0, 1), psi=self._psi).unflatten(0, (len(items), 2)).unbind(1)
        )
        head, tail = split(first)
        return Latents(first, join(torch.lerp(head, split(second)[0], self._lam), tail))

    def oracle(self, setting: str, items: Sequence[Item]) -> Prediction:
        """Raises InputError: scores are of the way, not of a goal."""
        raise InputError("This task has no goal for edits to match, so it has no oracle; choose another method.")

    def _z(self, items: Sequence[Item]) -> Float[Tensor, "B 2 Z"]:
        return torch.stack([self.draws("motion", item.index, item.attempt, 2, self.generator.z_dim) for item in items])

    def _usable(self, there: Float[Tensor, "2 h w"], back: Float[Tensor, "2 h w"]) -> Bool[Tensor, "h w"]:
        """Pixels of the content that move far, stay inside it, and are mapped back by the reverse flow."""
        height, width = there.shape[1:]
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        landed = torch.stack([x, y]) + there
        returned = sample(back[None], landed.flatten(1).T[None])[0].T.view_as(back)
        returns = (there + returned).norm(dim=0) < ROUND_TRIP_PX
        x0, y0, x1, y1 = self._content
        corners = torch.tensor([[x0 * width, y0 * height], [x1 * width - 1, y1 * height - 1]])[:, :, None, None]
        start = torch.stack([x, y])
        inside = [((place >= corners[0]) & (place <= corners[1])).all(dim=0) for place in (start, landed)]
        return (there.norm(dim=0) >= self._motion_px * HEIGHT / 512) & returns & inside[0] & inside[1]


def flow_item(
    index: int, attempt: int, pixels: Int[Tensor, "P 2"], flow: Float[Tensor, "2 h w"], resolution: tuple[int, int]
) -> Item:
    """The item that drags these pixels (x, y) of the flow field to where the flow takes them.

    resolution: (H, W) of the generator's images, in whose pixels the item is.
    """
    x, y = pixels.T
    ends = (pixels.float(), pixels + flow[:, y, x].T)
    points = (rescale(each, (flow.shape[1], flow.shape[2]), resolution).tolist() for each in ends)
    return Item(index, attempt, *(tuple((a, b) for a, b in each) for each in points))
