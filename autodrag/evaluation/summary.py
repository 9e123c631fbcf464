"""From the values of items to `summary.json`."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from autodrag.evaluation.edits import Timing
from autodrag.evaluation.metrics import frechet_distance
from autodrag.evaluation.statistics import estimate

Row = Mapping[str, Any]


def summarise(rows: Sequence[Row], columns: Mapping[str, str], seed: int) -> dict[str, Any]:
    """Estimates of a setting's columns. Items without a value are dropped; MD is also given with them penalised.

    md_penalised: failed items count with the distance they had before the edit. md_left: MD / MD before it.
    """
    summary: dict[str, Any] = {"items": len(rows)}
    for column in columns:
        values = [row[column] for row in rows if row.get(column) is not None]
        summary[column] = asdict(estimate(values, seed, column))
    if "md" in columns:
        before = [row["md_before"] for row in rows]
        penalised = [row["md_before"] if row["md"] is None else row["md"] for row in rows]
        summary["failed"] = sum(row["failed"] for row in rows)
        summary["md_before"] = asdict(estimate(before, seed, "md_before"))
        summary["md_penalised"] = asdict(estimate(penalised, seed, "md_penalised"))
        found = [row for row in rows if row["md"] is not None]
        total = sum(row["md_before"] for row in found)
        summary["md_left"] = sum(row["md"] for row in found) / total if total > 0 else None
    return summary


def frechet(features: Sequence[Mapping[str, Tensor]], captions: Mapping[str, str]) -> dict[str, Any]:
    """Frechet distances of edited and source images; `floor`: of two halves of the sources, which differ in nothing."""
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


def to_json(summary: Mapping[str, Any]) -> str:
    """As it is written."""
    return json.dumps(summary, indent=1) + "\n"
