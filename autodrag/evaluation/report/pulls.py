"""The table of drags that people make: a row a method and setting. Not in the paper."""

from collections.abc import Mapping
from typing import Any

from autodrag.evaluation.report import paper
from autodrag.evaluation.report.claims import NOTHING
from autodrag.evaluation.report.results import Result, about_optimisers, devices_of, of_task, settings_of
from autodrag.evaluation.report.table import Table

RIVAL = "draggan"
COLUMNS = (
    "Drag",
    "Method",
    "N",
    "left",
    "minus DragGAN's",
    "left, px",
    "left in reach",
    "in reach",
    "broken",
    "pins moved, px",
)
FIDELITY = ("residual", "FD-synthface / floor", "identity", "outside", "s")


def pulls(results: list[Result], dataset: str) -> Table | None:
    """Settings in their order, methods below each other; None where nothing has been run."""
    found = of_task(results, "pulls", dataset)
    if not found:
        return None
    known = [label for label in paper.METHODS if label in found]
    labels = known + sorted(set(found) - set(known))
    rows = [
        _row(found[label], setting)
        for setting in settings_of(found[label] for label in labels)
        for label in labels
        if setting in found[label].summary["settings"]
    ]
    first = found[labels[0]].summary
    seeds = sorted({str(r.summary["seed"]) for r in found.values()})
    commits = sorted({str(r.summary["commit"])[:12] for r in found.values()})
    judges = sorted({r.summary["tools"].get("judge", "of an earlier version") for r in found.values()})
    notes = [
        "`left`: share of the distance that is left, of all drags together and in the median drag, by a fit of the "
        f"renderer; of edits that are not broken ({first['tools']['broken']}) and whose handle is not on the "
        "background. `left in reach`: of the drags whose targets some face of the domain reaches (`in reach`: their "
        "number).",
        f"Judge: {'; '.join(judges)}.",
        "`minus DragGAN's`: the mean difference of the shares that are left, over the drags that both methods have.",
        "`free-N`: one point, N px in any direction. `two`, `three`: with others that are pulled elsewhere by 40 px. "
        "`local`: one parameter of the face moves to its other end. `surface`: points of the face move to where "
        "another face has them. `chain-back`: ten pulls of 20 px, back and forth; `chain-on`: ten of 10 px, onward.",
        "The oracle has the rows of the target face: its distance is the error of generator and fit.",
        "`residual`: root mean square error of the best-fitting face, in a patch: of the mean colour of a square 24 px "
        "wide; `identity`: drift of appearance; `outside`: change away from the points; `s`: seconds of an edit in its "
        "batch.",
        about_optimisers(found[label] for label in labels),
        f"{devices_of(found.values())}; seed {', '.join(seeds)}; commit {', '.join(commits)}.",
    ]
    return Table("pulls", f"Drags that people make on {dataset}", [*COLUMNS, *FIDELITY], rows, notes)


def _row(result: Result, setting: str) -> list[str]:
    values = result.summary["settings"][setting]
    distances = result.summary["frechet_of"].get(setting, {})
    distance: Mapping[str, Any] = distances.get("FD-synthface", {})
    return [
        setting,
        result.name,
        str(values["items"]),
        f"{_number(values['left_of_way'], 2)} / {_number(values['medians']['left'], 2)}",
        _difference(result.minus(RIVAL, setting)),
        _number(values["left_px"]["mean"], 1),
        _number(values["left_of_way_in_reach"], 2),
        str(values["left_in_reach"]["n"]),
        NOTHING if values["broken"]["mean"] is None else f"{values['broken']['mean']:.0%}",
        _number(values["medians"]["pins_px"], 1),
        _number(values["residual"]["mean"], 3),
        f"{_number(distance.get('value'), 2)} / {_number(distance.get('floor'), 2)}",
        *(_number(values[column]["mean"], 3) for column in ("identity", "outside")),
        NOTHING if values["seconds"]["mean"] is None else f"{values['seconds']['mean']:.3g}",
    ]


def _difference(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return NOTHING
    return f"{found['mean']:+.2f} ({found['low']:+.2f} to {found['high']:+.2f}; N {found['n']})"


def _number(value: float | None, digits: int) -> str:
    return NOTHING if value is None else f"{value:.{digits}f}"
