"""`scripts/bench.py generator`: the cost of images and features, compared with plain synthesis."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from autodrag.bench.measure import cost, device_name, matmul_rate, write_record
from autodrag.devices import pick_device
from autodrag.errors import InputError
from autodrag.files import make_folder
from autodrag.generator import FrozenGenerator
from autodrag.graphs import record_cuda
from autodrag.seeding import rng
from autodrag.stylegan2 import plain_synthesis

BLOCK = 6
W_DIM = 512
#: Titles and widths; negative: left-aligned.
COLUMNS = {
    "px": 4,
    "batch": 5,
    "type": -8,
    "call": -10,
    "pass": -7,
    "engine": -14,
    "layout": -13,
    "ms": 8,
    "MiB": 6,
    "GFLOP": 7,
    "TFLOP/s": 7,
    "bound": 5,
    "speed-up": 8,
}

HEIGHTS = tuple(2**power for power in range(3, 12))


@dataclass(frozen=True)
class GeneratorBench:
    """`configs/bench/generator.yaml`."""

    sizes: tuple[int, ...]  # heights of the images
    batches: tuple[int, ...]
    dtypes: tuple[Literal["float32", "bfloat16", "float16"], ...]
    layouts: tuple[Literal["channels_last", "contiguous"], ...]
    device: str
    compile: bool | Literal["auto"]  # time torch.compile; auto: on a GPU
    repeats: int  # maximum runs per timing
    seconds: float  # maximum duration of a timing
    quick: bool  # only the first size, one batch size and one layout
    out: str  # JSON file of the results


@dataclass(frozen=True)
class Case:
    """A timed case."""

    size: int
    batch: int
    dtype: str
    call: str  # synthesize | features
    backward: bool
    engine: str  # plain | fast | compiled | graph | compiled graph
    layout: str


@dataclass(frozen=True)
class Row:
    """A case and its cost."""

    case: Case
    milliseconds: float
    repeats: int
    peak_mib: float | None
    gigaflops: float  # of the necessary convolutions, not of those that the engine executes
    bound: float  # their rate, relative to that of a large matrix product in the same dtype
    speed_up: float | None = None  # over the plain engine


def run(config: GeneratorBench) -> None:
    """Print each row as it is measured, and write all to `config.out`. Raises InputError for invalid settings."""
    if config.quick:
        config = replace(
            config, sizes=config.sizes[:1], batches=(1,), layouts=("channels_last",), repeats=min(2, config.repeats)
        )
    make_folder(Path(config.out).parent)
    device = pick_device(config.device)
    for size in config.sizes:
        _check_height(size)
    rates: dict[str, float] = {dtype: matmul_rate(device, getattr(torch, dtype)) for dtype in config.dtypes}
    print(f"{device_name(device)}, torch {torch.__version__}")
    for dtype, rate in rates.items():
        print(f"a large matrix product in {dtype}: {rate / 1e12:.2f} TFLOP/s")
    print(_line(COLUMNS))
    rows: list[Row] = []
    for row in measured(config, device, rates):
        rows.append(row)
        print(_line(_cells(row)), flush=True)
    write_record(config.out, device, config, {"matmul_flops": rates, "rows": [asdict(row) for row in rows]})


def measured(config: GeneratorBench, device: torch.device, rates: Mapping[str, float]) -> Iterator[Row]:
    """Yield the rows of the table, the plain engine of each case first."""
    with_compile = device.type == "cuda" if config.compile == "auto" else config.compile
    for size in config.sizes:
        for dtype in config.dtypes:
            plain: dict[tuple[int, str, bool], float] = {}
            for layout in config.layouts:
                generator = official(size, dtype, layout == "channels_last", device)
                for case, work in _cases(generator, config.batches, dtype, layout, with_compile):
                    key = (case.batch, case.call, case.backward)
                    if case.engine == "plain" and key in plain:
                        continue
                    row = _row(generator, case, work, config, rates[dtype])
                    if case.engine == "plain":
                        plain[key] = row.milliseconds
                    yield replace(row, speed_up=plain[key] / row.milliseconds)


def official(size: int, dtype: str, channels_last: bool, device: torch.device) -> FrozenGenerator:
    """Random weights with the channel counts of the published generators (config F: 32,768 / height, at most 512).

    Raises InputError for a height that is no power of 2 from 8 to 2048.
    """
    _check_height(size)
    channels = {2**i: min(512, 32768 // 2**i) for i in range(2, size.bit_length())}
    kind: torch.dtype = getattr(torch, dtype)
    return FrozenGenerator.random(
        (size, size), W_DIM, channels, mapping_layers=8, device=device, dtype=kind, channels_last=channels_last
    )


def _check_height(size: int) -> None:
    if size not in HEIGHTS:
        raise InputError(f"There is no generator of {size} px: choose one of {', '.join(map(str, HEIGHTS))}.")


def convolution_gigaflops(generator: FrozenGenerator, call: str) -> float:
    """GFLOP of the convolutions in a forward pass of one sample, without products with inserted zeros."""
    blocks = generator.num_blocks if call == "synthesize" else min(BLOCK, generator.num_blocks)
    total, below, pixels_below = 0, 0, 0
    for number in range(1, blocks + 1):
        channels, height, width = generator.feature_shape(number)
        pixels = height * width
        total += 9 * below * channels * pixels_below + 9 * channels * channels * pixels
        total += 3 * channels * pixels if call == "synthesize" else 0
        below, pixels_below = channels, pixels
    return 2 * total / 1e9


def _cases(
    generator: FrozenGenerator, batches: tuple[int, ...], dtype: str, layout: str, with_compile: bool
) -> Iterator[tuple[Case, Callable[[], object]]]:
    network, kind = generator.network, getattr(torch, dtype)
    engines: dict[str, dict[str, Callable[[Tensor], Tensor]]] = {
        "plain": {
            "synthesize": lambda ws: _image(plain_synthesis(network, ws, dtype=kind)),
            "features": lambda ws: plain_synthesis(network, ws, BLOCK, kind)[1],
        },
        "fast": {
            # With features `synthesize` has no CUDA graph of its own, which no compiler sees and no graph can contain.
            "synthesize": lambda ws: _image(generator.synthesize(ws, return_features=1)),
            "features": lambda ws: generator.features(ws, BLOCK),
        },
    }
    for batch in batches:
        z = torch.randn(batch, generator.z_dim, generator=rng(0, "bench"))
        ws = generator.map(z)
        size = generator.resolution[0]
        for call in ("synthesize", "features"):
            for engine, calls in engines.items():
                name = "contiguous" if engine == "plain" else layout
                case = Case(size, batch, dtype, call, False, engine, name)
                yield case, _forward(calls[call], ws)
                if batch == batches[0]:
                    yield replace(case, backward=True), _backward(calls[call], ws)
            if with_compile:
                fast = engines["fast"][call]
                case = Case(size, batch, dtype, call, False, "compiled", layout)
                yield case, _forward(torch.compile(fast, dynamic=False), ws)
                if generator.device.type == "cuda":
                    yield replace(case, engine="graph"), _graphed(fast, ws)
                    yield replace(case, engine="compiled graph"), _graphed(torch.compile(fast, dynamic=False), ws)


def _row(
    generator: FrozenGenerator, case: Case, work: Callable[[], object], config: GeneratorBench, rate: float
) -> Row:
    found = cost(work, generator.device, config.repeats, config.seconds)
    # Weights are frozen: the backward pass has one convolution for each in the forward pass.
    gigaflops = convolution_gigaflops(generator, case.call) * case.batch * (2 if case.backward else 1)
    bound = gigaflops * 1e9 / (found.milliseconds / 1000) / rate
    return Row(case, found.milliseconds, found.repeats, found.peak_mib, gigaflops, bound)


def _image(result: tuple[Any, object]) -> Tensor:
    image = result[0]
    assert isinstance(image, Tensor)  # neither stopped early nor asked for features
    return image


def _forward(call: Callable[[Tensor], Tensor], ws: Tensor) -> Callable[[], object]:
    def work() -> None:
        with torch.no_grad():
            call(ws)

    return work


def _graphed(call: Callable[[Tensor], Tensor], ws: Tensor) -> Callable[[], object]:
    with torch.no_grad():
        replay, _ = record_cuda(lambda: [call(ws)])
    return replay


def _backward(call: Callable[[Tensor], Tensor], ws: Tensor) -> Callable[[], object]:
    def work() -> None:
        leaf = ws.clone().requires_grad_()
        result = call(leaf)
        torch.autograd.grad(result, leaf, torch.ones_like(result))

    return work


def _cells(row: Row) -> list[str]:
    case, seconds = row.case, row.milliseconds / 1000
    return [
        str(case.size),
        str(case.batch),
        case.dtype,
        case.call,
        "both" if case.backward else "forward",
        case.engine,
        case.layout,
        f"{row.milliseconds:.1f}",
        "?" if row.peak_mib is None else f"{row.peak_mib:.0f}",
        f"{row.gigaflops:.1f}",
        f"{row.gigaflops / seconds / 1000:.2f}",
        f"{row.bound:.0%}",
        "" if row.speed_up is None else f"{row.speed_up:.2f}",
    ]


def _line(cells: Iterable[str]) -> str:
    pairs = zip(cells, COLUMNS.values(), strict=True)
    return " ".join(cell.ljust(-width) if width < 0 else cell.rjust(width) for cell, width in pairs)
