"""Fig. 1 (time against quality) and Fig. 9 (distance against time) as PNG and SVG."""

from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from autodrag.evaluation.report import paper
from autodrag.evaluation.report.results import Result, of_task

matplotlib.rcParams["svg.hashsalt"] = "autodrag"  # the same figure gives the same file


def fig1(results: list[Result], dataset: str) -> Figure | None:
    """Seconds against MD (and a Frechet distance where one was measured), a point a method."""
    found = {k: r for k, r in of_task(results, "landmarks", dataset).items() if r.summary["seconds"] is not None}
    found = {label: result for label, result in found.items() if label != "no-edit"}
    if not found:
        return None
    first = next(iter(found.values())).summary
    setting = next(iter(first["settings"]))
    distances = list(first["frechet"])
    figure, axes = plt.subplots(1, 1 + len(distances), figsize=(4.6 * (1 + len(distances)), 3.6), squeeze=False)
    for label, result in found.items():
        seconds = result.summary["seconds"]["method"]["mean"]
        estimate = result.estimate(setting, "md")
        values = [None if estimate is None else estimate["mean"]]
        values += [result.summary["frechet"].get(name, {}).get("value") for name in distances]
        for axis, value in zip(axes[0], values, strict=True):
            if value is not None:
                axis.scatter(seconds, value, s=40)
                axis.annotate(paper.METHODS.get(label, label), (seconds, value), (5, 4), textcoords="offset points")
    for axis, name in zip(axes[0], [f"MD, {setting} point (px)", *distances], strict=True):
        axis.set(xscale="log", xlabel="seconds an edit", ylabel=name)
        axis.margins(x=0.35, y=0.2)
        axis.grid(alpha=0.3)
    figure.suptitle(f"Time against quality, {dataset}, {first['device']}")
    return figure


def fig9(results: list[Result], dataset: str) -> Figure | None:
    """MDD against seconds: each edit faintly, their mean strongly."""
    found = {label: result for label, result in of_task(results, "mdd", dataset).items() if result.summary["curves"]}
    if not found:
        return None
    figure, axis = plt.subplots(figsize=(6, 3.8))
    end = max(result.summary["curves"]["seconds"][-1] for result in found.values())
    for number, (label, result) in enumerate(found.items()):
        moments, values = (np.array(result.summary["curves"][key]) for key in ("seconds", "mdd"))
        last = float(values[:, -1].mean())
        axis.plot([moments[-1], end], [last, last], color=f"C{number}", linewidth=1, linestyle=":")  # it stays there
        for curve in values:
            axis.plot(moments, curve, color=f"C{number}", alpha=0.08, linewidth=0.8)
        axis.plot(moments, values.mean(axis=0), color=f"C{number}", linewidth=2, label=paper.METHODS.get(label, label))
    summary = next(iter(found.values())).summary
    axis.set(xscale="log", xlabel="seconds", ylabel="MDD", ylim=(0, 1.3))
    axis.set_title(
        f"Mean distance decay, {dataset}, {summary['task']['count']} edits, {summary['device']}", fontsize=10
    )
    axis.legend()
    axis.grid(alpha=0.3)
    return figure


FIGURES: dict[str, Callable[[list[Result], str], Figure | None]] = {"fig1": fig1, "fig9": fig9}


def save_figure(figure: Figure, path: Path) -> list[Path]:
    """`path` with .png and .svg; the figure is closed."""
    figure.tight_layout()
    paths = [path.with_suffix(suffix) for suffix in (".png", ".svg")]
    for target in paths:
        figure.savefig(target, dpi=160, metadata={"Date": None} if target.suffix == ".svg" else None)
    plt.close(figure)
    return paths
