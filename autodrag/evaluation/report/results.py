"""Finds the results of evaluations, and stores the summaries that tables are made from."""

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from autodrag.errors import InputError
from autodrag.evaluation.bootstrap import estimate
from autodrag.evaluation.report import paper
from autodrag.evaluation.summary import to_json
from autodrag.files import make_folder

#: The column of each task that methods are compared by.
COMPARED_BY = {"landmarks": "md", "short": "md", "paired": "mse", "mdd": "mdd", "roundtrip": "lpips", "pulls": "left"}

#: Methods whose steps are limited by the task, or by their own max_steps.
OPTIMISERS = ("draggan", "freedrag")


@dataclass(frozen=True)
class Result:
    """A finished evaluation: the folder of its summary.json, and the summary."""

    folder: Path
    summary: dict[str, Any]

    @property
    def label(self) -> str:
        """The label of its method."""
        return str(self.summary["method"]["label"])

    @property
    def name(self) -> str:
        """The name of its method, and for the paper's recipe how much of it was trained, where that is not all."""
        seen, name = self.summary.get("samples_seen"), paper.METHODS.get(self.label, self.label)
        if seen is None or seen >= paper.SAMPLES or not self.label.startswith(paper.PAPER):
            return name
        return f"{name}, {seen / paper.SAMPLES:.0%} of its samples"

    def estimate(self, setting: str, column: str) -> dict[str, Any] | None:
        """The estimate of a column; None where there is none."""
        found: dict[str, Any] | None = self.summary["settings"].get(setting, {}).get(column)
        return found if found is not None and found["mean"] is not None else None

    def minus(self, other: str, setting: str) -> dict[str, Any] | None:
        """Estimate of the difference to the method `other`, item by item; None where they were not compared."""
        found: dict[str, Any] | None = self.summary.get("minus", {}).get(other, {}).get(setting)
        return found if found is not None and found["mean"] is not None else None

    def value(self, setting: str, key: str) -> float | None:
        """A number of a setting that has no interval, as `md_left`; None where there is none."""
        found = self.summary["settings"].get(setting, {}).get(key)
        return None if found is None else float(found)

    def items_of(self, setting: str | None = None) -> int:
        """Number of items of a setting, or of its first one."""
        settings = self.summary["settings"]
        return int(settings.get(setting, next(iter(settings.values())))["items"])

    def seconds(self, setting: str) -> dict[str, Any] | None:
        """Estimates of the time of an edit in a setting; None where another one was timed, or none."""
        found: dict[str, Any] | None = self.summary["seconds"]
        return found if next(iter(self.summary["settings"])) == setting else None

    @property
    def options(self) -> dict[str, Any]:
        """The options of its method."""
        found: dict[str, Any] = self.summary["method"]["options"]
        return found

    @property
    def max_steps(self) -> int | None:
        """Limit of its steps; None where the method is not an optimiser."""
        if self.summary["method"]["name"] not in OPTIMISERS:
            return None
        own, tasks = self.options.get("max_steps"), self.summary["task"].get("max_steps")
        return tasks if own is None else own

    def items(self) -> list[dict[str, Any]]:
        """The lines of per_item.jsonl. Raises InputError for a stored summary, which has none."""
        path = self.folder / "per_item.jsonl"
        if not path.is_file():
            raise InputError(f"{path} is missing: results= takes folders of evaluations, or null for stored summaries.")
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def read_results(root: Path) -> list[Result]:
    """All finished evaluations under a folder. Raises InputError where there is none."""
    results = []
    for path in sorted(root.glob("**/summary.json")):
        try:
            summary = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            raise InputError(f"{path} is damaged; delete it and run its evaluation again.") from None
        if "settings" in summary:
            results.append(Result(path.parent, summary))
    if not results:
        raise InputError(f"There are no results under {root}; run scripts/eval.py first, or give another results=.")
    return results


def of_task(results: list[Result], task: str, dataset: str) -> dict[str, Result]:
    """Label -> result. Raises InputError where two of them were measured on different items, or share a label."""
    found = [r for r in results if r.summary["task"]["name"] == task and r.summary["dataset"] == dataset]
    table: dict[str, Result] = {}
    for result in found:
        if result.label in table:
            other = table[result.label].folder
            raise InputError(f"{result.folder} and {other} both hold {result.label}; give one another method.label.")
        if not _same_items(result.summary, found[0].summary):
            raise InputError(
                f"{result.folder} and {found[0].folder} were measured on different items, but a table needs one "
                "manifest: evaluate both with the settings of one, or choose another data= for the new results."
            )
        table[result.label] = result
    return table


