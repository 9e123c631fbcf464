"""Tables 1, 2 and 3 of the paper from summaries, with the paper's numbers beside ours where there are any."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from autodrag.evaluation.report import paper
from autodrag.evaluation.report.claims import NOT_RUN, NOTHING
from autodrag.evaluation.report.pulls import pulls
from autodrag.evaluation.report.results import Result, about_optimisers, devices_of, of_task, settings_of
from autodrag.evaluation.report.table import Table

ABLATION = "ablation-"  # prefix of the labels of models without a part of the recipe
REFERENCE = "autodrag-n5"  # the model that these and the paper's ablations are compared with
FEWER = (f"{ABLATION}lambda-0.1", f"{ABLATION}independent")  # whose trajectories are as many as those of samples-2048
FEWER_NOTE = "lambda-0.1 and independent have 2048 training samples: they compare with samples-2048."
SHORT = "Ours w/o a part was trained shortly: it compares with ours of the ablations' budget, not with ours."
SAMPLES = re.compile(r"plain-(\d+)")  # labels of the transformer without our parts, with its training samples
WITHOUT = ("autodrag-without-regularizer", "autodrag-without-predictor")  # the paper's


def table1(results: list[Result], dataset: str) -> Table | None:
    """Face-landmark manipulation; None without results."""
    every = of_task(results, "landmarks", dataset)
    found = {k: r for k, r in every.items() if not (k.startswith(ABLATION) or SAMPLES.fullmatch(k))}
    printed = paper.TABLE1 if dataset == "ffhq" else dict.fromkeys(paper.TABLE1)
    return _moved_landmarks(found, dataset, printed, "table1", "Table 1: face-landmark manipulation") if found else None


def short_drags(results: list[Result], dataset: str) -> Table | None:
    """Landmarks dragged part of the way. Not in the paper."""
    found = of_task(results, "short", dataset)
    return _moved_landmarks(found, dataset, {}, "short", "Short drags of face landmarks") if found else None


def _moved_landmarks(
    found: dict[str, Result], dataset: str, printed: Mapping[str, Sequence[float | None] | None], name: str, title: str
) -> Table:
    """printed: the paper's rows, with its numbers where there are any for this dataset."""
    first, settings = next(iter(found.values())), settings_of(found.values())
    distances = sorted({metric for result in found.values() for metric in result.summary["frechet"]})
    columns = ["Method", "N", *(f"{s} point{'s' * (s != '1')}" for s in settings), "of no edit", *distances]
    columns += ["outside", "identity", "lost", "s", "s + picture"]
    theirs = any(printed.values())
    columns += [f"paper: {c}" for c in (*settings, "FID", "s")] if theirs else []
    rows = []
    for label in _ordered(found, printed):
        numbers = [_number(value, 2) for value in printed.get(label) or (None,) * 5] if theirs else []
        if label not in found:
            rows.append(_not_run(label, len(columns) - len(numbers), numbers))
            continue
        result = found[label]
        summary = result.summary
        left = [result.value(s, "md_left") for s in settings]
        row = [result.name, str(result.items_of()), *(_interval(result.estimate(s, "md"), 2) for s in settings)]
        row.append(" / ".join(_number(value, 2) for value in left))
        row += [_number(summary["frechet"].get(metric, {}).get("value"), 2) for metric in distances]
        row += [_mean(result.estimate(settings[0], column), 3) for column in ("outside", "identity")]
        row += [_lost(result, settings), *_seconds(result, settings[0])]
        rows.append([*row, *numbers])
    height, task = first.summary["resolution"][0], first.summary["task"]
    way = f"; dragged {task['way']:.0%} of the way to the second face's" if task.get("way", 1) < 1 else ""
    notes = [
        f"MD in pixels at {height} px, mean and 95 % bootstrap interval over the first N pairs of {dataset}; "
        f"preset {task['preset']}{way}; edits without a detected face are left out.",
        "`lost`: their number, and in brackets MD with the distance of no edit in their place.",
        "`of no edit`: the sum of distances as a share of that without an edit. `outside`: change of pixels away from "
        "the points (share of the range); `identity`: drift of the appearance predicted from the image; both at the "
        "first setting.",
        *_frechet_notes(found.values()),
        *_timed(found, settings[0]),
        *_common(found),
    ]
    return Table(name, f"{title} on {dataset}", columns, rows, notes)


