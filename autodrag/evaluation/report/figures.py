"""Fig. 1 (time against quality) and Fig. 9 (distance against time) as PNG and SVG."""

from collections.abc import Callable, Mapping
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from autodrag.evaluation.report import paper
from autodrag.evaluation.report.results import Result, devices_of, of_task, settings_of

matplotlib.rcParams["svg.hashsalt"] = "autodrag"  # makes files reproducible


def fig1(results: list[Result], dataset: str) -> Figure | None:
    """Seconds against MD (and a Frechet distance where measured), one point for each method."""
    every = of_task(results, "landmarks", dataset)
    setting = next(iter(settings_of(every.values())), "")
    found = {k: r for k, r in every.items() if k != "no-edit" and r.seconds(setting) is not None}
    if not found:
        return None
    distances = list(dict.fromkeys(name for result in found.values() for name in result.summary["frechet"]))
    figure, axes = plt.subplots(1, 1 + len(distances), figsize=(4.6 * (1 + len(distances)), 3.6), squeeze=False)
    points: list[dict[str, tuple[float, float]]] = [{} for _ in axes[0]]
    for label, result in found.items():
        seconds = result.summary["seconds"]["method"]["mean"]
        estimate = result.estimate(setting, "md")
        values = [None if estimate is None else estimate["mean"]]
        values += [result.summary["frechet"].get(name, {}).get("value") for name in distances]
        for places, value in zip(points, values, strict=True):
            if value is not None:
                places[paper.METHODS.get(label, label)] = (seconds, value)
    for axis, name, places in zip(axes[0], [f"MD, {setting} point (px)", *distances], points, strict=True):
        for place in places.values():
            axis.scatter(*place, s=40)
        axis.set(xscale="log", xlabel="seconds an edit", ylabel=name)
        axis.margins(x=0.2, y=0.2)
        axis.grid(alpha=0.3)
    figure.suptitle(f"Time against quality, {dataset}, {devices_of(found.values())}")
    figure.tight_layout()
    for axis, places in zip(axes[0], points, strict=True):
        _write_labels(axis, places)
    return figure


def _write_labels(axis: Axes, places: Mapping[str, tuple[float, float]]) -> None:
    """A label beside each point, on the first side where it is inside the frame and covers no point and no label.

    Otherwise on the side where it covers fewest, preferably inside the frame.
    """
    frame = axis.get_window_extent()
    taken = [Bbox.from_extents(x - 5, y - 5, x + 5, y + 5) for x, y in axis.transData.transform([*places.values()])]
    for label, place in places.items():
        tried = []
        for text in (label, "\n".join(_halves(label))):
            for side, dx in (("left", 5), ("right", -5)):
                for edge, dy in (("bottom", 5), ("top", -5), ("bottom", 18), ("top", -18)):
                    note = axis.annotate(text, place, (dx, dy), textcoords="offset points", ha=side, va=edge)
                    box = note.get_window_extent()
                    out = not (frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1)
                    tried.append(((out, sum(box.overlaps(other) for other in taken)), note, box))
        _, best, box = min(tried, key=lambda candidate: candidate[0])
        taken.append(box)
        for _, note, _ in tried:
            if note is not best:
                note.remove()


def _halves(label: str) -> list[str]:
    """A label in two lines of about the same length; a single word stays one line."""
    words = label.split()
    cuts = [(" ".join(words[:i]), " ".join(words[i:])) for i in range(1, len(words))]
    return list(min(cuts, key=lambda cut: max(map(len, cut)))) if cuts else [label]


def fig9(results: list[Result], dataset: str) -> Figure | None:
    """MDD against seconds: thin lines for the edits, a thick line for their mean."""
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
    axis.set(xscale="log", xlabel="seconds", ylabel="MDD", ylim=(0, 1.3))
    counts = sorted({len(result.summary["curves"]["mdd"]) for result in found.values()})
    edits = f"{' or '.join(map(str, counts))} edits"
    axis.set_title(f"Mean distance decay, {dataset}, {edits}, {devices_of(found.values())}", fontsize=10)
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
