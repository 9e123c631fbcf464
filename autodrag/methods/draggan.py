"""DragGAN (Pan et al. 2023): motion supervision and point tracking on generator features, one Adam step at a time."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from autodrag.generator import FrozenGenerator
from autodrag.methods.base import Number, Points, Request, Step, Update, check_positive, read_request, run_steps
from autodrag.methods.masks import fixed_loss
from autodrag.methods.optimise import EditedRows
from autodrag.methods.sampling import every, indices, read_windows

CHUNK = 1 << 25  # maximum elements of the search windows in memory


@dataclass(frozen=True)
class DragGAN:
    """DragGAN as published, in W+ on the first six rows, batched over images."""

    generator: FrozenGenerator
    lr: Number = 2e-3  # of Adam; published: 2e-3 for FFHQ, AFHQ cats and LSUN cars, else 1e-3
    max_steps: int = 300  # maximum number of updates
    r1: Number = 3  # radius of motion supervision, in pixels of a 512 px image
    r2: Number = 12  # radius of point tracking, in the same unit
    mask_weight: Number = 20  # of the mask term
    stop_distance: Number | None = None  # px, for a handle to count as arrived; None: max(2 h / 512, 2), official
    block: int = 6  # generator block whose features are used

    def __post_init__(self) -> None:
        check_positive("draggan", lr=self.lr, max_steps=self.max_steps, r1=self.r1, r2=self.r2, block=self.block)

    def drag(self, ws: Float[Tensor, "B L D"], handles: Points, targets: Points, mask: Any = None) -> Iterator[Step]:
        """See `DragMethod.drag`. Handles are rounded and tracked to whole pixels, as in the official code."""
        return run_steps(self._updates, read_request(self.generator, ws, handles, targets, mask))

    def _updates(self, request: Request) -> Iterator[Update]:
        rows = EditedRows(self.generator, request.ws, self.lr, self.block)
        features = rows.features()
        edits = self._start(request, features.detach())
        ws, points = request.ws, request.handles.clone()
        points[request.valid] = edits.points
        done = self._arrived(edits)
        for _ in range(self.max_steps):
            going = ~done[edits.images]
            asked = going.tolist()
            if not any(asked):
                return
            if not all(asked):
                rows.keep(going)
                edits, features = edits.keep(going), features[going]
            rows.step(self._loss(edits, features))
            features = rows.features()
            edits = replace(edits, points=self._track(edits, features.detach()))
            ws, points, done = ws.clone(), points.clone(), done.clone()
            ws[edits.images] = rows.ws
            points[edits.images[edits.owner], edits.slot] = edits.points
            done[edits.images] = self._arrived(edits)
            yield Update(ws, points, done)

    def _start(self, request: Request, features: Float[Tensor, "B C h w"]) -> "_Edits":
        image_hw = self.generator.resolution
        owner, slot = request.valid.nonzero(as_tuple=True)
        limit = request.handles.new_tensor([image_hw[1] - 1, image_hw[0] - 1])
        points = torch.minimum(request.handles[request.valid].round().clamp(min=0), limit)
        fixed = None if request.mask is None else 1 - request.mask
        return _Edits(
            images=torch.arange(len(request.ws), device=points.device),
            owner=owner,
            slot=slot,
            points=points,
            targets=request.targets[request.valid],
            reference=read_windows(features, owner, points, 0, image_hw).values()[:, 0, 0],
            start=features if fixed is not None else None,
            fixed=fixed,
        )

    def _arrived(self, edits: "_Edits") -> Bool[Tensor, " A"]:
        """True for images whose handles are all within the stopping distance."""
        limit = max(2 * self.generator.resolution[0] / 512, 2) if self.stop_distance is None else self.stop_distance
        near = (edits.targets - edits.points).norm(dim=1) <= limit
        return every(near, edits.owner, len(edits.images))

    def _loss(self, edits: "_Edits", features: Float[Tensor, "A C h w"]) -> Float[Tensor, ""]:
        """Motion supervision (DragGAN Eq. 1) of all points, and the mask term."""
        image_hw = self.generator.resolution
        way = edits.targets - edits.points
        distance = way.norm(dim=1, keepdim=True)
        moving = indices(distance[:, 0] > 1)
        owner, points = edits.owner[moving], edits.points[moving]
        direction = (way / (distance + 1e-7))[moving]
        radius = max(1, round(self.r1 * image_hw[0] / 512))
        # Two pixels wider than the disk: its coordinates are scaled by h / (h - 1), and reads are shifted by up to one.
        windows = read_windows(features, owner, points, radius + 2, image_hw)
        disk = _disk(windows.y, windows.x, points, radius, image_hw)
        change = (windows.values().detach() - windows.shifted(direction)).abs().mean(dim=3)
        loss = ((change * disk).sum(dim=(1, 2)) / disk.sum(dim=(1, 2))).sum()
        if edits.start is not None and edits.fixed is not None:
            loss = loss + self.mask_weight * fixed_loss(features - edits.start, edits.fixed)
        return loss

    def _track(self, edits: "_Edits", features: Float[Tensor, "A C h w"]) -> Float[Tensor, "M 2"]:
        """The pixel of the search window whose features are nearest to those of the handle at the start (Eq. 2)."""
        image_hw = self.generator.resolution
        radius = max(1, round(self.r2 * image_hw[0] / 512))
        chunk = max(1, CHUNK // ((2 * radius + 1) ** 2 * features.shape[1]))
        found = []
        for part in torch.arange(len(edits.points), device=features.device).split(chunk):
            windows = read_windows(features, edits.owner[part], edits.points[part], radius, image_hw)
            distance = (windows.values() - edits.reference[part, None, None]).square().sum(dim=3)
            y, x = windows.y, windows.x
            inside = ((y >= 0) & (y < image_hw[0]))[:, :, None] & ((x >= 0) & (x < image_hw[1]))[:, None, :]
            best = distance.masked_fill(~inside, torch.inf).flatten(1).argmin(dim=1, keepdim=True)
            side = 2 * radius + 1
            found.append(torch.cat([x.gather(1, best % side), y.gather(1, best // side)], dim=1))
        return torch.cat(found)


@dataclass(frozen=True)
class _Edits:
    """Unfinished images and their points, without padding."""

    images: Int[Tensor, " A"]  # indices in the request
    owner: Int[Tensor, " M"]  # index into `images` of each point
    slot: Int[Tensor, " M"]  # index of each point among those of its image in the request
    points: Float[Tensor, "M 2"]  # (x, y) pixels
    targets: Float[Tensor, "M 2"]
    reference: Float[Tensor, "M C"]  # features of the handles at the start
    start: Float[Tensor, "A C h w"] | None  # features at the start; None without a mask
    fixed: Float[Tensor, "A H W"] | None  # 1 - mask

    def keep(self, going: Bool[Tensor, " A"]) -> "_Edits":
        """The edits of these images only."""
        mine = going[self.owner]
        return _Edits(
            images=self.images[going],
            owner=(going.cumsum(0) - 1)[self.owner[mine]],
            slot=self.slot[mine],
            points=self.points[mine],
            targets=self.targets[mine],
            reference=self.reference[mine],
            start=None if self.start is None else self.start[going],
            fixed=None if self.fixed is None else self.fixed[going],
        )


def _disk(
    y: Float[Tensor, "M k"],
    x: Float[Tensor, "M k"],
    points: Float[Tensor, "M 2"],
    radius: int,
    image_hw: tuple[int, int],
) -> Float[Tensor, "M k k"]:
    """1 at pixels of the image closer to the point than the radius.

    As in the official code, pixel i of h is placed at linspace(0, h, h)[i] = i h / (h - 1), slightly too far.
    """
    height, width = image_hw
    dy = y * height / (height - 1) - points[:, 1, None]
    dx = x * width / (width - 1) - points[:, 0, None]
    near = dy[:, :, None].square() + dx[:, None, :].square() < radius**2
    inside = ((y >= 0) & (y < height))[:, :, None] & ((x >= 0) & (x < width))[:, None, :]
    return (near & inside).float()
