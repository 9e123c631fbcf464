"""Landing: finds the latents nearest to the source that place the handles on their targets, without rendering images.

Ours. `PointMotion` is a differentiable model of how points move with the latents, and `Manifold` limits how far latents
may be from typical ones. A drag is then a small least-squares problem in the displacements d [K, Y] of the edited rows,
in whitened coordinates:

    min_d  sum_p c_p |place_p(d) - target_p|^2 / sigma^2  +  shared |mean d|^2 + apart |d - mean d|^2

subject to the limits of the manifold. Conflicting points are averaged; pins are pairs whose target is their handle. The
penalty keeps everything else unchanged, and rows differ only where a common displacement in W is not enough. A few
Gauss-Newton steps of 1-2 ms solve it, while the targets move from the handles to their final positions. Live drags
start each solve from the previous solution.
"""

import math
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
from autodrag.typed import build, check_bounds

SHORT = 0.6  # mean distance from the targets above which a drag counts as short, in hundredths of the image sides
WALLS, WALL_VARIANCE = 3, 1e-3  # maximum re-solves with violated limits as constraints, and their variance
NEAR = 1.5  # hundredths; `follow` takes one step for targets that moved by less, otherwise two
MOST = 8  # maximum total weight of the points of a drag: errors of neighbours are correlated


@dataclass(frozen=True)
class LandingConfig:
    """Weights and limits of the solver. Deviations are standard deviations of W."""

    sigma: float = 0.15  # tolerated error of a point, in hundredths of the image sides
    shared: float = 1.0  # penalty on the squared common displacement of the rows, in deviations
    apart: float = 4.0  # penalty on the rows' squared differences from it, in deviations
    max_apart: float = 0.6  # limit of the rows' root mean square difference, in deviations; images degrade beyond it
    within: float = 0.9  # fraction of the manifold's limits that drags keep to; latents at many of them at once fade
    robust: float = 0.15  # Huber threshold of a point's error, in hundredths; pins are exempt
    settle: int = 4  # additional steps with the final targets

    def __post_init__(self) -> None:
        check_bounds("motion.landing", self, shared=(1e-12, math.inf), apart=(1e-12, math.inf))


@dataclass(frozen=True)
class Landed:
    """State of a drag.

    rows: the edited rows. points: predicted positions of the handles, in image pixels. short: whether the manifold's
    limits stopped the drag before its targets.
    """

    rows: Float[Tensor, "B K D"]
    points: Float[Tensor, "B P 2"]
    short: Bool[Tensor, " B"]


class Landing(StoredModel):
    """Point motion and manifold of one generator, and the solver. Points are image pixels, latents the edited rows."""

    kind = "landing"
    cheapest: Tensor  # [K, K]

    def __init__(self, config: LandingConfig, motion: PointMotion, manifold: Manifold) -> None:
        super().__init__()
        self.config, self.motion, self.manifold = config, motion, manifold
        common = torch.full((EDITED_ROWS, EDITED_ROWS), 1 / EDITED_ROWS)
        differences = torch.eye(EDITED_ROWS) - common
        # Inverse of the quadratic penalty on displacements.
        cheapest = EDITED_ROWS / config.shared * common + differences / config.apart
        self.register_buffer("cheapest", cheapest, persistent=False)

    def source(self, rows: Float[Tensor, "B K D"]) -> "Source":
        """State shared by all drags from the same edited rows."""
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
        """Yield the state of a drag after each of n steps. targets: pixels."""
        drag.aim(targets)
        for step in range(1, n + 1):
            drag.step(step / n)
            for _ in range(self.config.settle if step == n else 0):
                drag.step(1.0)
            yield drag.landed(step / n)

    @torch.no_grad()
    def follow(self, drag: "Drag", targets: Float[Tensor, "B P 2"]) -> Landed:
        """Continue a drag to targets that moved slightly, at a fraction of the cost of `walk`."""
        for _ in range(1 if bool(drag.aim(targets) < NEAR) else 2):
            drag.step(1.0)
        return drag.landed(1.0)

    def stored_config(self) -> dict[str, Any]:
        """Configs and shapes."""
        shape = {"w_dim": len(self.manifold.mean), "size": self.manifold.size}
        return {"landing": asdict(self.config), "motion": asdict(self.motion.config), **shape}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Landing":
        """See `StoredModel`."""
        w_dim = int(config["w_dim"])
        motion = PointMotion(build(PointMotionConfig, config["motion"]), w_dim)
        return cls(build(LandingConfig, config["landing"]), motion, Manifold(w_dim, int(config["size"])))


