"""`scripts/trajectories.py`: generate a folder of trajectories, or print the calibration table."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from tqdm import tqdm

from autodrag.config import DatasetConfig
from autodrag.data.calibration import Calibration, calibrate
from autodrag.data.shards import ShardIndex, fill, read_index
from autodrag.data.share import Make, Sharing
from autodrag.data.trajectories import MatchedMotion, Recipe, TrajectoryConfig, check
from autodrag.data.workers import available_cores, make_samples
from autodrag.errors import InputError
from autodrag.files import make_folder
from autodrag.fingerprint import fingerprint
from autodrag.loading import load_generator
from autodrag.precision import Asked, Chosen, choose
from autodrag.runs.lock import exclusive
from autodrag.runs.ranks import Ranks, join_ranks


@dataclass(frozen=True)
class TrajectoriesConfig:
    """`configs/trajectories.yaml`."""

    dataset: DatasetConfig  # the generator
    count: int  # total number of samples
    out: str  # output folder
    seed: int
    workers: int | None  # processes; None: one per core; 0: this process only
    device: str  # auto, cpu, cuda or cuda:N
    dtype: Asked  # of synthesis
    shard_size: int  # samples per file
    calibrate: bool  # print the calibration table instead of generating samples
    calibration: Calibration  # settings of that table
    trajectory: TrajectoryConfig
    c: int | tuple[float, ...] | None  # class of a conditional generator


def run(cfg: TrajectoriesConfig) -> None:
    """Generate, resume or repair the folder `out`; with `calibrate`, only print the table.

    Processes started by torchrun share the work, each on its own GPU. Raises InputError for invalid settings.
    """
    check(cfg.trajectory)
    if cfg.count < 1 or cfg.shard_size < 1:
        raise InputError(f"count={cfg.count} and shard_size={cfg.shard_size} must be at least 1.")
    if cfg.workers is not None and cfg.workers < 0:
        raise InputError(f"workers={cfg.workers}, expected a number of processes, or 0 to use only this process.")
    with join_ranks(cfg.device) as ranks:
        _run(cfg, ranks)


def _run(cfg: TrajectoriesConfig, ranks: Ranks) -> None:
    device = str(ranks.device)
    dtype = ranks.agree(lambda: _dtype(cfg, ranks.device))
    load = partial(load_generator, cfg.dataset, device=device, dtype=getattr(torch, dtype), c=cfg.c)
    generator = load()
    recipe = Recipe(fingerprint(generator), dtype, cfg.seed, cfg.dataset.content, cfg.trajectory)
    if cfg.calibrate and not ranks.first:
        return
    if cfg.calibrate:
        print(calibrate(generator, recipe, cfg.calibration))
        return
    del generator  # each process that makes samples loads its own
    workers = max(1, available_cores() // ranks.world) if cfg.workers is None else cfg.workers
    work = partial(make_samples, load, recipe, workers, batched=ranks.device.type != "cpu")
    sharing = Sharing(work) if ranks.world > 1 else None
    if sharing is not None and not ranks.first:
        sharing.help()
        return
    manifest = fill_folder(Path(cfg.out), recipe, sharing or work, cfg.count, cfg.shard_size)
    if sharing is not None:
        sharing.close()
    totals = manifest.totals()
    print(
        f"{cfg.out}: {totals.samples} samples with {totals.matches_a_sample:.0f} matches each; "
        f"{totals.redraws} draws had no match and were repeated; {totals.skipped} samples "
        f"({totals.skipped_share:.1%}) had none in {cfg.trajectory.attempts} draws and were skipped; "
        f"{totals.empty_step_share:.1%} of steps have none."
    )


def _dtype(cfg: TrajectoriesConfig, device: torch.device) -> Chosen:
    """Resolve `dtype=auto`: the dtype of existing samples in the folder, or the best for the device."""
    if cfg.dtype == "auto" and not cfg.calibrate and (Path(cfg.out) / "manifest.json").exists():
        return read_index(Path(cfg.out)).recipe.dtype
    return choose(cfg.dtype, device)


def fill_folder(folder: Path, recipe: Recipe, work: Make, count: int, shard_size: int) -> ShardIndex:
    """`shards.fill` with a progress bar and a lock on the folder. work: makes the samples of ascending indices."""
    make_folder(folder)

    def make(indices: list[int]) -> Iterator[MatchedMotion]:
        yield from tqdm(work(indices), total=len(indices), unit=" samples", smoothing=0.05)

    with exclusive(folder):
        return fill(folder, recipe, count, shard_size, make, partial(tqdm.write, file=sys.stderr))
