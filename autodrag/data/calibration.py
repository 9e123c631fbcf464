"""Table of point motion for each lambda and truncation, to choose `lam`, `psi` and the pixel thresholds."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from autodrag.data.matching import REFERENCE_HEIGHT, match
from autodrag.data.trajectories import Recipe, TrajectoryConfig, latent_motion, views
from autodrag.generator import FrozenGenerator
from autodrag.typed import check_bounds

STILL_PX = 2.0  # at a height of 512; matches that move less count as background
USABLE = 0.5  # maximum fraction of draws without a match that moves far enough, for a lambda to be usable


@dataclass(frozen=True)
class Calibration:
    """Settings to try."""

    lam: tuple[float, ...]
    psi: tuple[float, ...]
    draws: int  # motions per setting

    def __post_init__(self) -> None:
        check_bounds("calibration", self, draws=(1, math.inf))


def calibrate(generator: FrozenGenerator, recipe: Recipe, cfg: Calibration) -> str:
    """Table of the motion of matched points from I_0 to I_n, in px at 512, with a row per (psi, lambda) and jump.

    The last line is a config key to copy: the range of lambdas that move points far enough at the recipe's psi.
    """
    trajectory = recipe.trajectory
    far = trajectory.handle_px
    lines = [
        f"motion of matched points from I_0 to I_{trajectory.n}, px at {REFERENCE_HEIGHT}, direction "
        f"{trajectory.direction}, {cfg.draws} draws a row; points that move under {STILL_PX:g} px are left out",
        f"{'psi':>5} {'lambda':>7} {'median':>7} {'90 %':>6} {'matches':>8} {f'> {far:g} px':>8} {'draws without':>14}",
    ]
    rows = [(tried, _row(generator, recipe, label, tried, cfg.draws)) for label, tried in _settings(trajectory, cfg)]
    lines += [row.text for _, row in rows]
    usable = [
        tried.lam[0] for tried, row in rows if tried.psi == trajectory.psi and tried.jump == 0 and row.without <= USABLE
    ]
    return "\n".join([*lines, _advice(trajectory, cfg, usable)])


def _advice(trajectory: TrajectoryConfig, cfg: Calibration, usable: list[float]) -> str:
    """The last line of the table: a config key to copy, or what to try next."""
    if trajectory.psi not in cfg.psi:
        return f"psi {trajectory.psi:g}, which the samples use, was not tested: add it to calibration.psi."
    if not usable:
        return (
            f"At psi {trajectory.psi:g}, no lambda moves points farther than {trajectory.handle_px:g} px in half of "
            "the draws: try larger ones with calibration.lam=[...], or lower trajectory.handle_px."
        )
    return f"Set trajectory.lam=[{min(usable):g},{max(usable):g}]"


def _settings(trajectory: TrajectoryConfig, cfg: Calibration) -> Iterator[tuple[str, TrajectoryConfig]]:
    for psi, lam in product(cfg.psi, cfg.lam):
        yield f"{psi:5.2f} {lam:7.3f}", replace(trajectory, psi=psi, lam=(lam, lam), jump=0.0)
    for psi in cfg.psi:
        yield f"{psi:5.2f} {'jump':>7}", replace(trajectory, psi=psi, jump=1.0)


@dataclass(frozen=True)
class _Row:
    """A row of the table."""

    text: str
    without: float  # fraction of draws without a match that moves farther than handle_px


def _row(generator: FrozenGenerator, recipe: Recipe, label: str, trajectory: TrajectoryConfig, draws: int) -> _Row:
    """`matches` and `> far px` are means over the draws, `draws without` is `_Row.without`."""
    tried = replace(recipe, trajectory=trajectory)
    motions = []
    for index in range(draws):
        ws = latent_motion(generator, trajectory, recipe.seed, [(index, 0)])[0]
        first, last = views(generator, tried, ws[[0, -1]])
        found = match(first, last, STILL_PX, trajectory.match, generator.resolution, generator.device)
        pixels = np.linalg.norm(found.targets - found.handles, axis=1)
        motions.append(pixels * (REFERENCE_HEIGHT / generator.resolution[0]))
    far = [int((m > trajectory.handle_px).sum()) for m in motions]
    everything = np.concatenate(motions)
    median, high = np.quantile(everything, [0.5, 0.9]) if len(everything) else (0.0, 0.0)
    without = sum(count == 0 for count in far) / draws
    numbers = f"{median:7.1f} {high:6.1f} {len(everything) / draws:8.0f} {sum(far) / draws:8.0f} {without:14.0%}"
    return _Row(f"{label} {numbers}", without)
