"""FreeDrag, GAN version (Ling et al. 2024): adaptive template features and line search, one Adam step at a time."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

from autodrag.generator import FrozenGenerator
from autodrag.methods.base import Number, Points, Request, Step, Update, check_positive, read_request, run_steps
from autodrag.methods.optimise import EditedRows
from autodrag.methods.sampling import every, indices, read

SUB_STEPS = 5  # maximum Adam steps per sub-motion
CANDIDATES = 10  # positions tried by the line search
LAST_STEPS = 10  # maximum steps after a sub-motion that ends with every point within a pixel of its target
PATCH = 3.0  # spacing of the 3 x 3 samples around a point, in image pixels


@dataclass(frozen=True)
class FreeDrag:
    """FreeDrag as published, in W+ on the first six rows, batched over images."""

    generator: FrozenGenerator
    l: Number = 0.3  # noqa: E741 - target loss of a sub-motion; 0.4 for lions, elephants, dogs and giraffes
    d: Number = 3  # maximum length of a sub-motion, in feature pixels; 4 for these
    lr: Number = 2e-3  # of Adam
    max_steps: int = 300  # maximum number of updates
    mask_weight: Number = 10  # of the mask term
    block: int = 6  # generator block whose features are used

    def __post_init__(self) -> None:
        check_positive("freedrag", l=self.l, d=self.d, lr=self.lr, max_steps=self.max_steps, block=self.block)

    def drag(self, ws: Float[Tensor, "B L D"], handles: Points, targets: Points, mask: Any = None) -> Iterator[Step]:
        """See `DragMethod.drag`. `Step.points` are the moving targets of the sub-motion, not tracked handles."""
        return run_steps(self._updates, read_request(self.generator, ws, handles, targets, mask))

    def _updates(self, request: Request) -> Iterator[Update]:
        # The gradient of the mask term, the sign of F - F_0, is mostly rounding error: round as the official code does.
        rows = EditedRows(self.generator, request.ws, self.lr, self.block, plain=request.mask is not None)
        features = rows.features()
        edits = self._start(request, features.detach())
        ws, points = request.ws, request.handles
        done = every((edits.aims == edits.targets).all(dim=1), edits.owner, len(ws))
        for step in range(1, self.max_steps + 1):
            going = ~done[edits.images]
            asked = going.tolist()
            if not any(asked):
                return
            if not all(asked):
                rows.keep(going)
                edits, features = edits.keep(going), features[going]
            edits = self._aim(edits, features.detach())
            losses = edits.losses(features)
            rows.step(losses.sum() + self.mask_weight * edits.fixed_loss(features))
            features = rows.features()
            edits = replace(edits, begin=torch.where(edits.fresh, losses.detach(), edits.begin))
            edits, finished = self._conclude(edits, losses.detach(), features.detach(), step)
            ws, points, done = ws.clone(), points.clone(), done.clone()
            ws[edits.images] = rows.ws
            points[edits.images[edits.owner], edits.slot] = edits.aims / edits.scale
            done[edits.images] = finished
            yield Update(ws, points, done)

    def _start(self, request: Request, features: Float[Tensor, "B C h w"]) -> "_Edits":
        scale = features.shape[2] / self.generator.resolution[0]  # as published, without half-pixel centres
        owner, slot = request.valid.nonzero(as_tuple=True)
        handles = request.handles[request.valid] * scale
        zero = torch.zeros(len(owner), device=handles.device)
        batch = len(request.ws)
        size = (features.shape[2], features.shape[3])
        fixed = None if request.mask is None else 1 - F.adaptive_avg_pool2d(request.mask, size)
        return _Edits(
            images=torch.arange(batch, device=handles.device),
            count=torch.zeros(batch, dtype=torch.long, device=handles.device),
            limit=torch.full((batch,), self.max_steps, device=handles.device),
            start=None if fixed is None else features,
            fixed=fixed,
            owner=owner,
            slot=slot,
            aims=handles,
            targets=request.targets[request.valid] * scale,
            template=patches(features, owner, handles, scale),
            begin=zero,
            end=zero,
            arrived=torch.zeros(len(owner), dtype=torch.bool, device=handles.device),
            scale=scale,
        )

    def _aim(self, edits: "_Edits", features: Float[Tensor, "A C h w"]) -> "_Edits":
        """At the start of a sub-motion: set each point's moving target, by line search forward or by backtracking."""
        forward = edits.fresh & ~edits.arrived & (edits.end < 0.5 * self.l)
        back = edits.fresh & ~edits.arrived & ~forward & (edits.end >= edits.begin)
        way, reach = edits.way()
        retreat = edits.aims - torch.clamp(self.d / reach, max=1) * way
        moved = replace(edits, aims=torch.where(back[:, None], retreat, edits.aims))
        goal = torch.where(back, 0.0, 1.0 * self.l)
        longest = torch.where(back, 2.0 * self.d, 1.0 * self.d)
        found = self._search(moved, features, longest, goal, forward | back)
        return replace(edits, aims=found)

    def _search(
        self,
        edits: "_Edits",
        features: Float[Tensor, "A C h w"],
        longest: Float[Tensor, " M"],
        goal: Float[Tensor, " M"],
        which: Bool[Tensor, " M"],
    ) -> Float[Tensor, "M 2"]:
        """The position towards the target, at most `longest` ahead, whose loss is nearest to the goal."""
        those = indices(which)
        if isinstance(those, Tensor) and len(those) == 0:
            return edits.aims
        some = edits.points_only(those)
        way, reach = some.way()
        furthest = some.aims + torch.clamp(longest[those, None] / reach, max=1) * way
        share = torch.arange(1, CANDIDATES + 1, device=way.device)[:, None, None] / CANDIDATES
        candidates = torch.where(way == 0, some.aims, (1 - share) * some.aims + share * furthest)  # [10, M', 2]
        losses = torch.stack([(some.patches(features, c) - some.template).abs().mean(dim=(1, 2)) for c in candidates])
        best = (losses - goal[those]).abs().argmin(dim=0)
        aims = edits.aims.clone()
        aims[those] = candidates[best, torch.arange(len(best), device=best.device)]
        return aims

    def _conclude(
        self, edits: "_Edits", losses: Float[Tensor, " M"], features: Float[Tensor, "A C h w"], step: int
    ) -> tuple["_Edits", Bool[Tensor, " A"]]:
        """After an Adam step: update the templates where a sub-motion ends. Also returns which images are finished.

        losses: before the step. As in the official loop, they decide whether a sub-motion ends early, so it ends one
        step later than by the losses after the step.
        """
        patches = edits.patches(features, edits.aims)
        end = (patches - edits.template).abs().mean(dim=(1, 2))
        batch = len(edits.images)
        count = edits.count + 1
        over = (count >= SUB_STEPS) | every(losses < 0.25 * self.l, edits.owner, batch)
        mine = over[edits.owner]
        within = (edits.targets - edits.aims).norm(dim=1) < edits.scale
        arrived = torch.where(mine, within & (end <= 0.25 * self.l), edits.arrived)
        # FreeDrag Eq. 6: the better the features match the template, the larger its update.
        share = 1 / (1 + torch.exp(math.log(9) / (0.6 * self.l) * (end - 0.2 * self.l)))
        share = torch.where(arrived, 1.0, share)[:, None, None]
        blended = share * patches + (1 - share) * edits.template
        last = over & every(within, edits.owner, batch)
        finished = over & (every(arrived, edits.owner, batch) | (step >= edits.limit))
        return replace(
            edits,
            count=torch.where(over, 0, count),
            limit=torch.where(last, torch.clamp(edits.limit, max=step + LAST_STEPS), edits.limit),
            template=torch.where(mine[:, None, None], blended, edits.template),
            end=end,
            arrived=arrived,
        ), finished


