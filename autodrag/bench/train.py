"""`scripts/bench.py train`: the cost of a training step of stage 2 by component, and of the paper's schedule."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from autodrag.bench.measure import cost, device_name, write_record
from autodrag.bench.models import generator_loader
from autodrag.data.dataset import Sample, Trajectories
from autodrag.data.trajectories import FEATURE_BLOCK
from autodrag.devices import pick_device
from autodrag.files import make_folder
from autodrag.generator import FrozenGenerator
from autodrag.models import AutoDrag, ModelConfig
from autodrag.models.cost import parameter_count
from autodrag.seeding import rng
from autodrag.training.augmentation import AugmentationConfig
from autodrag.training.latent_statistics import domain_shape, measure
from autodrag.training.stages.base import Budget, Schedule
from autodrag.training.stages.stage2 import PredictorStage, Stage2Config

POINTS = 8  # pairs per synthetic sample, and per step
EPOCHS, SAMPLES = 150, 10_000  # epochs of the paper; samples per epoch: our choice


@dataclass(frozen=True)
class TrainBench:
    """`configs/bench/train.yaml`."""

    generator: str  # dataset, file, or official-HEIGHT
    model: ModelConfig
    batch: int
    drag_steps: int | None  # steps of L_drag; None: all
    precision: Literal["float32", "bfloat16"]
    device: str
    repeats: int  # maximum runs per timing
    seconds: float  # maximum duration of a timing
    estimate_tflops: float | None  # sustained TFLOP/s of a device to extrapolate to; None: none
    out: str  # JSON file of the results


@dataclass(frozen=True)
class TrainCost:
    """The cost of a training step."""

    milliseconds: dict[str, float]  # by component: batch, features of w_0, transformer, drag loss, optimiser
    peak_mib: float | None
    gigaflops: float  # per sample, forward and backward
    parameters: int

    def rate(self, batch: int, leave_out: Sequence[str] = ()) -> float:
        """Samples per second."""
        return 1000 * batch / sum(ms for name, ms in self.milliseconds.items() if name not in leave_out)


def run(config: TrainBench) -> None:
    """Print the table and write its numbers to `config.out`."""
    make_folder(Path(config.out).parent)
    device = pick_device(config.device)
    generator = generator_loader(config.generator, config.precision, device)()
    measured = train_cost(generator, config)
    print(f"{device_name(device)}, torch {torch.__version__}")
    print(table(measured, config))
    write_record(config.out, device, config, asdict(measured))


def table(measured: TrainCost, config: TrainBench) -> str:
    """Components and their shares, samples per second, and the duration of the paper's schedule, as text."""
    whole = sum(measured.milliseconds.values())
    lines = [
        f"{measured.parameters / 1e6:.1f} M parameters, {config.generator}, batch {config.batch}, {config.precision}"
    ]
    lines += [f"  {name:<16} {ms:10.1f} ms {ms / whole:6.1%}" for name, ms in measured.milliseconds.items()]
    rate, without = measured.rate(config.batch), measured.rate(config.batch, ["drag loss"])
    peak = "unknown memory" if measured.peak_mib is None else f"{measured.peak_mib:.0f} MiB"
    lines.append(f"{rate:.2f} samples per second ({without:.2f} without the drag loss), {peak}")
    lines.append(f"{measured.gigaflops:.0f} GFLOP per sample, {measured.gigaflops * rate / 1e3:.2f} TFLOP/s")
    lines.append(f"{EPOCHS} epochs of {SAMPLES} samples take {_hours(rate):.1f} hours of this device")
    if config.estimate_tflops is not None:
        faster = config.estimate_tflops * 1e3 / measured.gigaflops
        lines.append(
            f"estimated from FLOPs, not run: a device that sustains {config.estimate_tflops:g} TFLOP/s would "
            f"process {faster:.0f} samples per second, all epochs in {_hours(faster):.1f} hours"
        )
    return "\n".join(lines)


def _hours(rate: float) -> float:
    """Hours of the paper's schedule at this rate of samples per second."""
    return EPOCHS * SAMPLES / rate / 3600


