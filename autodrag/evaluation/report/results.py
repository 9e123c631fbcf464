"""Finding what evaluations have left behind."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autodrag.errors import InputError


@dataclass(frozen=True)
class Result:
    """A finished evaluation: its folder and its summary.json."""

    folder: Path
    summary: dict[str, Any]

    @property
    def label(self) -> str:
        """What its method is called."""
        label: str = self.summary["method"]["label"]
        return label

    def estimate(self, setting: str, column: str) -> dict[str, Any] | None:
        """A column's estimate, None where nothing could be measured."""
        found: dict[str, Any] | None = self.summary["settings"].get(setting, {}).get(column)
        return found if found is not None and found["mean"] is not None else None

    def items(self) -> list[dict[str, Any]]:
        """The lines of per_item.jsonl."""
        return [json.loads(line) for line in (self.folder / "per_item.jsonl").read_text().splitlines()]


def read_results(root: Path) -> list[Result]:
    """All finished evaluations under a folder. Raises InputError where there is none."""
    results = []
    for path in sorted(root.glob("**/summary.json")):
        try:
            summary = json.loads(path.read_text())
        except ValueError:
            raise InputError(f"{path} is damaged: delete it and run its evaluation again.") from None
        if "settings" in summary:
            results.append(Result(path.parent, summary))
    if not results:
        raise InputError(f"There are no results under {root}: run scripts/eval.py first, or name another results=.")
    return results


def of_task(results: list[Result], task: str, dataset: str) -> dict[str, Result]:
    """Label -> result. Raises InputError where two of them were measured on different items, or share a label."""
    found = [r for r in results if r.summary["task"]["name"] == task and r.summary["dataset"] == dataset]
    table: dict[str, Result] = {}
    for result in found:
        if result.label in table:
            other = table[result.label].folder
            raise InputError(f"{result.folder} and {other} both hold {result.label}: give one another method.label.")
        if result.summary["manifest"] != found[0].summary["manifest"]:
            raise InputError(
                f"{result.folder} and {found[0].folder} were measured on different items: a table needs one manifest."
            )
        table[result.label] = result
    return table
