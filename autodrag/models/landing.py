"""Landing: the latents nearest to the source that put the handles on their targets, found without rendering an image.

Ours. `PointMotion` predicts where points move when latents change, and is differentiable. `Manifold` limits how far
latents may move. A drag is then a small least-squares problem in the displacements d [K, Y] of the edited rows, in
whitened coordinates:

    sum_p c_p |place_p(d) - target_p|^2 / sigma^2  +  shared |mean d|^2 + apart |d - mean d|^2

within the limits of the manifold. Conflicting points are averaged, and pins are pairs whose target is their handle.
Everything else changes as little as possible; rows differ only where a common displacement in W is not enough. A few
Gauss-Newton steps of one or two milliseconds solve it, while the targets move from the handles to where they should
be. While a pointer moves, each solution starts at the previous one.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from autodrag.geometry import to_unit
from autodrag.latents import EDITED_ROWS
from autodrag.models.manifold import Manifold
from autodrag.models.point_motion import PointMotion, PointMotionConfig
from autodrag.models.stored import StoredModel
from autodrag.typed import build

SHORT = 0.6  # mean distance from the targets, in hundredths of the image's sides, above which a drag counts as short
WALLS, WALL_VARIANCE = 3, 1e-3  # largest number of repeated solves with violated limits; variance of their constraints
NEAR = 1.5  # hundredths; one step follows targets that moved by less, two steps others
MOST = 8  # total weight of the points of a drag, at most: errors of neighbours are correlated


@dataclass(frozen=True)
class LandingConfig:
    """Weights and limits. Deviations are standard deviations of W."""

    sigma: float = 0.15  # tolerated error of a point, in hundredths of the image's sides
    shared: float = 1.0  # weight of the squared common displacement of the rows, in deviations
    apart: float = 4.0  # weight of the rows' squared differences from it, in deviations
    max_apart: float = 0.6  # largest root mean square difference of the rows, in deviations; images fade beyond it
    robust: float = 0.15  # error in hundredths from which the loss of a point is linear (Huber); pins are exempt
    settle: int = 4  # additional steps with the final targets


@dataclass(frozen=True)
class Landed:
    """rows: the edited rows. points: predicted positions of the handles, in image pixels. short: whether a limit of the
    manifold stopped the drag before its targets.
    """

    rows: Float[Tensor, "B K D"]
    points: Float[Tensor, "B P 2"]
    short: Bool[Tensor, " B"]


class Landing(StoredModel):
    """Point motion and manifold of one generator. Points are (x, y) pixels of its images, latents the edited rows."""

    kind = "landing"
    cheapest: Tensor  # [K, K]

    def __init__(self, config: LandingConfig, motion: PointMotion, manifold: Manifold) -> None:
        super().__init__()
        self.config, self.motion, self.manifold = config, motion, manifold
        common = torch.full((EDITED_ROWS, EDITED_ROWS), 1 / EDITED_ROWS)
        differences = torch.eye(EDITED_ROWS) - common
        # The inverse of the quadratic penalty of displacements.
        cheapest = EDITED_ROWS / config.shared * common + differences / config.apart
        self.register_buffer("cheapest", cheapest, persistent=False)

    def source(self, rows: Float[Tensor, "B K D"]) -> "Source":
        """The state that all drags from the same edited rows share."""
        return Source(self, rows.float())

    def start(
        self,
        source: "Source",
        handles: Float[Tensor, "B P 2"],
        valid: Bool[Tensor, "B P"],
        image_hw: tuple[int, int],
    ) -> "Drag":
        """A new drag. handles: pixels. valid: True at real handles, False at padding."""
        return Drag(self, source, handles, valid, image_hw)

    @torch.no_grad()
    def walk(self, drag: "Drag", targets: Float[Tensor, "B P 2"], n: int) -> Iterator[Landed]:
        """The states of a drag after each of n steps. targets: pixels."""
        drag.aim(targets)
        for step in range(1, n + 1):
            drag.step(step / n)
            for _ in range(self.config.settle if step == n else 0):
                drag.step(1.0)
            yield drag.landed(step / n)

    @torch.no_grad()
    def follow(self, drag: "Drag", targets: Float[Tensor, "B P 2"]) -> Landed:
        """Continue a drag to targets that have moved a little, at a fraction of the cost of `walk`."""
        for _ in range(1 if bool(drag.aim(targets) < NEAR) else 2):
            drag.step(1.0)
        return drag.landed(1.0)

    def stored_config(self) -> dict[str, Any]:
        """Configs and shape."""
        shape = {"w_dim": len(self.manifold.mean), "size": self.manifold.size}
        return {"landing": asdict(self.config), "motion": asdict(self.motion.config), **shape}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Landing":
        """See `StoredModel`."""
        w_dim = int(config["w_dim"])
        motion = PointMotion(build(PointMotionConfig, config["motion"]), w_dim)
        return cls(build(LandingConfig, config["landing"]), motion, Manifold(w_dim, int(config["size"])))


class Source:
    """Edited rows that drags start from, and their limits."""

    def __init__(self, landing: Landing, rows: Float[Tensor, "B K D"]) -> None:
        manifold = landing.manifold
        self.rows = rows
        self.y = manifold.coordinates(rows)  # [B, K, Y]
        self.mean = self.y.mean(dim=1)
        self.allowed, self.mean_allowed = manifold.allowed(self.y), manifold.allowed(self.mean)


class Drag:
    """A batch of drags: its constants and its current state."""

    def __init__(
        self,
        landing: Landing,
        source: Source,
        handles: Float[Tensor, "B P 2"],
        valid: Bool[Tensor, "B P"],
        image_hw: tuple[int, int],
    ) -> None:
        self._landing, self.source, self._size = landing, source, image_hw
        self._handles, self._valid = handles, valid
        self._codes = landing.motion.codes(source.rows, handles, image_hw)
        self._places = landing.motion.places(source.rows, self._codes)
        self._way = torch.zeros_like(self._places)  # displacements from handles to targets, in hundredths
        real = valid.to(self._way)
        self._real = real[..., None]
        self._variance = landing.config.sigma**2 * (real.sum(dim=1) / MOST).clamp(min=1)  # [B]
        self._rows = source.rows
        self._at_limit = torch.zeros(len(source.y), dtype=torch.bool, device=source.y.device)
        self._moved = torch.zeros_like(source.y)  # [B, K, Y]
        self._gone = torch.zeros_like(self._places)  # displacement of the handles; an image spans -1..1
        self._behind = torch.zeros_like(real)  # [B, P], remaining distances of the last step, in hundredths

    def starts_at(self, handles: Float[Tensor, "B P 2"], valid: Bool[Tensor, "B P"]) -> bool:
        """Whether it is a drag of these handles."""
        return torch.equal(self._handles, handles) and torch.equal(self._valid, valid)

    def aim(self, targets: Float[Tensor, "B P 2"]) -> Float[Tensor, ""]:
        """Set the targets of the next steps, in pixels. Returns the largest distance from the previous targets, in
        hundredths of the image's sides.
        """
        before = self._way
        self._way = 50 * (to_unit(targets.float(), self._size) - to_unit(self._handles.float(), self._size))
        return (self._way - before).norm(dim=2).max()

    def landed(self, share: float) -> Landed:
        """The current state. share: of the way to the targets that the last step was to reach."""
        height, width = self._size
        missed = share * self._way - 50 * self._gone
        left = (missed.norm(dim=2, keepdim=True) * self._real).sum(dim=(1, 2)) / self._real.sum(dim=(1, 2))
        points = self._handles + self._gone * self._gone.new_tensor([width / 2, height / 2])
        return Landed(self._rows, points, self._at_limit & (left > SHORT))

    def step(self, share: float) -> None:
        """One Gauss-Newton step. share: of the way from the handles to the targets."""
        landing, source = self._landing, self.source
        moved = self._solve(share)
        kept = landing.manifold.inside(source.y + moved, source.y, source.allowed) - source.y
        mean, apart, size = _parted(kept)
        self._moved = mean + apart * (landing.config.max_apart / size.clamp(min=1e-9)).clamp(max=1)
        self._rows = landing.manifold.moved(source.rows, self._moved)
        self._gone = landing.motion.places(self._rows, self._codes) - self._places
        self._behind = (share * self._way - 50 * self._gone).norm(dim=2)

    def _solve(self, share: float) -> Float[Tensor, "B K Y"]:
        """The displacement with the least penalty that moves the points, within the limits of the manifold."""
        planes, asked, variance = self._pulls(share)
        points = planes.shape[1]
        moved, _ = self._cheapest(planes, asked, variance)
        self._at_limit = torch.zeros_like(self._at_limit)
        # Violated limits become constraints, and the step is solved again so that other directions compensate.
        for number in range(WALLS):
            normals, beyond = self._walls(moved)
            broken = normals.flatten(1).any(dim=1)[:, None, None]
            asks = number == 0 or not moved.is_cuda  # a synchronisation on a GPU: once a step
            if asks and not bool(broken.any()):
                break
            self._at_limit = self._at_limit | broken[:, 0, 0]
            planes, asked = torch.cat([planes, normals], dim=1), torch.cat([asked, beyond], dim=1)
            variance = torch.cat([variance, torch.full_like(beyond, WALL_VARIANCE)], dim=1)
            _, forces = self._cheapest(planes, asked, variance)
            point = torch.arange(forces.shape[1], device=forces.device) < points
            needed = ~broken | (forces <= 0) | point[:, None]  # a limit is an inequality
            planes, asked = planes * needed, asked * needed[..., 0]
            moved = torch.where(broken, self._cheapest(planes, asked, variance)[0], moved)
        return moved

    def _pulls(self, share: float) -> tuple[Float[Tensor, "B A KY"], Float[Tensor, "B A"], Float[Tensor, "B A"]]:
        """The linearised equations of the A = 2 P coordinates of the points, planes @ displacement = asked, in
        hundredths, and their variances.
        """
        config = self._landing.config
        by_rows = 50 * self._landing.motion.derivative(self._rows, self._codes) * self._real[..., None, None]
        turn = self._landing.manifold.derivative(self._rows)  # [B, K, D, Y]
        planes = torch.einsum("bpikd,bkdy->bpiky", by_rows, turn).flatten(3).flatten(1, 2)
        missed = (share * self._way - 50 * self._gone) * self._real
        asked = missed.flatten(1) + (planes @ self._moved.flatten(1)[..., None])[..., 0]
        # Huber's weights: an unreachable or conflicting target has a bounded influence.
        pinned = self._way.norm(dim=2) == 0
        lost = torch.where(pinned, 1.0, (self._behind / config.robust).clamp(min=1))
        return planes, asked, (self._variance[:, None] * lost).repeat_interleave(2, dim=1)

    def _walls(self, moved: Float[Tensor, "B K Y"]) -> tuple[Float[Tensor, "B W KY"], Float[Tensor, "B W"]]:
        """Violated limits, as normals @ displacement <= places; 0 for the others."""
        source, limit = self.source, self._landing.config.max_apart
        mean, apart, size = _parted(moved)
        normals, places = self._landing.manifold.walls(source.mean + mean[:, 0], source.mean_allowed)
        beyond = places - (normals @ source.mean[..., None])[..., 0]
        too_far = (size > limit)[:, 0]  # [B, 1]
        away = apart.flatten(1) / (size.flatten(1) * EDITED_ROWS**0.5).clamp(min=1e-9) * too_far  # [B, KY]
        return (
            torch.cat([(normals / EDITED_ROWS).repeat(1, 1, EDITED_ROWS), away[:, None]], dim=1),
            torch.cat([beyond, too_far * (limit * EDITED_ROWS**0.5)], dim=1),
        )

    def _cheapest(
        self, planes: Float[Tensor, "B A KY"], asked: Float[Tensor, "B A"], variance: Float[Tensor, "B A"]
    ) -> tuple[Float[Tensor, "B K Y"], Float[Tensor, "B A 1"]]:
        """The displacement with the least penalty for the equations planes @ displacement = asked with these variances,
        and its Lagrange multipliers.
        """
        moves: Tensor = (self._landing.cheapest @ planes.unflatten(2, (EDITED_ROWS, -1))).flatten(2).transpose(1, 2)
        forces: Tensor
        # Positive definite, so no error check, which would synchronise a GPU.
        forces, _ = torch.linalg.solve_ex(planes @ moves + torch.diag_embed(variance), asked[..., None])
        return (moves @ forces).unflatten(1, (EDITED_ROWS, -1))[..., 0], forces


def _parted(
    moved: Float[Tensor, "B K Y"],
) -> tuple[Float[Tensor, "B 1 Y"], Float[Tensor, "B K Y"], Float[Tensor, "B 1 1"]]:
    """The common displacement of the rows, their differences from it, and the root mean square norm of those."""
    mean = moved.mean(dim=1, keepdim=True)
    apart = moved - mean
    return mean, apart, apart.square().sum(dim=2, keepdim=True).mean(dim=1, keepdim=True).sqrt()