def ablations(results: list[Result], dataset: str) -> Table | None:
    """Ablations of our recipe: models with equal, short budgets, labelled `ablation-...`. Not in the paper."""
    shown = (REFERENCE, *WITHOUT)
    every = of_task(results, "landmarks", dataset)
    found = {label: r for label, r in every.items() if label.startswith(ABLATION) or label in shown}
    if not found.keys() - set(shown):
        return None
    settings = settings_of(found.values())
    ordered = sorted(found, key=lambda label: (label != REFERENCE, label))
    rows = [_left(_name(label).removeprefix(ABLATION), found[label], settings) for label in ordered]
    notes = [
        "Landmarks dragged from face to face, as in Table 1. Every model was trained from the same start with the same "
        "short budget and differs from the first row in one setting; nobody should use these weights.",
        *([FEWER_NOTE] if found.keys() & set(FEWER) else []),
        *_common(found),
    ]
    title = f"Parts of the recipe, in equal short budgets, on {dataset}"
    return Table("ablations", title, _left_columns("Changed", settings), rows, notes)


def samples(results: list[Result], dataset: str) -> Table | None:
    """Remaining distance against training samples, for the transformer without our parts. Not in the paper."""
    every = of_task(results, "landmarks", dataset)
    found = {int(m[1]): every[label] for label in every if (m := SAMPLES.fullmatch(label))}
    if not found:
        return None
    settings = settings_of(found.values())
    rows = [_left(f"{count:,}", found[count], settings) for count in sorted(found)]
    others = {label: every[label] for label in (paper.PAPER, "autodrag") if label in every}
    rows += [_left(result.name, result, settings) for result in others.values()]
    notes = [
        "Landmarks dragged from face to face, as in Table 1. Numbers are training samples of our transformer without "
        "the aim and the landing loss, each with its own schedule.",
        *_common({str(count): result for count, result in found.items()} | others),
    ]
    title = f"Remaining distance against training samples, on {dataset}"
    return Table("samples", title, _left_columns("Samples", settings), rows, notes)


def _left_columns(first: str, settings: Sequence[str]) -> list[str]:
    return [first, "N", *(f"{s} point{'s' * (s != '1')}" for s in settings), "of no edit"]


def _left(name: str, result: Result, settings: Sequence[str]) -> list[str]:
    """A row with distances, absolute and relative to no edit."""
    left = [result.value(s, "md_left") for s in settings]
    distances = [_interval(result.estimate(s, "md"), 2) for s in settings]
    return [name, str(result.items_of()), *distances, " / ".join(_number(value, 2) for value in left)]


def table2(results: list[Result], dataset: str) -> Table | None:
    """Paired image reconstruction."""
    every = of_task(results, "paired", dataset)
    found = {label: r for label, r in every.items() if steps_of(label) is None or label == REFERENCE}
    if not found.keys() - {REFERENCE}:
        return None
    first = next(iter(found.values()))
    (setting,) = first.summary["settings"]
    theirs = paper.TABLE2.get(dataset, {})
    columns = ["Method", "N", "MSE × 100", "LPIPS × 10", "outside", "s", "s + picture"]
    columns += ["paper: MSE", "paper: LPIPS"] if theirs else []
    rows = []
    for label in _ordered(found, paper.TABLE2["dog"]):
        numbers = [_number(value, 2) for value in theirs.get(label, (None, None))] if theirs else []
        if label not in found:
            rows.append(_not_run(label, len(columns) - len(numbers), numbers))
            continue
        result = found[label]
        row = [result.name, str(result.items_of())]
        row += [_interval(result.estimate(setting, column), 3) for column in ("mse", "lpips")]
        row += [_mean(result.estimate(setting, "outside"), 3), *_seconds(result, setting)]
        rows.append([*row, *numbers])
    notes = [
        f"{setting} points of the flow ({first.summary['tools']['flow']}), the first N pairs of {dataset}, images "
        f"in [-1, 1] at 256 px; mean and 95 % bootstrap interval. {_pairs(first)}",
        *_timed(found, setting),
        *_common(found),
    ]
    return Table("table2", f"Table 2: paired image reconstruction on {dataset}", columns, rows, notes)


