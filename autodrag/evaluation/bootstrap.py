"""Means over items with bootstrap intervals."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from autodrag.seeding import rng

RESAMPLES = 10_000
LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over n items and its 95 % interval; None without items."""

    n: int
    mean: float | None
    low: float | None
    high: float | None


def estimate(values: Sequence[float], seed: int, stage: str) -> Estimate:
    """Mean and percentile-bootstrap interval of values; the draws are a function of (seed, stage)."""
    if not values:
        return Estimate(0, None, None, None)
    data = torch.tensor(values, dtype=torch.float64)
    draws = rng(seed, "bootstrap " + stage)
    means = torch.cat(
        [
            data[torch.randint(len(data), (part, len(data)), generator=draws)].mean(dim=1)
            for part in [RESAMPLES // 100] * 100  # in a hundred parts, to save memory
        ]
    )
    tails = torch.tensor([(1 - LEVEL) / 2, (1 + LEVEL) / 2], dtype=torch.float64)
    low, high = torch.quantile(means, tails).tolist()
    return Estimate(len(values), data.mean().item(), low, high)
