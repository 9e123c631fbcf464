"""`scripts/bench.py data`: the cost of a training sample by stage, and the accuracy of its matches."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from time import perf_counter
from typing import Literal

import numpy as np
import torch

from autodrag.bench.measure import device_name, write_record
from autodrag.bench.models import OFFICIAL, generator_loader
from autodrag.config import compose, dataset_names, typed
from autodrag.data.gms import gms_inliers
from autodrag.data.hamming import nearest
from autodrag.data.make import TrajectoriesConfig
from autodrag.data.matching import REFERENCE_HEIGHT, MatchingConfig, match, view
from autodrag.data.trajectories import FEATURE_BLOCK, Recipe, latent_motion
from autodrag.data.workers import LoadGenerator, available_cores, make_samples
from autodrag.devices import pick_device
from autodrag.domains.synthface.correspondence import on_skin, true_targets
from autodrag.domains.synthface.parameters import Z_DIM, parameters
from autodrag.domains.synthface.renderer import render
from autodrag.files import make_folder
from autodrag.fingerprint import fingerprint
from autodrag.seeding import rng

STEP_PX = 6.0  # minimum motion of matches, in pixels at a height of 512


@dataclass(frozen=True)
class DataBench:
    """`configs/bench/data.yaml`."""

    generator: str  # dataset, file, or official-HEIGHT
    settings: str  # overrides of configs/trajectories.yaml
    dtype: Literal["float32", "bfloat16"]  # of synthesis
    device: str
    workers: int | None  # processes; None: one per core
    samples: int  # number of samples to time
    pairs: int  # pairs of renders for the accuracy of matches; 0: skip it
    out: str  # JSON file of the results


class Clock:
    """Accumulates seconds by name."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: dict[str, float] = {}

    @contextmanager
    def piece(self, name: str) -> Iterator[None]:
        start = perf_counter()
        yield
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        self.seconds[name] = self.seconds.get(name, 0.0) + perf_counter() - start


def pieces(load: LoadGenerator, recipe: Recipe, samples: int) -> dict[str, float]:
    """Mean seconds per stage for a sample of n + 1 images and n + 1 pairs in this process, without redraws.

    latents, synthesis (images and features), keypoints (ORB and its preprocessing), hamming (all keypoints, one way),
    statistics (GMS), guards (the rest of matching, including the search back).
    """
    generator, cfg = load(), recipe.trajectory
    clock = Clock(generator.device)
    for index in range(samples + 1):
        if index == 1:  # the first is a warm-up
            clock.seconds.clear()
        with clock.piece("latents"):
            ws = latent_motion(generator, cfg, recipe.seed, [(index, 0)])[0]
        with clock.piece("synthesis"):
            images, features = generator.synthesize(ws, noise="none", return_features=FEATURE_BLOCK)
        with clock.piece("keypoints"):
            seen = [view(i, cfg.match, recipe.content, f) for i, f in zip(images, features, strict=True)]
        for a, b in [(seen[0], seen[-1]), *pairwise(seen)]:
            size = (a.hw[1], a.hw[0])
            with clock.piece("hamming"):
                target, _ = nearest(a.descriptors, b.descriptors, cfg.match.route, generator.device)
            with clock.piece("statistics"):
                gms_inliers(a.points, size, b.points[target], size, cfg.match.gms_factor)
            with clock.piece("guards"):
                match(a, b, STEP_PX, cfg.match, generator.resolution, generator.device)
    each = {name: seconds / samples for name, seconds in clock.seconds.items()}
    return each | {"guards": max(0.0, each["guards"] - each["hamming"] - each["statistics"])}


@dataclass(frozen=True)
class Rate:
    """Samples per second of all processes together, after their start, and the memory of the largest process."""

    samples_a_second: float
    redraws: int
    peak_bytes: int | None  # None if the system does not count it


def rate(load: LoadGenerator, recipe: Recipe, samples: int, workers: int, batched: bool) -> Rate:
    """Throughput of `scripts/trajectories.py`, measured after the first `workers` samples."""
    redraws, start = 0, perf_counter()
    skipped = max(1, workers)
    made = make_samples(load, recipe, workers, range(samples + skipped), batched)
    for done, sample in enumerate(made, 1):
        redraws += sample.attempt
        if done == skipped:
            redraws, start = 0, perf_counter()
    seconds = perf_counter() - start
    return Rate(samples / seconds, redraws, _peak_bytes(workers))


def _peak_bytes(workers: int) -> int | None:
    """Largest memory so far of a worker process, or of this one if there are none; None on Windows."""
    try:
        import resource
    except ModuleNotFoundError:
        return None
    who = resource.RUSAGE_CHILDREN if workers else resource.RUSAGE_SELF
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(who).ru_maxrss * unit