def settings_of(results: Iterable[Result]) -> list[str]:
    """The settings that any of these results has, in the order of the task."""
    longest_first = sorted(results, key=lambda result: -len(result.summary["settings"]))
    return list(dict.fromkeys(setting for result in longest_first for setting in result.summary["settings"]))


def devices_of(results: Iterable[Result]) -> str:
    """Of all of them: times of different devices do not compare."""
    return "; ".join(sorted({str(result.summary["device"]) for result in results}))


def about_optimisers(results: Iterable[Result]) -> str:
    """A sentence on the most steps and the learning rates of the optimisers; empty where there is none."""
    found = [(result, limit) for result in results if (limit := result.max_steps) is not None]
    if not found:
        return ""
    limits = " or ".join(map(str, sorted({limit for _, limit in found})))
    rates = [f"{result.name} {rate:g}" for result, _ in found if (rate := result.options.get("lr")) is not None]
    return f"Optimisers made at most {limits} steps{', learning rates: ' if rates else ''}{', '.join(rates)}."


def _same_items(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two evaluations have the same items in the same order.

    A manifest's hash covers the whole task. Items do not depend on the limit of the steps, so evaluations that differ
    only in that have the same items.
    """
    if one["task"].get("max_steps") == other["task"].get("max_steps"):
        return bool(one["manifest"] == other["manifest"])
    tasks = [{key: value for key, value in s["task"].items() if key != "max_steps"} for s in (one, other)]
    return tasks[0] == tasks[1] and all(one[key] == other[key] for key in ("seed", "tools", "resolution"))


def keep(results: list[Result], data: Path) -> None:
    """Copy the summaries to `data`/DATASET/TASK/LABEL/summary.json, adding the item-by-item comparisons.

    Paths of this machine are dropped, and in older summaries the comparisons with results that are replaced. Raises
    InputError as `of_task` does, for the new results and those that stay, before anything is written.
    """
    tables = {}
    for dataset, task in sorted({(r.summary["dataset"], r.summary["task"]["name"]) for r in results}):
        table = tables[dataset, task] = of_task(results, task, dataset)
        stored = read_results(data / dataset / task) if any((data / dataset / task).glob("*/summary.json")) else []
        of_task([*results, *(result for result in stored if result.label not in table)], task, dataset)
    for (dataset, task), table in tables.items():
        for label, result in table.items():
            others = {other: _minus(result, table[other]) for other in table if other not in (label, "no-edit")}
            summary = result.summary | {"minus": others, "missing": dict.fromkeys(result.summary["missing"], "")}
            summary["method"] = _without_place(summary["method"])
            path = data / dataset / task / label / "summary.json"
            make_folder(path.parent, "data")
            path.write_text(to_json(summary), encoding="utf-8")
        for path in (data / dataset / task).glob("*/summary.json"):
            if path.parent.name not in table:
                _forget(path, table)


def _without_place(method: dict[str, Any]) -> dict[str, Any]:
    """A method whose weights are given by their absolute path, by the file's name."""
    weights = method["options"].get("weights")
    if weights is None or not Path(str(weights)).is_absolute():
        return method
    return method | {"options": method["options"] | {"weights": Path(str(weights)).name}}


def _forget(path: Path, labels: Collection[str]) -> None:
    """Drop the comparisons with these labels from a stored summary."""
    summary = json.loads(path.read_text(encoding="utf-8"))
    others = {label: found for label, found in summary.get("minus", {}).items() if label not in labels}
    if others != summary.get("minus", {}):
        path.write_text(to_json(summary | {"minus": others}), encoding="utf-8")


def _minus(result: Result, other: Result) -> dict[str, Any]:
    """Setting -> estimate of the difference over the items that both have a value for."""
    column, seed = COMPARED_BY[result.summary["task"]["name"]], result.summary["seed"]
    mine, theirs = (_values(r, column) for r in (result, other))
    differences: dict[str, Any] = {}
    for setting in result.summary["settings"]:
        both = [key for key in mine if key[0] == setting and key in theirs]
        differences[setting] = asdict(estimate([mine[key] - theirs[key] for key in both], seed, "difference"))
    return differences


def _values(result: Result, column: str) -> Mapping[tuple[str, int], float]:
    rows = [row for row in result.items() if row.get(column) is not None]
    return {(row["setting"], row["index"]): row[column] for row in rows}
