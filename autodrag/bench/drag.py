"""`scripts/bench.py drag`: latency from points to image, and AutoDrag compared with DragGAN in the same run."""

import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from autodrag.bench.measure import cost, device_name, write_record
from autodrag.bench.models import autodrag_weights, generator_loader
from autodrag.config import dataset_names, load_dataset
from autodrag.devices import pick_device
from autodrag.files import make_folder
from autodrag.generator import FrozenGenerator
from autodrag.methods import DragMethod, load_method
from autodrag.models import ModelConfig
from autodrag.seeding import rng

MOTION = 1 / 12  # length of a drag, relative to the height of the image


@dataclass(frozen=True)
class DragBench:
    """`configs/bench/drag.yaml`."""

    generator: str  # dataset, file, or official-HEIGHT
    weights: str | None  # of AutoDrag; None: the bundled ones, or else random ones
    model: ModelConfig  # of random weights
    rounds: int  # of AutoDrag
    points: tuple[int, ...]  # numbers of points to time
    dtype: Literal["float32", "bfloat16"]  # of synthesis
    device: str
    draggan_steps: int  # of DragGAN; 0: skip it
    batch: int  # edits of DragGAN, timed one by one and as a batch
    repeats: int  # maximum runs per timing
    seconds: float  # maximum duration of a timing
    out: str  # JSON file of the results


@dataclass(frozen=True)
class Row:
    """Latency of an edit whose source features are cached."""

    points: int
    latents_ms: float  # until the latents are known
    image_ms: float  # to render the image


@dataclass(frozen=True)
class Against:
    """Seconds per edit of a new image until the latents are known, for AutoDrag and DragGAN."""

    ours: float
    draggan: float
    draggan_steps: float  # mean number of steps
    draggan_batched: float
    batch: int

    def sentences(self) -> str:
        """The ratios as text."""
        return (
            f"DragGAN: {self.draggan:.2f} s an edit ({self.draggan_steps:.0f} steps), "
            f"{self.draggan / self.ours:.0f} times AutoDrag's; {self.batch} edits together "
            f"{self.draggan_batched:.2f} s each, {self.draggan / self.draggan_batched:.2f} times as fast"
        )


def run(config: DragBench) -> None:
    """Print the tables and write the numbers to `config.out`."""
    make_folder(Path(config.out).parent)
    device = pick_device(config.device)
    generator = generator_loader(config.generator, config.dtype, device)()
    with tempfile.TemporaryDirectory() as folder:
        weights, trained = autodrag_weights(generator, config.model, config.weights, Path(folder))
        method = load_method("autodrag", generator, weights=weights, rounds=config.rounds, track=False)
    print(f"{device_name(device)}, torch {torch.__version__}")
    kind = "AutoDrag" if trained else "AutoDrag (random weights)"
    print(f"{kind}, {config.generator} {generator.resolution[0]} px {config.dtype}, {config.rounds} round(s)")
    rows = [_row(generator, method, count, config) for count in config.points]
    for row in rows:
        print(
            f"  {row.points:3d} points: {row.latents_ms:7.1f} ms to the latents + {row.image_ms:.1f} ms image "
            f"= {row.latents_ms + row.image_ms:.1f} ms"
        )
    against = _against(generator, method, config) if config.draggan_steps else None
    if against:
        print(against.sentences())
    numbers = {"trained": trained, "rows": [asdict(row) for row in rows], "against": against and asdict(against)}
    write_record(config.out, device, config, numbers)


def _request(
    generator: FrozenGenerator, batch: int, points: int
) -> tuple[Float[Tensor, "B L D"], list[Tensor], list[Tensor]]:
    """Random images, with points in the central half that are dragged in random directions."""
    draw = rng(0, "bench drag", points)
    height, width = generator.resolution
    ws = generator.map(torch.randn(batch, generator.z_dim, generator=draw))
    handles = (torch.rand(batch, points, 2, generator=draw) / 2 + 0.25) * torch.tensor([width, height])
    angles = 2 * torch.pi * torch.rand(batch, points, 1, generator=draw)
    targets = handles + MOTION * height * torch.cat([angles.cos(), angles.sin()], dim=2)
    return ws, list(handles), list(targets)


def _last(method: DragMethod, ws: Tensor, handles: list[Tensor], targets: list[Tensor]) -> Callable[[], Tensor]:
    def work() -> Tensor:
        *_, last = method.drag(ws, handles, targets)
        return last.ws

    return work


def _row(generator: FrozenGenerator, method: DragMethod, points: int, config: DragBench) -> Row:
    work = _last(method, *_request(generator, 1, points))
    latents = cost(work, generator.device, config.repeats, config.seconds)
    edited = work()
    image = cost(lambda: generator.synthesize(edited), generator.device, config.repeats, config.seconds)
    return Row(points, latents.milliseconds, image.milliseconds)


def _against(generator: FrozenGenerator, method: DragMethod, config: DragBench) -> Against:
    lr = load_dataset(config.generator).draggan_lr if config.generator in dataset_names() else 2e-3
    draggan = load_method("draggan", generator, max_steps=config.draggan_steps, lr=lr)
    ws, handles, targets = _request(generator, config.batch + 1, config.points[0])
    ws, handles, targets = ws[1:], handles[1:], targets[1:]  # the first may be the image that `_row` dragged last
    next(iter(draggan.drag(ws[:1], handles[:1], targets[:1])))  # warm-up; `_row` was that of AutoDrag
    ours, _ = _one_by_one(method, ws, handles, targets)
    alone, steps = _one_by_one(draggan, ws, handles, targets)
    start = perf_counter()
    _last(draggan, ws, handles, targets)()
    together = perf_counter() - start
    n = config.batch
    return Against(ours / n, alone / n, steps / n, together / n, n)


def _one_by_one(method: DragMethod, ws: Tensor, handles: list[Tensor], targets: list[Tensor]) -> tuple[float, int]:
    """Seconds and steps of all edits."""
    start = perf_counter()
    steps = [sum(1 for _ in method.drag(ws[i : i + 1], handles[i : i + 1], targets[i : i + 1])) for i in range(len(ws))]
    return perf_counter() - start, sum(steps)
