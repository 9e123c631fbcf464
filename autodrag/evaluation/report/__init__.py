"""`scripts/tables.py`: tables, figures and sheets from the results of evaluations."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from autodrag.config import DatasetConfig
from autodrag.errors import InputError
from autodrag.evaluation.report.figures import FIGURES, save_figure
from autodrag.evaluation.report.page import headline, insert, page
from autodrag.evaluation.report.results import Result, keep, read_results
from autodrag.evaluation.report.sheets import SHEETS, Sheet
from autodrag.evaluation.report.tables import TABLES
from autodrag.files import make_folder
from autodrag.visualize import save_image

PARTS = (*TABLES, *FIGURES, *SHEETS)


@dataclass(frozen=True)
class ReportConfig:
    """`configs/tables.yaml`."""

    results: str | None  # folder with evaluations, whose summaries replace the stored ones; None: none
    data: str  # folder of the stored summaries
    dataset: DatasetConfig
    parts: tuple[str, ...]  # of PARTS
    out: str  # folder of the LaTeX tables, figures and sheets
    page: str  # Markdown file with all results
    readme: str | None  # Markdown file that gets a short table; None: none


def make_report(config: ReportConfig) -> None:
    """Store the summaries of new results, then write the parts that have results. Raises InputError.

    Tables, figures, the page and the README's block are made from the stored summaries; sheets from the folders of the
    evaluations, or from the shipped generator and weights where they show no evaluation.
    """
    for part in config.parts:
        if part not in PARTS:
            raise InputError(f"There is no part {part!r}; choose from {', '.join(PARTS)}.")
    data, out, name = Path(config.data), Path(config.out), config.dataset.name
    if config.readme is not None and not Path(config.readme).is_file():
        raise InputError(f"There is no readme={config.readme}; give another file, or readme=null.")
    make_folder(out)
    make_folder(Path(config.page).parent, "page")
    fresh = [] if config.results is None else read_results(Path(config.results))
    keep(fresh, data)
    kept = read_results(data)
    for part in config.parts:
        if part in SHEETS:
            paths = _write_sheet(SHEETS[part], fresh, config.dataset, out / f"{part}-{name}.jpg")
        else:
            paths = _write(part, kept, name, out / f"{part}-{name}")
        for path in paths:
            print(path)
        if not paths and (fresh or part not in SHEETS):
            print(f"{part}: there are no results on {name}", file=sys.stderr)
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


def _write_sheet(make: Sheet, results: list[Result], dataset: DatasetConfig, target: Path) -> list[Path]:
    """A sheet; where weights are missing, a line on stderr instead."""
    try:
        picture = make(results, dataset)
    except InputError as error:
        print(f"{target.name} is skipped. {error}", file=sys.stderr)
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