@dataclass(frozen=True)
class _Edits:
    """Unfinished images and their points, without padding. Positions are in feature pixels."""

    images: Int[Tensor, " A"]  # indices in the request
    count: Int[Tensor, " A"]  # steps of the sub-motion so far
    limit: Int[Tensor, " A"]  # last step
    start: Float[Tensor, "A C h w"] | None  # features at the start; None without a mask
    fixed: Float[Tensor, "A h w"] | None  # 1 - mask
    owner: Int[Tensor, " M"]  # index into `images` of each point
    slot: Int[Tensor, " M"]  # index of each point among those of its image in the request
    aims: Float[Tensor, "M 2"]  # the moving targets
    targets: Float[Tensor, "M 2"]
    template: Float[Tensor, "M n C"]  # template features
    begin: Float[Tensor, " M"]  # loss before the first step of the sub-motion
    end: Float[Tensor, " M"]  # loss after its last step
    arrived: Bool[Tensor, " M"]
    scale: float  # feature pixels per image pixel

    @property
    def fresh(self) -> Bool[Tensor, " M"]:
        """True for points whose image starts a sub-motion."""
        return (self.count == 0)[self.owner]

    def way(self) -> tuple[Float[Tensor, "M 2"], Float[Tensor, "M 1"]]:
        """Offsets from the moving targets to the targets, and their lengths (never zero)."""
        way = self.targets - self.aims
        return way, way.norm(dim=1, keepdim=True) + 1e-8

    def patches(self, features: Float[Tensor, "A C h w"], places: Float[Tensor, "M 2"]) -> Float[Tensor, "M 9 C"]:
        """`patches` of the points' images."""
        return patches(features, self.owner, places, self.scale)

    def losses(self, features: Float[Tensor, "A C h w"]) -> Float[Tensor, " M"]:
        """FreeDrag Eq. 4: mean L1 between the features at the moving targets and the templates."""
        return (self.patches(features, self.aims) - self.template).abs().mean(dim=(1, 2))

    def fixed_loss(self, features: Float[Tensor, "A C h w"]) -> Float[Tensor, ""]:
        """Sum over images of the mean L1 change of the features in the fixed region."""
        if self.start is None or self.fixed is None:
            return features.new_zeros(())
        total = ((features - self.start).abs() * self.fixed[:, None]).sum(dim=(1, 2, 3))
        return (total / (self.fixed.sum(dim=(1, 2)) * features.shape[1]).clamp(min=1e-6)).sum()

    def points_only(self, which: Bool[Tensor, " M"] | Int[Tensor, " K"] | slice) -> "_Edits":
        """The same images with a subset of the points."""
        return replace(
            self,
            owner=self.owner[which],
            slot=self.slot[which],
            aims=self.aims[which],
            targets=self.targets[which],
            template=self.template[which],
            begin=self.begin[which],
            end=self.end[which],
            arrived=self.arrived[which],
        )

    def keep(self, going: Bool[Tensor, " A"]) -> "_Edits":
        """The edits of these images only."""
        kept = self.points_only(going[self.owner])
        return replace(
            kept,
            owner=(going.cumsum(0) - 1)[kept.owner],
            images=self.images[going],
            count=self.count[going],
            limit=self.limit[going],
            start=None if self.start is None else self.start[going],
            fixed=None if self.fixed is None else self.fixed[going],
        )


def patches(
    features: Float[Tensor, "B C h w"], owner: Int[Tensor, " M"], places: Float[Tensor, "M 2"], scale: float
) -> Float[Tensor, "M 9 C"]:
    """Features at 3 x 3 samples around each position, PATCH px of the image apart. scale: feature px per image px."""
    reach = torch.arange(-1, 2, device=places.device) * PATCH * scale
    around = places[:, None] + torch.cartesian_prod(reach, reach).flip(1)
    return read(features, owner[:, None].expand(around.shape[:2]), around)
