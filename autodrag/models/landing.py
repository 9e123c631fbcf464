"""Landing: the latents nearest to the source that put the handles on their targets, found without a single image.

Ours. `PointMotion` says where points go when latents move, and it can be differentiated; `Manifold` says how far
latents may go. So a drag is a small least-squares problem in coordinates d [K, Y] of the edited rows' moves,

    sum_p c_p |place_p(d) - target_p|^2 / sigma^2  +  change |d|_image^2 + common |mean d|^2 + apart |d - mean d|^2,

within the manifold's limits. Points that contradict each other are compromised between, points that should stay are
pairs like any other, and what no point asks for changes as little as it can: rows part from each other only for what
W itself cannot show. Gauss-Newton solves it in a few steps of a millisecond or two, while the targets move from the
handles to where they were asked for, as the drag itself does. While a pointer moves, each solution starts at the last
one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from autodrag.geometry import to_unit
from autodrag.latents import EDITED_ROWS
from autodrag.models.manifold import Manifold
from autodrag.models.point_motion import PointMotion, PointMotionConfig
from autodrag.models.stored import read_model, write_model

SHORT = 0.6  # hundredths of the image's sides that handles are left from their targets, on average, to count as short
WALLS, WALL_VARIANCE = 3, 1e-3  # how often a step is solved again with the limits that it broke; how hard they are
NEAR = 1.5  # hundredths; targets that moved by less are followed by one step, others by two
MOST = 8  # so many points count fully; more of them share that weight, for neighbours err alike


@dataclass(frozen=True)
class LandingConfig:
    """sigma: how far a point may miss, in hundredths of the image's sides. change: weight of what changes in the image.

    common, apart: weights of squared deviations of W, of the move that the rows share and of what they do apart.
    parted: how far the rows may part, in root mean square deviations: farther, and pictures fade.
    robust: hundredths of the image's sides that a point may be behind its target before it pulls no harder (Huber's
    loss), unless it is a pin.
    settle: steps at the end, with the targets where they were asked for.
    """

    sigma: float = 0.15
    change: float = 0.05
    common: float = 0.5
    apart: float = 2.0
    parted: float = 0.6
    robust: float = 0.15
    settle: int = 3


@dataclass(frozen=True)
class Landed:
    """rows: the edited rows. points: where the handles are with them, in image pixels. short: the manifold ends
    before the handles are at their targets.
    """

    rows: Float[Tensor, "B K D"]
    points: Float[Tensor, "B P 2"]
    short: Bool[Tensor, " B"]


class Landing(nn.Module):
    """Where points go, how far latents may go, and what their moves change in the image, of one generator."""

    metric: Tensor

    def __init__(
        self, config: LandingConfig, motion: PointMotion, manifold: Manifold, metric: Float[Tensor, "KD KD"]
    ) -> None:
        """metric: of all edited rows, as `training.measure.image_metric` gives it."""
        super().__init__()
        self.config, self.motion, self.manifold = config, motion, manifold
        self.register_buffer("metric", metric)

    def source(self, rows: Float[Tensor, "B K D"]) -> "Source":
        """What drags from the same edited rows share."""
        return Source(self, rows.float())

    def start(
        self,
        source: "Source",
        handles: Float[Tensor, "B P 2"],
        valid: Bool[Tensor, "B P"],
        image_hw: tuple[int, int],
    ) -> "Drag":
        """A drag that has not moved yet. handles: pixels. valid: True at real handles, False at padding."""
        return Drag(self, source, handles, valid, image_hw)

    @torch.no_grad()
    def walk(self, drag: "Drag", targets: Float[Tensor, "B P 2"], n: int) -> Iterator[Landed]:
        """A drag, from its start, after each of n steps; the last of them has settled. targets: pixels."""
        drag.aim(targets)
        for step in range(1, n + 1):
            drag.step(step / n)
            for _ in range(self.config.settle if step == n else 0):
                drag.step(1.0)
            yield drag.landed(step / n)

    @torch.no_grad()
    def follow(self, drag: "Drag", targets: Float[Tensor, "B P 2"]) -> Landed:
        """A drag on from where it is, to targets that have moved a little: a fraction of the cost of `walk`."""
        for _ in range(1 if bool(drag.aim(targets) < NEAR) else 2):
            drag.step(1.0)
        return drag.landed(1.0)

    def save(self, path: Path | str, about: Mapping[str, str] | None = None) -> None:
        """One safetensors file, weights in float16. Raises InputError where it cannot be written."""
        shape = {"w_dim": len(self.manifold.mean), "size": self.manifold.size}
        config = {"landing": asdict(self.config), "motion": asdict(self.motion.config), **shape}
        write_model(path, "landing", self, config, about, half=True)

    @classmethod
    def load(cls, path: Path | str, device: torch.device | str = "cpu") -> "Landing":
        """What `save` wrote. Raises InputError where the file is missing or something else."""
        stored = read_model(path, "landing", str(device))
        config, w_dim = stored.config, int(stored.config["w_dim"])
        motion = PointMotion(PointMotionConfig(**config["motion"]), w_dim)
        manifold = Manifold(w_dim, int(config["size"]))
        metric = torch.zeros(EDITED_ROWS * w_dim, EDITED_ROWS * w_dim)
        landing = cls(LandingConfig(**config["landing"]), motion, manifold, metric).to(device)
        landing.load_state_dict({name: tensor.float() for name, tensor in stored.tensors.items()})
        return landing.eval().requires_grad_(False)


class Source:
    """Edited rows that drags start from, and what a move of their coordinates costs."""

    def __init__(self, landing: Landing, rows: Float[Tensor, "B K D"]) -> None:
        config, manifold = landing.config, landing.manifold
        self.rows = rows
        self.y = manifold.coordinates(rows)  # [B, K, Y]
        turn = manifold.derivative(rows)  # [B, K, D, Y]
        metric = landing.metric.unflatten(0, (EDITED_ROWS, -1)).unflatten(2, (EDITED_ROWS, -1))
        half = torch.einsum("kdle,blez->bkdlz", metric, turn)
        cost = config.change * torch.einsum("bkdy,bkdlz->bkylz", turn, half).flatten(1, 2).flatten(2)
        shared = torch.full((EDITED_ROWS, EDITED_ROWS), 1 / EDITED_ROWS, device=rows.device)
        by_rows = config.common / EDITED_ROWS * shared + config.apart * (torch.eye(EDITED_ROWS).to(shared) - shared)
        cost += torch.kron(by_rows, torch.eye(manifold.size, device=rows.device))
        self.cheapest = torch.cholesky_inverse(torch.linalg.cholesky(cost))  # [B, K Y, K Y]
        self.shared = self.cheapest.unflatten(2, (EDITED_ROWS, -1)).mean(dim=2)  # what moves the mean of the rows
        self.mean = self.y.mean(dim=1)
        self.allowed, self.mean_allowed = manifold.allowed(self.y), manifold.allowed(self.mean)


class Drag:
    """One batch of drags: what stays the same over its steps, and how far they have come."""

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
        self._way = torch.zeros_like(self._places)  # from handles to targets, in hundredths
        real = valid.to(self._way)
        self._real = real[..., None]
        self._variance = landing.config.sigma**2 * (real.sum(dim=1) / MOST).clamp(min=1)  # [B]
        self._rows = source.rows
        self._at_limit = torch.zeros(len(source.y), dtype=torch.bool, device=source.y.device)
        self._moved = torch.zeros_like(source.y)  # [B, K, Y]
        self._gone = torch.zeros_like(self._places)  # by the handles, in units in which an image spans -1..1
        self._behind = torch.zeros_like(real)  # [B, P], what the last step left, in hundredths

    def starts_at(self, handles: Float[Tensor, "B P 2"], valid: Bool[Tensor, "B P"]) -> bool:
        """Whether it is a drag of these handles."""
        return torch.equal(self._handles, handles) and torch.equal(self._valid, valid)

    def aim(self, targets: Float[Tensor, "B P 2"]) -> Float[Tensor, ""]:
        """Set where the next steps go, in pixels. Returns how far that is from where the last ones went, at most, in
        hundredths of the image's sides.
        """
        before = self._way
        self._way = 50 * (to_unit(targets.float(), self._size) - to_unit(self._handles.float(), self._size))
        return (self._way - before).norm(dim=2).max()

    def landed(self, share: float) -> Landed:
        """How far it has come towards targets that share of the way."""
        height, width = self._size
        missed = share * self._way - 50 * self._gone
        left = (missed.norm(dim=2, keepdim=True) * self._real).sum(dim=(1, 2)) / self._real.sum(dim=(1, 2))
        points = self._handles + self._gone * self._gone.new_tensor([width / 2, height / 2])
        return Landed(self._rows, points, self._at_limit & (left > SHORT))

    def step(self, share: float) -> None:
        """One Gauss-Newton step towards targets that share of the way from the handles."""
        config, manifold = self._landing.config, self._landing.manifold
        motion, source = self._landing.motion, self.source
        missed = share * self._way - 50 * self._gone  # hundredths
        by_rows = 50 * motion.derivative(self._rows, self._codes) * self._real[..., None, None]  # [B, P, 2, K, D]
        turn = manifold.derivative(self._rows)  # [B, K, D, Y]
        by_y = torch.einsum("bpikd,bkdy->bpiky", by_rows, turn).flatten(3).flatten(1, 2)  # [B, 2P, KY]
        asked = (missed * self._real).flatten(1) + (by_y @ self._moved.flatten(1)[..., None])[..., 0]
        # Huber's weights: what is out of reach, or contradicts the other points, does not pull ever harder.
        pinned = self._way.norm(dim=2) == 0
        lost = torch.where(pinned, 1.0, (self._behind / config.robust).clamp(min=1))
        variance = (self._variance[:, None] * lost).repeat_interleave(2, dim=1)
        response = source.cheapest @ by_y.transpose(1, 2)
        points = by_y.shape[1]
        moved = self._moves(response, _forces(by_y, asked, response, variance))
        self._at_limit = torch.zeros_like(self._at_limit)
        # Where that leaves the manifold, the walls it broke are asked for like points, so that others give way.
        for number in range(WALLS):
            normals, beyond, pushed = self._walls(moved)
            broken = normals.flatten(1).any(dim=1)[:, None, None]
            asks = number == 0 or not moved.is_cuda  # to ask a GPU is to wait for it: once a step
            if asks and not bool(broken.any()):
                break
            self._at_limit = self._at_limit | broken[:, 0, 0]
            by_y, asked = torch.cat([by_y, normals], dim=1), torch.cat([asked, beyond], dim=1)
            response = torch.cat([response, pushed], dim=2)
            variance = torch.cat([variance, torch.full_like(beyond, WALL_VARIANCE)], dim=1)
            forces = _forces(by_y, asked, response, variance)
            needed = ~broken | (forces <= 0) | (torch.arange(forces.shape[1], device=forces.device) < points)[..., None]
            by_y, response = by_y * needed, response * needed.transpose(1, 2)  # a wall may push, not pull
            asked = asked * needed[..., 0]
            moved = torch.where(broken, self._moves(response, _forces(by_y, asked, response, variance)), moved)
        kept = manifold.inside(source.y + moved, source.y, source.allowed) - source.y
        mean, apart, size = _parted(kept)
        self._moved = mean + apart * (config.parted / size.clamp(min=1e-9)).clamp(max=1)
        self._rows = manifold.moved(source.rows, self._moved)
        self._gone = motion.places(self._rows, self._codes) - self._places
        self._behind = (share * self._way - 50 * self._gone).norm(dim=2)

    def _walls(
        self, moved: Float[Tensor, "B K Y"]
    ) -> tuple[Float[Tensor, "B W KY"], Float[Tensor, "B W"], Float[Tensor, "B KY W"]]:
        """Limits that a move breaks, as planes normals @ move <= places, and the cheapest moves along the normals; 0
        where it keeps them.
        """
        source, parted = self.source, self._landing.config.parted
        mean, apart, size = _parted(moved)
        normals, places = self._landing.manifold.walls(source.mean + mean[:, 0], source.mean_allowed)
        beyond = places - (normals @ source.mean[..., None])[..., 0]
        too_far = (size > parted)[:, 0]  # [B, 1]
        away = apart.flatten(1) / (size.flatten(1) * EDITED_ROWS**0.5).clamp(min=1e-9) * too_far  # [B, KY]
        return (
            torch.cat([(normals / EDITED_ROWS).repeat(1, 1, EDITED_ROWS), away[:, None]], dim=1),
            torch.cat([beyond, too_far * (parted * EDITED_ROWS**0.5)], dim=1),
            torch.cat([source.shared @ normals.transpose(1, 2), source.cheapest @ away[..., None]], dim=2),
        )

    def _moves(self, response: Float[Tensor, "B KY A"], forces: Float[Tensor, "B A 1"]) -> Float[Tensor, "B K Y"]:
        return (response @ forces)[..., 0].unflatten(1, self.source.y.shape[1:])


def _forces(
    by_y: Float[Tensor, "B A KY"],
    asked: Float[Tensor, "B A"],
    response: Float[Tensor, "B KY A"],
    variance: Float[Tensor, "B A"],
) -> Float[Tensor, "B A 1"]:
    """What to pull with at each of A points and walls, for the cheapest move that does what is asked for.

    response: the cheapest move for a unit force on each. variance: how far each may miss.
    """
    forces: Tensor
    # Positive definite, so there is no error to ask for, which a GPU would have to be waited for.
    forces, _ = torch.linalg.solve_ex(by_y @ response + torch.diag_embed(variance), asked[..., None])
    return forces


def _parted(
    moved: Float[Tensor, "B K Y"],
) -> tuple[Float[Tensor, "B 1 Y"], Float[Tensor, "B K Y"], Float[Tensor, "B 1 1"]]:
    """What the rows' moves share, how they differ from it, and the root mean square norm of that."""
    mean = moved.mean(dim=1, keepdim=True)
    apart = moved - mean
    return mean, apart, apart.square().sum(dim=2, keepdim=True).mean(dim=1, keepdim=True).sqrt()
