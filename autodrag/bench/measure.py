"""Time and peak memory of a call, on a CPU or GPU."""

import ctypes
import json
import statistics
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

_MIB = 2**20
SLOW = 100.0  # milliseconds of a matrix product


@dataclass(frozen=True)
class Cost:
    """The cost of a call."""

    milliseconds: float  # median
    repeats: int
    peak_mib: float | None  # peak memory above that before the call; None if the system does not report it


def cost(work: Callable[[], object], device: torch.device, repeats: int, seconds: float) -> Cost:
    """Time `work` after a warm-up, `repeats` times or for `seconds`, but at least once; measure its memory once."""
    work()
    peak = _peak_mib(work, device)
    times: list[float] = []
    while not times or (len(times) < repeats and sum(times) < seconds):
        synchronise(device)
        start = perf_counter()
        work()
        synchronise(device)
        times.append(perf_counter() - start)
    return Cost(1000 * statistics.median(times), len(times), peak)


def matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of a large matrix product, an upper bound for convolutions in this dtype.

    The product grows while it takes less than SLOW ms: a full one takes minutes where the dtype is emulated.
    """
    size, largest, rate = 256, 8192 if device.type == "cuda" else 2048, 0.0
    while True:
        a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        best = min(cost(partial(torch.matmul, a, b), device, repeats=8, seconds=4.0).milliseconds for _ in range(2))
        rate = max(rate, 2 * size**3 / best * 1000)
        if best >= SLOW or size >= largest:
            return rate
        size *= 2


def synchronise(device: torch.device) -> None:
    """Wait until the device has finished."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def device_name(device: torch.device) -> str:
    """The name of the GPU, or of the CPU with the number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    threads = torch.get_num_threads()
    return f"{models[0] if models else 'CPU'}, {threads} thread{'s' * (threads != 1)}"


def write_record(out: Path | str, device: torch.device, config: Any, numbers: Mapping[str, object]) -> None:
    """Write the numbers of a benchmark as JSON, with the device, the torch version and the config."""
    head = {"device": device_name(device), "torch": torch.__version__, "config": asdict(config)}
    Path(out).write_text(json.dumps({**head, **numbers}, indent=1), encoding="utf-8")


def _peak_mib(work: Callable[[], object], device: torch.device) -> float | None:
    if device.type == "cuda":
        synchronise(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        synchronise(device)
        return (torch.cuda.max_memory_allocated(device) - before) / _MIB
    if not sys.platform.startswith("linux"):
        return None
    # Release free heap memory first, whose reuse would not be measured.
    ctypes.CDLL(None).malloc_trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # resets the high-water mark
    except OSError:
        return None
    before = _status_kib("VmRSS")
    work()
    return (_status_kib("VmHWM") - before) / 1024


def _status_kib(key: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    line = next(row for row in lines if row.startswith(f"{key}:"))
    return int(line.split()[1])