@dataclass(frozen=True)
class Accuracy:
    """Matches of synthface renders against the renderer's true correspondence. Errors are in pixels at 256."""

    matches: float  # per pair
    judged: float  # of these, on bare skin, where the truth is known
    median_error: float
    high_error: float  # 90th percentile
    wrong: float  # fraction with an error above 3 px
    milliseconds: float  # per pair: keypoints of two images, and matching


def accuracy(cfg: MatchingConfig, way: float, pairs: int, seed: int = 0) -> Accuracy:
    """Accuracy on pairs of a random face and the same with geometry interpolated by `way` (0..1) towards another's.

    The renderer has no features, so the feature filter is not included.
    """
    errors, counts, seconds = [], [], 0.0
    for index in range(pairs):
        z = torch.randn(2, Z_DIM, generator=rng(seed, "match accuracy", index))
        geometry, appearance = parameters(z)
        moved = geometry[0].lerp(geometry[1], way)
        first = render(geometry[:1], appearance[:1])
        second = render(moved[None], appearance[:1])
        size = first.image.shape[-1]
        start = perf_counter()
        a, b = view(first.image[0], cfg), view(second.image[0], cfg)
        found = match(a, b, STEP_PX, cfg, (size, size), torch.device("cpu"))
        seconds += perf_counter() - start
        handles = torch.from_numpy(found.handles)
        truth = true_targets(geometry[0], moved, handles, size)
        error = (truth - torch.from_numpy(found.targets)).norm(dim=1)[on_skin(first.maps[0], handles)]
        errors.append(error.numpy() * (256 / size))
        counts.append(len(handles))
    everything = np.concatenate(errors)
    median, high = np.quantile(everything, [0.5, 0.9]) if len(everything) else (np.nan, np.nan)
    return Accuracy(
        matches=float(np.mean(counts)),
        judged=len(everything) / pairs,
        median_error=float(median),
        high_error=float(high),
        wrong=float(np.mean(everything > 3)) if len(everything) else np.nan,
        milliseconds=1000 * seconds / pairs,
    )


def accuracy_table(cfg: MatchingConfig, pairs: int) -> str:
    """Quality and cost by resolution and number of keypoints, for small and large motions."""
    lines = [
        f"matches moved over {STEP_PX:g} px at {REFERENCE_HEIGHT}, {pairs} pairs of renders a row; errors in px at 256",
        " way   px points  matches  judged  median  90 %  > 3 px    ms",
    ]
    for way in (0.25, 1.0):
        for resolution, features in ((256, 3000), (384, 4000), (512, 2000), (512, 4000), (512, 10000)):
            a = accuracy(replace(cfg, resolution=resolution, features=features), way, pairs)
            lines.append(
                f"{way:4.2f} {resolution:4d} {features:6d} {a.matches:8.0f} {a.judged:7.0f} {a.median_error:7.2f} "
                f"{a.high_error:5.1f} {a.wrong:7.1%} {a.milliseconds:5.0f}"
            )
    return "\n".join(lines)


@dataclass(frozen=True)
class DataCost:
    """seconds: per sample in one process, by stage. rate: None for random weights, whose images have no matches."""

    seconds: dict[str, float]
    rate: Rate | None
    workers: int

    def table(self) -> str:
        """Samples per second, peak memory, and the share of each stage, as text."""
        total = sum(self.seconds.values())
        shares = "\n".join(f"  {name:<11} {1000 * s:7.1f} ms {s / total:6.1%}" for name, s in self.seconds.items())
        alone = f"one sample in one process: {1000 * total:.0f} ms\n{shares}"
        if self.rate is None:
            return alone
        peak = self.rate.peak_bytes
        memory = "" if peak is None else f", {peak / 2**20:.0f} MiB the largest process"
        return (
            f"{alone}\n{self.rate.samples_a_second:.2f} samples per second with {self.workers} processes, "
            f"{self.rate.redraws} redraws{memory}"
        )


def run(config: DataBench) -> None:
    """Print the tables and write the numbers to `config.out`."""
    make_folder(Path(config.out).parent)
    device = pick_device(config.device)
    dataset = [f"dataset={config.generator}"] if config.generator in dataset_names() else []
    settings = typed(TrajectoriesConfig, compose("trajectories", [*dataset, *config.settings.split()]))
    load = generator_loader(config.generator, config.dtype, device)
    recipe = Recipe(fingerprint(load()), config.dtype, 0, settings.dataset.content, settings.trajectory)
    workers = available_cores() if config.workers is None else config.workers
    trained = not config.generator.startswith(OFFICIAL)
    together = rate(load, recipe, config.samples, workers, device.type != "cpu") if trained else None
    found = DataCost(pieces(load, recipe, config.samples), together, workers)
    print(f"{device_name(device)}, torch {torch.__version__}\n{config.generator}, {config.dtype}\n{found.table()}")
    if config.pairs:
        print(accuracy_table(settings.trajectory.match, config.pairs))
    write_record(config.out, device, config, asdict(found))
