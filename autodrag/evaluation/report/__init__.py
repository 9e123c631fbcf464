"""`scripts/tables.py`: tables, figures and sheets, made from the files of evaluations and never by hand."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from autodrag.config import DatasetConfig
from autodrag.errors import InputError
from autodrag.evaluation.report.figures import FIGURES, save_figure
from autodrag.evaluation.report.page import headline, insert, page
from autodrag.evaluation.report.results import Result, keep, read_results
from autodrag.evaluation.report.sheets import SHEETS
from autodrag.evaluation.report.tables import TABLES
from autodrag.visualize import save_image

PARTS = (*TABLES, *FIGURES, *SHEETS)


@dataclass(frozen=True)
class ReportConfig:
    """`configs/tables.yaml`."""

    results: str | None
    data: str
    dataset: DatasetConfig
    parts: tuple[str, ...]
    out: str
    page: str
    readme: str | None


def make_report(config: ReportConfig) -> None:
    """Keep the summaries of new results, then write what there are results for. Raises InputError.

    Tables, figures, the page and the README's block are made of the kept summaries, sheets of the evaluations' folders
    or, where they show no evaluation, of the generator and the weights that ship.
    """
    for part in config.parts:
        if part not in PARTS:
            raise InputError(f"There is no part {part!r}: choose parts of {', '.join(PARTS)}.")
    data, out, name = Path(config.data), Path(config.out), config.dataset.name
    fresh = [] if config.results is None else read_results(Path(config.results))
    keep(fresh, data)
    kept = read_results(data)
    out.mkdir(parents=True, exist_ok=True)
    for part in config.parts:
        if part in SHEETS:
            paths = _write_sheet(SHEETS[part], fresh, name, out / f"{part}-{name}.jpg")
        else:
            paths = _write(part, kept, name, out / f"{part}-{name}")
        for path in paths:
            print(path)
        if not paths and (fresh or part not in SHEETS):
            print(f"{part}: nothing of it has been run on {name}", file=sys.stderr)
    _write_texts(config, kept)


def _write(part: str, results: list[Result], dataset: str, target: Path) -> list[Path]:
    """A table for LaTeX, or a figure."""
    if part in FIGURES:
        figure = FIGURES[part](results, dataset)
        return [] if figure is None else save_figure(figure, target)
    table = TABLES[part](results, dataset)
    if table is None:
        return []
    target.with_suffix(".tex").write_text(table.latex(), encoding="utf-8")
    return [target.with_suffix(".tex")]


def _write_sheet(
    make: Callable[[list[Result], str], Tensor | None], results: list[Result], dataset: str, target: Path
) -> list[Path]:
    """A sheet that lacks weights is a line on stderr."""
    try:
        picture = make(results, dataset)
    except InputError as error:
        print(f"{target.name} is not made. {error}", file=sys.stderr)
        return []
    if picture is None:
        return []
    save_image(picture, target)
    return [target]


def _write_texts(config: ReportConfig, kept: list[Result]) -> None:
    target = Path(config.page)
    target.write_text(page(kept, Path(config.out), Path(config.data)), encoding="utf-8")
    print(target)
    if config.readme is not None:
        readme = Path(config.readme)
        link = Path(os.path.relpath(target, readme.parent)).as_posix()
        text = insert(readme.read_text(encoding="utf-8"), headline(kept, link), readme)
        readme.write_text(text, encoding="utf-8")
        print(readme)