class Source:
    """Edited rows that drags start from, with their limits."""

    def __init__(self, landing: Landing, rows: Float[Tensor, "B K D"]) -> None:
        manifold = landing.manifold
        self.rows = rows
        self.y = manifold.coordinates(rows)  # [B, K, Y]
        self.mean = self.y.mean(dim=1)
        within = landing.config.within
        self.allowed, self.mean_allowed = manifold.allowed(self.y, within), manifold.allowed(self.mean, within)


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
        self._offsets = torch.zeros_like(self._places)  # displacements from handles to targets, in hundredths
        real = valid.to(self._offsets)
        self._real = real[..., None]
        self._variance = landing.config.sigma**2 * (real.sum(dim=1) / MOST).clamp(min=1)  # [B]
        self._rows = source.rows
        self._at_limit = torch.zeros(len(source.y), dtype=torch.bool, device=source.y.device)
        self._displacement = torch.zeros_like(source.y)  # [B, K, Y]
        self._shift = torch.zeros_like(self._places)  # displacements of the handles; an image spans [-1, 1]
        self._residual = torch.zeros_like(real)  # [B, P], remaining distances after the last step, in hundredths

    def starts_at(self, handles: Float[Tensor, "B P 2"], valid: Bool[Tensor, "B P"]) -> bool:
        """Whether this drag has these handles."""
        return torch.equal(self._handles, handles) and torch.equal(self._valid, valid)

    def aim(self, targets: Float[Tensor, "B P 2"]) -> Float[Tensor, ""]:
        """Set the targets, in pixels. Returns the largest distance from the previous ones, in hundredths of the image
        sides.
        """
        before = self._offsets
        self._offsets = 50 * (to_unit(targets.float(), self._size) - to_unit(self._handles.float(), self._size))
        return (self._offsets - before).norm(dim=2).max()

    def landed(self, share: float) -> Landed:
        """The current state. share: as in the last `step`."""
        height, width = self._size
        missed = share * self._offsets - 50 * self._shift
        left = (missed.norm(dim=2, keepdim=True) * self._real).sum(dim=(1, 2)) / self._real.sum(dim=(1, 2))
        points = self._handles + self._shift * self._shift.new_tensor([width / 2, height / 2])
        return Landed(self._rows, points, self._at_limit & (left > SHORT))

    def step(self, share: float) -> None:
        """One Gauss-Newton step towards the points at `share` (0 to 1) of the way from the handles to the targets."""
        landing, source = self._landing, self.source
        moved = self._solve(share)
        kept = landing.manifold.inside(source.y + moved, source.y, source.allowed) - source.y
        mean, apart, size = _common_and_rest(kept)
        self._displacement = mean + apart * (landing.config.max_apart / size.clamp(min=1e-9)).clamp(max=1)
        self._rows = landing.manifold.moved(source.rows, self._displacement)
        self._shift = landing.motion.places(self._rows, self._codes) - self._places
        self._residual = (share * self._offsets - 50 * self._shift).norm(dim=2)

    def _solve(self, share: float) -> Float[Tensor, "B K Y"]:
        """The minimiser of the linearised problem, within the limits of the manifold."""
        lhs, rhs, variance = self._point_equations(share)
        points = lhs.shape[1]
        moved, _ = self._minimise(lhs, rhs, variance)
        self._at_limit = torch.zeros_like(self._at_limit)
        # Active set: violated limits become constraints, and solving again lets other directions compensate.
        for number in range(WALLS):
            normals, bounds = self._violated_limits(moved)
            violated = normals.flatten(1).any(dim=1)[:, None, None]
            check = number == 0 or not moved.is_cuda  # synchronises a GPU: only once per step
            if check and not bool(violated.any()):
                break
            self._at_limit = self._at_limit | violated[:, 0, 0]
            lhs, rhs = torch.cat([lhs, normals], dim=1), torch.cat([rhs, bounds], dim=1)
            variance = torch.cat([variance, torch.full_like(bounds, WALL_VARIANCE)], dim=1)
            _, multipliers = self._minimise(lhs, rhs, variance)
            point = torch.arange(multipliers.shape[1], device=multipliers.device) < points
            needed = ~violated | (multipliers <= 0) | point[:, None]  # a limit only pushes inwards
            lhs, rhs = lhs * needed, rhs * needed[..., 0]
            moved = torch.where(violated, self._minimise(lhs, rhs, variance)[0], moved)
        return moved

    def _point_equations(
        self, share: float
    ) -> tuple[Float[Tensor, "B A KY"], Float[Tensor, "B A"], Float[Tensor, "B A"]]:
        """Linearised equations of the A = 2 P point coordinates: lhs, rhs of lhs @ displacement = rhs in hundredths,
        and their variances.
        """
        config = self._landing.config
        jacobian = 50 * self._landing.motion.derivative(self._rows, self._codes) * self._real[..., None, None]
        whitened = self._landing.manifold.derivative(self._rows)  # [B, K, D, Y]
        lhs = torch.einsum("bpikd,bkdy->bpiky", jacobian, whitened).flatten(3).flatten(1, 2)
        missed = (share * self._offsets - 50 * self._shift) * self._real
        rhs = missed.flatten(1) + (lhs @ self._displacement.flatten(1)[..., None])[..., 0]
        # Huber weights bound the influence of unreachable and conflicting targets.
        pinned = self._offsets.norm(dim=2) == 0
        huber = torch.where(pinned, 1.0, (self._residual / config.robust).clamp(min=1))
        return lhs, rhs, (self._variance[:, None] * huber).repeat_interleave(2, dim=1)

    def _violated_limits(self, moved: Float[Tensor, "B K Y"]) -> tuple[Float[Tensor, "B W KY"], Float[Tensor, "B W"]]:
        """Violated limits, as normals @ displacement <= bounds; both are 0 for limits that hold."""
        source, limit = self.source, self._landing.config.max_apart
        mean, apart, size = _common_and_rest(moved)
        normals, places = self._landing.manifold.walls(source.mean + mean[:, 0], source.mean_allowed)
        bounds = places - (normals @ source.mean[..., None])[..., 0]
        too_far = (size > limit)[:, 0]  # [B, 1]
        away = apart.flatten(1) / (size.flatten(1) * EDITED_ROWS**0.5).clamp(min=1e-9) * too_far  # [B, KY]
        return (
            torch.cat([(normals / EDITED_ROWS).repeat(1, 1, EDITED_ROWS), away[:, None]], dim=1),
            torch.cat([bounds, too_far * (limit * EDITED_ROWS**0.5)], dim=1),
        )

    def _minimise(
        self, lhs: Float[Tensor, "B A KY"], rhs: Float[Tensor, "B A"], variance: Float[Tensor, "B A"]
    ) -> tuple[Float[Tensor, "B K Y"], Float[Tensor, "B A 1"]]:
        """Minimise the penalty plus the squared residuals of lhs @ displacement = rhs over their variances.

        Returns the displacement and its Lagrange multipliers.
        """
        moves: Tensor = (self._landing.cheapest @ lhs.unflatten(2, (EDITED_ROWS, -1))).flatten(2).transpose(1, 2)
        multipliers: Tensor
        # The matrix is positive definite; checking for errors would synchronise a GPU.
        multipliers, _ = torch.linalg.solve_ex(lhs @ moves + torch.diag_embed(variance), rhs[..., None])
        return (moves @ multipliers).unflatten(1, (EDITED_ROWS, -1))[..., 0], multipliers


def _common_and_rest(
    moved: Float[Tensor, "B K Y"],
) -> tuple[Float[Tensor, "B 1 Y"], Float[Tensor, "B K Y"], Float[Tensor, "B 1 1"]]:
    """The rows' common displacement, their differences from it, and the root mean square norm of the differences."""
    mean = moved.mean(dim=1, keepdim=True)
    apart = moved - mean
    return mean, apart, apart.square().sum(dim=2, keepdim=True).mean(dim=1, keepdim=True).sqrt()
