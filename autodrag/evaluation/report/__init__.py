"""`scripts/tables.py`: tables, figures and sheets, made from the files of evaluations and never by hand."""

import sys
from dataclasses import dataclass
from pathlib import Path

from autodrag.config import DatasetConfig
from autodrag.errors import InputError
from autodrag.evaluation.report.figures import FIGURES, save_figure
from autodrag.evaluation.report.results import Result, read_results
from autodrag.evaluation.report.sheets import SHEETS
from autodrag.evaluation.report.tables import TABLES
from autodrag.visualize import save_image

PARTS = (*TABLES, *FIGURES, *SHEETS)


@dataclass(frozen=True)
class ReportConfig:
    """`configs/tables.yaml`. readme: file whose marked places receive the tables; None: none does."""

    results: str
    dataset: DatasetConfig
    parts: tuple[str, ...]
    out: str
    readme: str | None


def make_report(config: ReportConfig) -> None:
    """Write the parts that there are results for; say which there are none for. Raises InputError."""
    for part in config.parts:
        if part not in PARTS:
            raise InputError(f"There is no part {part!r}: choose parts of {', '.join(PARTS)}.")
    results = [r for r in read_results(Path(config.results)) if r.summary["dataset"] == config.dataset.name]
    if not results:
        raise InputError(f"There are no results of {config.dataset.name} under {config.results}: run scripts/eval.py.")
    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    for part in config.parts:
        paths = _write(part, results, config, out)
        for path in paths:
            print(path)
        if not paths:
            print(f"{part}: nothing of it has been run", file=sys.stderr)


def _write(part: str, results: list[Result], config: ReportConfig, out: Path) -> list[Path]:
    name = config.dataset.name
    target = out / f"{part}-{name}"
    if part in TABLES:
        table = TABLES[part](results, name)
        if table is None:
            return []
        target.with_suffix(".md").write_text(table.markdown())
        target.with_suffix(".tex").write_text(table.latex())
        if config.readme is not None:
            insert(Path(config.readme), part, table.markdown())
        return [target.with_suffix(suffix) for suffix in (".md", ".tex")]
    if part in FIGURES:
        figure = FIGURES[part](results, name)
        return [] if figure is None else save_figure(figure, target)
    picture = SHEETS[part](results, name)
    if picture is None:
        return []
    save_image(picture, target.with_suffix(".png"))
    return [target.with_suffix(".png")]


def insert(path: Path, part: str, text: str) -> None:
    """Replace what lies between `<!-- PART -->` and `<!-- /PART -->`; a file without these marks stays as it is."""
    content = path.read_text()
    begin, end = f"<!-- {part} -->", f"<!-- /{part} -->"
    before, found, rest = content.partition(begin)
    _, closed, after = rest.partition(end)
    if found and closed:
        path.write_text(f"{before}{begin}\n{text}{end}{after}")
