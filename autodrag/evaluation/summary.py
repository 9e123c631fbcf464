"""Summaries of the values of items: the content of `summary.json`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autodrag.evaluation.bootstrap import estimate
from autodrag.evaluation.drag_batch import Timing
from autodrag.evaluation.metrics import frechet_distance

Row = Mapping[str, Any]

MOMENTS = 40  # points of a curve
FIRST_MOMENT = 1e-3  # seconds


def summarise(rows: Sequence[Row], columns: Mapping[str, str], seed: int) -> dict[str, Any]:
    """Estimates of the columns of a setting, over the items that have a value.

    md_penalised: MD where failed items keep their distance before the edit. md_left, left_of_way: total distance after
    / before, so that a drag counts by its length. left_of_way_in_reach: of the items with a value of left_in_reach.
    """
    medians: dict[str, float | None] = {}
    summary: dict[str, Any] = {"items": len(rows), "medians": medians}
    for column in columns:
        values = [row[column] for row in rows if row.get(column) is not None]
        summary[column] = asdict(estimate(values, seed, column))
        medians[column] = median(values) if values else None
    if "md" in columns:
        before = [row["md_before"] for row in rows]
        penalised = [row["md_before"] if row["md"] is None else row["md"] for row in rows]
        summary["failed"] = sum(row["failed"] for row in rows)
        summary["md_before"] = asdict(estimate(before, seed, "md_before"))
        summary["md_penalised"] = asdict(estimate(penalised, seed, "md_penalised"))
        summary["md_left"] = _share(rows, "md", "md_before")
    if "left_px" in columns:
        reachable = [row for row in rows if row["left_in_reach"] is not None]
        summary["left_of_way"] = _share(rows, "left_px", "way")
        summary["left_of_way_in_reach"] = _share(reachable, "left_px", "way")
    return summary


def _share(rows: Sequence[Row], after: str, before: str) -> float | None:
    """Total of one column over that of another, of the rows that have a value after the edit."""
    found = [row for row in rows if row[after] is not None]
    total = sum(row[before] for row in found)
    return sum(row[after] for row in found) / total if total > 0 else None


def frechet(features: Sequence[Mapping[str, Tensor]], captions: Mapping[str, str]) -> dict[str, Any]:
    """Frechet distances between edited and source images; `floor`: between two halves of the sources."""
    results = {}
    for name, caption in captions.items():
        edited, sources = (torch.cat([part[f"{name} {which}"] for part in features]) for which in ("edited", "source"))
        half = len(sources) // 2
        results[name] = {
            "n": len(sources),
            "network": caption,
            "value": frechet_distance(edited, sources) if len(sources) > 1 else None,
            "floor": frechet_distance(sources[:half], sources[half:]) if half > 1 else None,
        }
    return results


def seconds(timing: Timing, seed: int) -> dict[str, Any]:
    """Estimates of the time of an edit."""
    return {
        "method": asdict(estimate(timing.method, seed, "seconds")),
        "rendered": asdict(estimate(timing.rendered, seed, "seconds")),
    }


def curves(rows: Sequence[Row]) -> dict[str, Any] | None:
    """The curves of Fig. 9: MDD of each item at times on a logarithmic scale; None without traces.

    A finished edit keeps its last value.
    """
    traces = [np.array(row["trace"]) for row in rows if row.get("trace")]
    if not traces:
        return None
    moments = np.geomspace(FIRST_MOMENT, max(FIRST_MOMENT * 2, *(trace[-1, 0] for trace in traces)), MOMENTS)
    moments[-1] *= 1 + 1e-9  # so that rounding does not drop the last value
    values = [trace[np.searchsorted(trace[:, 0], moments, side="right") - 1, 1] for trace in traces]
    return {
        "seconds": [float(f"{moment:.4g}") for moment in moments],
        "mdd": [[round(float(value), 3) for value in row] for row in values],
    }


def to_json(summary: Mapping[str, Any]) -> str:
    """JSON with one line for each key."""
    lines = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in summary.items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"