class SyntheticTrajectories(Trajectories):
    """Straight motions between random latents with random points: steps cost the same as with real trajectories."""

    def __init__(self, generator: FrozenGenerator, n: int) -> None:
        self.generator, self.n = generator, n

    def samples(self, positions: Sequence[int]) -> list[Sample]:
        """One for each position."""
        return [self._sample(position) for position in positions]

    def other_latents(self, positions: Sequence[int]) -> Float[Tensor, "B L D"]:
        """One for each position."""
        return torch.stack([self._sample(position).ws[0] for position in positions])

    def _sample(self, position: int) -> Sample:
        draw = rng(0, "bench", position)
        ends = self.generator.map(torch.randn(2, self.generator.z_dim, generator=draw))
        fractions = torch.linspace(0, 0.5, self.n + 1, device=ends.device)
        size = torch.tensor([self.generator.resolution[1], self.generator.resolution[0]])
        points = list(torch.rand(2 * self.n + 2, POINTS, 2, generator=draw) * size)
        ws = ends[0] + fractions[:, None, None] * (ends[1] - ends[0])
        return Sample(position, ws, points[0], points[1], points[2 : self.n + 2], points[self.n + 2 :])


def train_cost(generator: FrozenGenerator, config: TrainBench) -> TrainCost:
    """Time the components of a training step on synthetic samples, without augmentation and rollouts."""
    whole, plain = (_stage(generator, config, beta) for beta in (1.0, 0.0))
    positions = range(config.batch)
    batch = whole.batch(positions)
    optimizer = torch.optim.Adam(whole.parameters(), lr=1e-6)

    def learn(stage: PredictorStage) -> Tensor:
        enabled = config.precision == "bfloat16"
        with torch.autocast(generator.device.type, torch.bfloat16, enabled=enabled):
            loss, _ = stage(batch)
        loss.backward()
        return loss

    def look() -> Tensor:
        return generator.features(batch.samples.ws[:, 0], block=config.model.feature_block)

    works: dict[str, Callable[[], object]] = {
        "whole": lambda: learn(whole),
        "plain": lambda: learn(plain),
        "look": look,
        "batch": lambda: whole.batch(positions),
        "optimiser": optimizer.step,
    }
    costs = {name: cost(work, generator.device, config.repeats, config.seconds) for name, work in works.items()}
    ms = {name: each.milliseconds for name, each in costs.items()}
    with FlopCounterMode(display=False) as counter:
        learn(whole)
    pieces = {
        "batch": ms["batch"],
        "features of w_0": ms["look"],
        "transformer": ms["plain"] - ms["look"],
        "drag loss": ms["whole"] - ms["plain"],
        "optimiser": ms["optimiser"],
    }
    flops = counter.get_total_flops() / config.batch / 1e9
    return TrainCost(pieces, costs["whole"].peak_mib, flops, parameter_count(whole))


def _stage(generator: FrozenGenerator, config: TrainBench, beta: float) -> PredictorStage:
    block, rate = config.model.feature_block, Schedule(1e-5)
    section = Stage2Config(
        budget=Budget(float(EPOCHS), SAMPLES, config.batch),
        predictor=rate,
        regularizer=rate,
        start=None,
        aim=None,
        alpha=0.1,
        beta=beta,
        metric="deviation",
        motion=None,
        gamma=0.0,
        drag_block=FEATURE_BLOCK,
        drag_patch=7,
        drag_steps=config.drag_steps,
        points=POINTS,
        step_points=POINTS,
        landmarks=0.0,
        far=0.0,
        validation=1,
        rollout=0.0,
        continued=0.0,
        final_share=1.0,
        augmentation=AugmentationConfig(0.0, 0.0, 0.0, 0.0, 0.0),
        half=False,
    )
    model = AutoDrag(config.model, domain_shape(generator, block), measure(generator, block, latents=1000, maps=4))
    data = SyntheticTrajectories(generator, config.model.steps)
    return PredictorStage(model, data, data, section, seed=0).to(generator.device).train()
