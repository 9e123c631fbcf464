"""`scripts/bench.py train`: what a step of stage 2 costs, piece by piece, and what the whole schedule would."""

import resource
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from time import perf_counter

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from autodrag.data.dataset import Sample, Trajectories
from autodrag.generator import FrozenGenerator
from autodrag.models import AutoDrag
from autodrag.models.cost import parameter_count
from autodrag.seeding import rng
from autodrag.training.measure import domain_shape, measure
from autodrag.training.run import TrainConfig
from autodrag.training.stage2 import PredictorStage

POINTS = 8  # pairs of a made-up sample, and of each of its steps


class MadeUp(Trajectories):
    """Straight motions between random latents, with points anywhere: a step costs what it costs on matched ones."""

    def __init__(self, generator: FrozenGenerator, n: int) -> None:
        self.generator, self.n = generator, n

    def samples(self, positions: Sequence[int]) -> list[Sample]:
        """One for each position."""
        return [self._sample(position) for position in positions]

    def _sample(self, position: int) -> Sample:
        draw = rng(0, "bench", position)
        ends = self.generator.map(torch.randn(2, self.generator.z_dim, generator=draw))
        fractions = torch.linspace(0, 0.5, self.n + 1, device=ends.device)
        size = torch.tensor([self.generator.resolution[1], self.generator.resolution[0]])
        points = list(torch.rand(2 * self.n + 2, POINTS, 2, generator=draw) * size)
        ws = ends[0] + fractions[:, None, None] * (ends[1] - ends[0])
        return Sample(position, ws, points[0], points[1], points[2 : self.n + 2], points[self.n + 2 :])


@dataclass(frozen=True)
class TrainCost:
    """Seconds of the pieces of one step, and what they add up to."""

    batch: int
    pieces: dict[str, float]  # batch, features, transformer, drag loss, optimiser
    gigaflops: float  # of forward and backward, a sample
    parameters: int
    peak_bytes: int

    @property
    def seconds(self) -> float:
        """Of a step."""
        return sum(self.pieces.values())


def train_cost(generator: FrozenGenerator, config: TrainConfig, steps: int) -> TrainCost:
    """Time `steps` steps of each kind, after one that warms up. Variants, rounds and rollouts are left out."""
    stage = _stage(generator, config, config.stage2.beta)
    stage.to(generator.device).train()
    without = _stage(generator, config, beta=0.0)
    without.model = stage.model
    size = config.stage2.budget.batch
    batch = stage.batch(range(size))
    optimizer = torch.optim.Adam(stage.parameters(), lr=1e-6)

    def learn(kind: PredictorStage) -> Tensor:
        enabled = config.loop.precision == "bfloat16"
        with torch.autocast(generator.device.type, torch.bfloat16, enabled=enabled):
            loss, _ = kind(batch)
        loss.backward()
        return loss

    if generator.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(generator.device)
    whole = _seconds(lambda: learn(stage), generator, steps)
    plain = _seconds(lambda: learn(without), generator, steps)
    features = _seconds(
        lambda: generator.features(batch.samples.ws[:, 0], block=config.model.feature_block), generator, steps
    )
    pieces = {
        "batch": _seconds(lambda: stage.batch(range(size)), generator, steps),
        "features of w_0": features,
        "transformer": plain - features,
        "drag loss": whole - plain,
        "optimiser": _seconds(optimizer.step, generator, steps),
    }
    with FlopCounterMode(display=False) as counter:
        learn(stage)
    flops = counter.get_total_flops() / size / 1e9
    return TrainCost(size, pieces, flops, parameter_count(stage), _peak_bytes(generator.device))


def cost_table(generator: FrozenGenerator, config: TrainConfig, steps: int) -> str:
    """The cost of a step, and the hours that the budget of stage 2 takes on this machine."""
    cost = train_cost(generator, config, steps)
    rate = cost.batch / cost.seconds
    without = cost.batch / (cost.seconds - cost.pieces["drag loss"])
    shares = "\n".join(f"  {k:<16} {1000 * s:9.1f} ms {s / cost.seconds:6.1%}" for k, s in cost.pieces.items())
    budget = config.stage2.budget
    samples = budget.epochs * budget.samples
    return (
        f"{cost.parameters / 1e6:.1f} M parameters, batch {cost.batch}, {config.loop.precision}, "
        f"{generator.resolution[0]} px, features of block {config.model.feature_block}\n{shares}\n"
        f"{rate:.2f} samples a second ({without:.2f} without the drag loss), {cost.gigaflops:.0f} GFLOP a sample, "
        f"{cost.peak_bytes / 2**20:.0f} MiB at most\n"
        f"{samples:.0f} samples of the budget: {samples / rate / 3600:.1f} hours on this device"
    )


def _stage(generator: FrozenGenerator, config: TrainConfig, beta: float) -> PredictorStage:
    section = replace(config.stage2, rollout=0.0, rounds=0.0, beta=beta)
    block = config.model.feature_block
    model = AutoDrag(config.model, domain_shape(generator, block), measure(generator, block, latents=1000, maps=4))
    data = MadeUp(generator, config.model.steps)
    return PredictorStage(model, data, data, section, seed=0)


def _seconds(work: Callable[[], object], generator: FrozenGenerator, steps: int) -> float:
    """Mean seconds of a call, after one that is not counted."""
    work()
    _synchronise(generator.device)
    start = perf_counter()
    for _ in range(steps):
        work()
    _synchronise(generator.device)
    return (perf_counter() - start) / steps


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _peak_bytes(device: torch.device) -> int:
    """Of the GPU where there is one, else of this process since it began."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