def table3(results: list[Result], dataset: str) -> Table | None:
    """The number of steps n."""
    steps = {steps_of(label): r for label, r in of_task(results, "paired", dataset).items()}
    found = {n: result for n, result in steps.items() if n is not None}
    if not found:
        return None
    first = next(iter(found.values()))
    (setting,) = first.summary["settings"]
    columns = sorted({*paper.TABLE3, *found})
    cells = [_interval(found[n].estimate(setting, "mse"), 3) if n in found else NOT_RUN for n in columns]
    rows = [["MSE × 100", *cells]]
    if dataset == "dog":
        rows.append(["paper", *(_number(paper.TABLE3.get(n), 2) for n in columns)])
    notes = [
        f"Paired image reconstruction on {dataset}, {first.items_of()} pairs; every model was trained with its own n, "
        f"all with the same budget. {_pairs(first)}",
        *_common({str(n): result for n, result in found.items()}),
    ]
    return Table("table3", f"Table 3: effect of n on {dataset}", ["n", *map(str, columns)], rows, notes)


TABLES: dict[str, Callable[[list[Result], str], Table | None]] = {
    "table1": table1,
    "short": short_drags,
    "ablations": ablations,
    "samples": samples,
    "table2": table2,
    "table3": table3,
    "pulls": pulls,
}


def _ordered(found: Collection[str], printed: Collection[str]) -> list[str]:
    """Labels of the rows: those in the paper's table (`printed`), its recipe, and those that were run."""
    known = [label for label in paper.METHODS if label in found or label in printed or label == paper.PAPER]
    return known + sorted(label for label in found if label not in paper.METHODS)


def _not_run(label: str, width: int, numbers: list[str]) -> list[str]:
    return [_name(label), NOT_RUN, *[NOTHING] * (width - 2), *numbers]


def _name(label: str) -> str:
    return paper.METHODS.get(label, label)


def steps_of(label: str) -> int | None:
    """5 of autodrag-n5: a row of Table 3."""
    name, _, number = label.rpartition("-n")
    return int(number) if name and number.isdigit() else None


def _lost(result: Result, settings: Sequence[str]) -> str:
    """The number of edits without a detected face, and MD with the distance of no edit in their place."""
    lost = sum(int(result.value(setting, "failed") or 0) for setting in settings)
    with_them = " / ".join(_mean(result.estimate(setting, "md_penalised"), 2) for setting in settings)
    return f"{lost} ({with_them})" if lost else "0"


def _number(value: float | None, digits: int) -> str:
    return NOTHING if value is None else f"{value:.{digits}f}"


def _mean(estimate: Mapping[str, Any] | None, digits: int) -> str:
    return NOTHING if estimate is None else _number(estimate["mean"], digits)


def _interval(estimate: Mapping[str, Any] | None, digits: int) -> str:
    if estimate is None:
        return NOTHING
    low, high = (_number(estimate[end], digits) for end in ("low", "high"))
    return f"{_mean(estimate, digits)} ({low}–{high})"


def _seconds(result: Result, setting: str) -> list[str]:
    times = result.seconds(setting)
    return [NOTHING, NOTHING] if times is None else [f"{times[kind]['mean']:.3g}" for kind in ("method", "rendered")]


def _timed(found: Mapping[str, Result], setting: str) -> list[str]:
    """What the columns of seconds are, if any result has some."""
    timed = [result for result in found.values() if result.seconds(setting) is not None]
    return [f"Seconds of one edit at a time, warmed up, on {devices_of(timed)}."] if timed else []


def _frechet_notes(results: Iterable[Result]) -> list[str]:
    """One for each distance that any of them has."""
    known: dict[str, Mapping[str, Any]] = {}
    for result in results:
        known = result.summary["frechet"] | known
    return [
        f"{name}: {found['network']}; it decreases with N; between two halves of the sources it is "
        f"{_number(found['floor'], 2)}."
        for name, found in known.items()
    ]


def _pairs(result: Result) -> str:
    task = result.summary["task"]
    return f"Sources have psi {task['psi']:g}; rows 0-5 move {task['lam']:.0%} of the way to random ones."


def _common(found: Mapping[str, Result]) -> list[str]:
    summaries = [result.summary for result in found.values()]
    commits = sorted({str(summary["commit"])[:12] for summary in summaries})
    missing = sorted({metric for summary in summaries for metric in summary["missing"]})
    seeds = sorted({str(summary["seed"]) for summary in summaries})
    made = f"Seed {', '.join(seeds)}; commit {', '.join(commits)}."
    return [
        " ".join(filter(None, [about_optimisers(found.values()), made])),
        *([f"Not available in this run: {', '.join(missing)}."] if missing else []),
        *([SHORT] if REFERENCE in found and found.keys() & set(WITHOUT) else []),
    ]
