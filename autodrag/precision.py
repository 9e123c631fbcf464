"""Resolves dtype `auto` of a config: bfloat16 if the device computes it fast, otherwise float32."""

import sys
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import Literal

import torch
from torch.nn import functional as F

#: Values in a config; `choose` resolves "auto".
Asked = Literal["auto", "float32", "bfloat16", "float16"]
Chosen = Literal["float32", "bfloat16", "float16"]

UNITS = {"amx_bf16", "avx512_bf16", "bf16"}  # Linux CPU flags of hardware support for bfloat16 products
WORTH = 0.8  # bfloat16 counts as fast if a convolution takes less than this fraction of its time in float32


def choose(asked: Asked, device: torch.device) -> Chosen:
    """`asked`, or the best dtype for the device if it is "auto", which is then reported on stderr."""
    if asked != "auto":
        return asked
    fast, why = computes_bfloat16_fast(device)
    chosen: Chosen = "bfloat16" if fast else "float32"
    print(f"Computing in {chosen}: {why}.", file=sys.stderr, flush=True)
    return chosen


@cache
def computes_bfloat16_fast(device: torch.device) -> tuple[bool, str]:
    """Whether bfloat16 is fast on this device, and why. CPUs with support for it are benchmarked, once per process."""
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)  # of the current device, which is this one
        return fast, f"the GPU {'multiplies' if fast else 'does not multiply'} bfloat16 natively"
    if device.type != "cpu":
        return False, f"the speed of bfloat16 on {device} is unknown"
    flags = processor_flags()
    if flags and not flags & UNITS:
        return False, f"this processor has no unit for bfloat16 (none of {', '.join(sorted(UNITS))})"
    ratio = bfloat16_time(device)
    return ratio < WORTH, f"a convolution in bfloat16 takes {ratio:.2f} times as long as in float32 on this processor"


def processor_flags() -> set[str]:
    """The CPU flags reported by Linux; empty elsewhere."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return {flag for line in lines if line.startswith(("flags", "Features")) for flag in line.partition(":")[2].split()}


def bfloat16_time(device: torch.device, rounds: int = 3) -> float:
    """Time of a 3 x 3 convolution in bfloat16 relative to float32: the best of `rounds` alternating runs."""
    x = torch.randn(1, 128, 64, 64, device=device).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(128, 128, 3, 3, device=device).contiguous(memory_format=torch.channels_last)
    cases = [(x.to(kind), weight.to(kind)) for kind in (torch.bfloat16, torch.float32)]
    best = [float("inf")] * len(cases)
    with torch.inference_mode():
        for turn in range(rounds + 1):
            for i, (image, kernel) in enumerate(cases):
                start = perf_counter()
                F.conv2d(image, kernel, padding=1)
                if turn:  # the first is a warm-up
                    best[i] = min(best[i], perf_counter() - start)
    return best[0] / best[1]
