"""Training samples: a latent motion (Eq. 7), its images, and their matched points.

A sample is a pure function of (recipe, index), i.e. of the generator's weights, the seed and the settings. Only the
matches and the number of redraws are stored; `latent_motion` recomputes the latents.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from autodrag import latents
from autodrag.data.components import crossed
from autodrag.data.matching import REFERENCE_HEIGHT, Matches, MatchingConfig, View, match, view
from autodrag.data.outlines import NO_OUTLINES, Outlines, find_outlines
from autodrag.errors import InputError
from autodrag.generator import FrozenGenerator
from autodrag.images import to_pixels
from autodrag.seeding import rng
from autodrag.vision.detectors import LandmarkDetector

FEATURE_BLOCK = 6  # whose features the matcher compares (section 3.2)
STAYS_PX = 1.4  # a match that moves by less stays, in pixels at a height of 512
ENOUGH = 12  # stored matches that stay
NO_MATCHES = Matches(np.zeros((0, 2), np.float32), np.zeros((0, 2), np.float32))


@dataclass(frozen=True)
class TrajectoryConfig:
    """How latents move, and which matches are kept. `*_px` are pixels at an image height of 512."""

    n: int  # steps
    direction: Literal["away", "toward"]  # from w* (Eq. 7) | to w*, as in UserControllableLT
    star_per: Literal["trajectory", "step"]  # how often w* is sampled
    star_rows: Literal["one", "independent"]  # one z for all edited rows of w* | one per row
    angle: tuple[float, float]  # range of degrees between z_0 and the z of w*; 90: independent, as in the paper
    lam: tuple[float, float]  # range of lambda, sampled uniformly per trajectory
    psi: float  # truncation of w_0
    star_psi: float | None  # truncation of w*; None: that of w_0
    jump: float  # share of trajectories that go all the way to w*, in n equal steps
    motion_px: float  # typical motion of points from I_0 to I_n, from calibration
    handle_px: float  # minimum motion of handles, i.e. of matches of (I_0, I_n)
    step_px: float | None  # minimum motion of points for L_drag, i.e. of (I_i, I_i+1); None: motion_px / (2 steps)
    match_steps: bool  # whether to match pairs (I_i, I_i+1), which only L_drag needs
    landmarks: bool  # whether to store the landmarks of I_0 and I_n too
    keep: int  # maximum stored matches per pair
    attempts: int  # maximum draws of a sample before it is skipped
    match: MatchingConfig  # settings of the matcher
    outlines: bool = False  # whether to store the motion of edges too, which stage `motion` can learn from
    in_steps: int | None = None  # resample the motion from w_0 to w_n to this many steps (Table 3); None: n
    components: int | None = None  # move along one of so many principal components of W, not to a random w*
    balanced: bool = False  # store no more matches that stay than that move, but at least ENOUGH

    @property
    def steps(self) -> int:
        """Number of steps of a stored motion."""
        return self.n if self.in_steps is None else self.in_steps


@dataclass(frozen=True)
class Recipe:
    """Everything a sample depends on except its index."""

    generator: str  # sha256 of the weights
    dtype: Literal["float32", "bfloat16", "float16"]  # of synthesis
    seed: int
    content: tuple[float, float, float, float] | None  # (x0, y0, x1, y1): the used part of the canvas, as fractions
    trajectory: TrajectoryConfig


@dataclass(frozen=True)
class MatchedMotion:
    """A stored sample. Points are image pixels.

    `ends` is empty only if no draw had a match: such samples are counted but not stored.
    """

    index: int
    attempt: int  # number of draws without a match of (I_0, I_n) before this one
    ends: Matches  # of (I_0, I_n)
    landmarks: Matches  # in I_0 and I_n, from a detector: all 68 in their order, or none
    steps: tuple[Matches, ...]  # of (I_i, I_i+1)
    outlines: Outlines = NO_OUTLINES  # edges of I_0 and where they are in I_n


def check(cfg: TrajectoryConfig) -> None:
    """Raises InputError for invalid settings."""
    if cfg.n < 1:
        raise InputError(f"trajectory.n is {cfg.n}, expected at least one step.")
    if cfg.steps < 1:
        raise InputError(f"trajectory.in_steps is {cfg.steps}, expected at least one step.")
    if not 0 <= cfg.jump <= 1:
        raise InputError(f"trajectory.jump is {cfg.jump:g}, expected a share between 0 and 1.")
    if not 0 < cfg.angle[0] <= cfg.angle[1] <= 180:
        raise InputError(
            f"trajectory.angle is {list(cfg.angle)}, expected degrees [low, high], 0 < low <= high <= 180."
        )
    if not 0 < cfg.lam[0] <= cfg.lam[1]:
        raise InputError(f"trajectory.lam is {list(cfg.lam)}, expected a range [low, high] with 0 < low <= high.")
    if cfg.components is not None and cfg.components < 1:
        raise InputError(f"trajectory.components is {cfg.components}, expected at least one, or null.")
    if cfg.handle_px >= cfg.match.max_px:
        raise InputError(
            f"trajectory.handle_px is {cfg.handle_px:g}, expected less than the maximum motion, "
            f"trajectory.match.max_px={cfg.match.max_px:g}."
        )
    if cfg.keep < 1 or cfg.attempts < 1:
        raise InputError("trajectory.keep and trajectory.attempts must be at least 1.")


def latent_motion(
    generator: FrozenGenerator, cfg: TrajectoryConfig, seed: int, draws: Sequence[tuple[int, int]]
) -> Float[Tensor, "B steps L D"]:
    """w_0..w_n of the draws (index, attempt), [B, steps + 1, L, D], with `cfg.steps` steps (Eq. 7)."""
    streams = [rng(seed, "trajectory", index, attempt) for index, attempt in draws]
    shape = (cfg.n if cfg.star_per == "step" else 1, latents.EDITED_ROWS if cfg.star_rows == "independent" else 1)
    z0 = torch.stack([torch.randn(generator.z_dim, generator=s) for s in streams])
    z_star = torch.stack([torch.randn(*shape, generator.z_dim, generator=s) for s in streams])
    uniform = torch.stack([torch.rand(3, generator=s) for s in streams])
    angle = cfg.angle[0] + uniform[:, 2, None, None] * (cfg.angle[1] - cfg.angle[0])
    z_star = turned(z0[:, None, None], z_star, angle)

    ws = generator.map(z0.to(generator.device), psi=cfg.psi)
    star_psi = cfg.psi if cfg.star_psi is None else cfg.star_psi
    flat = generator.map(z_star.flatten(0, 2).to(generator.device), psi=star_psi)[:, 0]
    rows = latents.split(ws)[0].shape[1]
    stars = flat.unflatten(0, (len(draws), *shape))  # [B, 1 | n, 1 | K, D]
    if cfg.components is not None:
        numbers = torch.stack([torch.rand(2, generator=s) for s in streams])
        stars = crossed(generator, ws[:, 0], numbers, cfg.components, cfg.psi)[:, None, None]
    stars = stars[:, :, :rows].expand(-1, cfg.n, rows, -1)

    lam = cfg.lam[0] + uniform[:, 0] * (cfg.lam[1] - cfg.lam[0])
    constant = latents.constant_fractions(lam, cfg.n, cfg.direction)
    jumps = uniform[:, 1, None] < cfg.jump
    fractions = torch.where(jumps, latents.jump_fractions(len(draws), cfg.n), constant)
    motion = latents.perturb(ws, stars, fractions.to(generator.device))
    if cfg.steps == cfg.n:
        return motion
    return torch.stack([latents.walk(m[0], m[-1], latents.progress(m, cfg.steps)) for m in motion])


def turned(
    z: Float[Tensor, "*#batch Z"], other: Float[Tensor, "*#batch Z"], degrees: Float[Tensor, "*#batch"]
) -> Float[Tensor, "*batch Z"]:
    """A standard normal vector at about `degrees` to z, from two independent ones; exactly `other` at 90."""
    radians = degrees[..., None] * (math.pi / 180)
    return torch.where(degrees[..., None] == 90, other, radians.cos() * z + radians.sin() * other)


def views(generator: FrozenGenerator, recipe: Recipe, ws: Float[Tensor, "B L D"]) -> list[View]:
    """The views of the images of latents."""
    return _views(recipe, *_look(generator, ws))


def _look(generator: FrozenGenerator, ws: Float[Tensor, "B L D"]) -> tuple[Tensor, Tensor]:
    """Images and features, without noise: ORB would match its static texture."""
    images, features = generator.synthesize(ws, noise="none", return_features=FEATURE_BLOCK)
    return images, features


def _views(recipe: Recipe, images: Float[Tensor, "B 3 H W"], features: Float[Tensor, "B C h w"]) -> list[View]:
    cfg = recipe.trajectory.match
    return [view(image, cfg, recipe.content, f) for image, f in zip(images, features, strict=True)]


def make_sample(
    generator: FrozenGenerator, recipe: Recipe, index: int, detector: LandmarkDetector | None = None
) -> MatchedMotion:
    """Draw motions, at most `attempts`, until one has a match of (I_0, I_n) that moves far enough.

    detector: for recipes with landmarks.
    """
    cfg = recipe.trajectory
    for attempt in range(cfg.attempts):
        ws = latent_motion(generator, cfg, recipe.seed, [(index, attempt)])[0]
        images, features = _look(generator, ws[[0, -1]])
        first, last = _views(recipe, images, features)
        ends = _matches(generator, recipe, first, last, cfg.handle_px, (index, 0))
        if len(ends.handles) == 0:
            continue
        landmarks = NO_MATCHES if detector is None else landmarks_of(detector, images)
        outlines = outlines_of(generator, recipe, index, ws, images[0])
        if not cfg.match_steps:
            return MatchedMotion(index, attempt, ends, landmarks, (NO_MATCHES,) * cfg.steps, outlines)
        path = [first, *(views(generator, recipe, ws[1:-1]) if cfg.steps > 1 else ()), last]
        step_px = cfg.motion_px / (2 * cfg.steps) if cfg.step_px is None else cfg.step_px
        steps = (_matches(generator, recipe, *pair, step_px, (index, 1 + i)) for i, pair in enumerate(pairwise(path)))
        return MatchedMotion(index, attempt, ends, landmarks, tuple(steps), outlines)
    return nothing_found(recipe, index)


def nothing_found(recipe: Recipe, index: int) -> MatchedMotion:
    """A sample without a match in any draw."""
    cfg = recipe.trajectory
    return MatchedMotion(index, cfg.attempts, NO_MATCHES, NO_MATCHES, (NO_MATCHES,) * cfg.steps)


def landmarks_of(detector: LandmarkDetector, images: Float[Tensor, "2 3 H W"]) -> Matches:
    """The landmarks in both images, or none if a face is not detected in both."""
    first, last = detector(to_pixels(images))
    return NO_MATCHES if first is None or last is None else Matches(first.numpy(), last.numpy())


def outlines_of(
    generator: FrozenGenerator,
    recipe: Recipe,
    index: int,
    ws: Float[Tensor, "steps L D"],
    image: Float[Tensor, "3 H W"],
) -> Outlines:
    """The edges of I_0 of a motion, or none if the recipe does not ask for them."""
    if not recipe.trajectory.outlines:
        return NO_OUTLINES
    return find_outlines(generator, ws[[0, -1]], image, recipe.trajectory.keep, (recipe.seed, index))


def _matches(
    generator: FrozenGenerator, recipe: Recipe, a: View, b: View, min_px: float, stream: tuple[int, int]
) -> Matches:
    """Matches from a to b, at most `keep`."""
    found = match(a, b, min_px, recipe.trajectory.match, generator.resolution, generator.device)
    return some_of(found, recipe, stream, generator.resolution[0])


def some_of(found: Matches, recipe: Recipe, stream: tuple[int, int], height: int) -> Matches:
    """At most `keep` random matches. stream: (index, number of the pair). height: of the image, in pixels."""
    cfg = recipe.trajectory
    if len(found.handles) <= cfg.keep and not cfg.balanced:
        return found
    order = torch.randperm(len(found.handles), generator=rng(recipe.seed, "keep", *stream)).numpy()
    if cfg.balanced:
        stays = np.linalg.norm(found.targets - found.handles, axis=1)[order] < STAYS_PX * height / REFERENCE_HEIGHT
        order = order[~stays | (np.cumsum(stays) <= max(ENOUGH, int((~stays).sum())))]
    kept = np.sort(order[: cfg.keep])
    return Matches(found.handles[kept], found.targets[kept])
