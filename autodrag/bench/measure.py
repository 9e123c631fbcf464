"""Milliseconds and peak memory of a call, on the CPU or on a GPU."""

import ctypes
import json
import statistics
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

_MIB = 2**20


@dataclass(frozen=True)
class Cost:
    """Of one call. peak_mib: memory beyond what was held before; None where the system does not tell."""

    milliseconds: float  # median
    repeats: int
    peak_mib: float | None


def cost(work: Callable[[], object], device: torch.device, repeats: int, seconds: float) -> Cost:
    """Times `work`, warmed up and once measured for memory, `repeats` times or until `seconds` are over."""
    work()
    peak = _peak_mib(work, device)
    times: list[float] = []
    while len(times) < repeats and sum(times) < seconds:
        synchronise(device)
        start = perf_counter()
        work()
        synchronise(device)
        times.append(perf_counter() - start)
    return Cost(1000 * statistics.median(times), len(times), peak)


def matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP a second of a large product of matrices: what convolutions in this type could reach at best."""
    size = 8192 if device.type == "cuda" else 2048
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    best = min(cost(lambda: a @ b, device, repeats=8, seconds=4.0).milliseconds for _ in range(2))
    return 2 * size**3 / best * 1000


def synchronise(device: torch.device) -> None:
    """Waits until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def device_name(device: torch.device) -> str:
    """The GPU's name, or the CPU's and how many threads are used."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{models[0] if models else 'CPU'}, {torch.get_num_threads()} threads"


def write_record(out: Path | str, device: torch.device, config: Any, numbers: Mapping[str, object]) -> None:
    """A bench's numbers as JSON, with the device, torch's version and the settings (a dataclass)."""
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
    # What the heap holds in reserve would be used again unseen: give it back first.
    ctypes.CDLL(None).malloc_trim(0)
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the high-water mark starts anew
    except OSError:
        return None
    before = _status_kib("VmRSS")
    work()
    return (_status_kib("VmHWM") - before) / 1024


def _status_kib(key: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    line = next(row for row in lines if row.startswith(f"{key}:"))
    return int(line.split()[1])
