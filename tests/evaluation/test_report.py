"""Tables and figures from made-up results, and from those of a real small evaluation."""

import json
from pathlib import Path
from typing import Any

import pytest

from autodrag.config import compose, load_dataset, typed
from autodrag.errors import InputError
from autodrag.evaluation.report import ReportConfig, insert, make_report
from autodrag.evaluation.report.results import of_task, read_results
from autodrag.evaluation.report.tables import table1, table2, table3


def estimate(mean: float | None, n: int = 100) -> dict[str, Any]:
    ends = (None, None) if mean is None else (mean * 0.9, mean * 1.1)
    return {"n": n, "mean": mean, "low": ends[0], "high": ends[1]}


def write(root: Path, task: str, label: str, dataset: str = "synthface", manifest: str = "m", **more: Any) -> Path:
    settings: dict[str, Any]
    if task == "landmarks":
        settings = {
            s: {"items": 100, "failed": 1, "md": estimate(md), "md_before": estimate(10.0), "md_left": md / 10}
            | {"outside": estimate(0.02), "identity": estimate(None)}
            for s, md in (("1", 1.25), ("5", 2.5), ("68", 3.75))
        }
    elif task == "paired":
        settings = {"32": {"items": 100, "mse": estimate(0.5), "lpips": estimate(None), "outside": estimate(0.1)}}
    else:
        settings = {"1": {"items": 2, "mdd": estimate(0.2)}}
    summary = {
        "task": {"name": task, "count": 100, "preset": "dlib5-nose"},
        "dataset": dataset,
        "resolution": [256, 256],
        "method": {"name": label, "label": label, "options": {}},
        "seed": 0,
        "manifest": manifest,
        "tools": {"flow": "dis"},
        "columns": {},
        "settings": settings,
        "frechet": {"FD-synthface": {"n": 100, "network": "a net", "value": 4.5, "floor": 0.5}},
        "missing": {"FID": "FID needs a file."},
        "device": "CPU, 2 threads",
        "commit": "0123456789abcdef",
        "seconds": None if label == "oracle" else {k: estimate(0.04) for k in ("method", "rendered")},
    }
    folder = root / dataset / task / label
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text(json.dumps(summary | more))
    traces = [{"index": i, "trace": [[0.0, 1.0], [0.1, 0.5 + i / 10], [0.2, 0.25]]} for i in range(2)]
    (folder / "per_item.jsonl").write_text("".join(json.dumps(t) + "\n" for t in traces))
    return folder


def test_table1_puts_rows_in_the_papers_order_with_intervals(tmp_path: Path) -> None:
    for label in ("oracle", "autodrag", "no-edit", "draggan"):
        write(tmp_path, "landmarks", label)
    table = table1(read_results(tmp_path), "synthface")
    assert table is not None
    assert [row[0] for row in table.rows] == ["No edit", "DragGAN", "Ours", "oracle"]
    row = dict(zip(table.columns, table.rows[2], strict=True))
    assert row["1 point"] == "1.25 (1.12–1.38)" and row["of no edit"] == "0.12 / 0.25 / 0.38"
    assert row["FD-synthface"] == "4.50" and row["identity"] == "–" and row["lost"] == "3" and row["s"] == "0.04"
    assert dict(zip(table.columns, table.rows[3], strict=True))["s"] == "–"
    notes = " ".join(table.notes)
    for fact in ("256 px", "100 pairs", "dlib5-nose", "N = 100", "CPU, 2 threads", "0123456789ab", "No FID: FID needs"):
        assert fact in notes
    assert not any(column.startswith("paper") for column in table.columns)


def test_the_papers_numbers_stand_beside_ours_on_its_datasets(tmp_path: Path) -> None:
    write(tmp_path, "landmarks", "draggan", "ffhq")
    table = table1(read_results(tmp_path), "ffhq")
    assert table is not None
    row = dict(zip(table.columns, table.rows[0], strict=True))
    assert [row[f"paper: {c}"] for c in ("1", "5", "68", "FID", "s")] == ["1.62", "3.23", "4.32", "8.30", "1.90"]
    write(tmp_path, "paired", "autodrag", "dog")
    table = table2(read_results(tmp_path), "dog")
    assert table is not None
    assert table.rows[0][-2:] == ["0.31", "0.32"]


def test_table3_takes_the_rows_named_by_n_and_table2_the_others(tmp_path: Path) -> None:
    for label in ("autodrag-n10", "autodrag-n2", "autodrag", "draggan"):
        write(tmp_path, "paired", label, "dog")
    results = read_results(tmp_path)
    three, two = table3(results, "dog"), table2(results, "dog")
    assert three is not None and two is not None
    assert list(three.columns) == ["n", "2", "10"]
    assert list(three.rows[1]) == ["paper", "1.18", "0.38"]
    assert [row[0] for row in two.rows] == ["DragGAN", "Ours"]


def test_latex_escapes(tmp_path: Path) -> None:
    write(tmp_path, "paired", "my_method")
    table = table2(read_results(tmp_path), "synthface")
    assert table is not None
    assert r"my\_method" in table.latex() and r"95 \%" in table.latex() and table.latex().count(r"\\") == 2


def test_what_cannot_be_compared_is_not(tmp_path: Path) -> None:
    write(tmp_path / "one", "paired", "draggan")
    write(tmp_path / "one", "paired", "autodrag", manifest="other")
    with pytest.raises(InputError, match="were measured on different items"):
        of_task(read_results(tmp_path / "one"), "paired", "synthface")
    write(tmp_path / "two" / "a", "paired", "draggan")
    write(tmp_path / "two" / "b", "paired", "draggan")
    with pytest.raises(InputError, match="both hold draggan"):
        of_task(read_results(tmp_path / "two"), "paired", "synthface")


def config(results: Path, out: Path, *overrides: str) -> ReportConfig:
    return typed(ReportConfig, compose("tables", [f"results={results}", f"out={out}", *overrides]))


def test_a_report_writes_what_there_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results, out, readme = tmp_path / "results", tmp_path / "out", tmp_path / "README.md"
    for label in ("draggan", "autodrag"):
        write(results, "landmarks", label)
        write(results, "mdd", label)
    readme.write_text("before\n<!-- table1 -->\nold\n<!-- /table1 -->\nafter\n")
    make_report(config(results, out, "parts=[table1,table2,fig1,fig9]", f"readme={readme}"))
    names = {path.name for path in out.iterdir()}
    assert names == {f"{p}-synthface.{s}" for p, s in (("table1", "md"), ("table1", "tex"))} | {
        f"{p}-synthface.{s}" for p in ("fig1", "fig9") for s in ("png", "svg")
    }
    said = capsys.readouterr()
    assert "table2: nothing of it has been run" in said.err and "table1-synthface.md" in said.out
    text = readme.read_text()
    assert text.startswith("before\n<!-- table1 -->\n**Table 1") and text.endswith("<!-- /table1 -->\nafter\n")
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.suffix != ".png"}
    make_report(config(results, out, "parts=[table1,fig1,fig9]", f"readme={readme}"))
    assert before == {path.name: path.read_bytes() for path in out.iterdir() if path.suffix != ".png"}
    assert readme.read_text() == text


def test_a_file_without_marks_stays(tmp_path: Path) -> None:
    path = tmp_path / "x.md"
    path.write_text("text")
    insert(path, "table1", "table")
    assert path.read_text() == "text"


@pytest.mark.parametrize(
    ("overrides", "says"),
    [([], "There are no results under"), (["parts=[table9]"], "no part 'table9'")],
)
def test_nothing_to_report_is_one_sentence(tmp_path: Path, overrides: list[str], says: str) -> None:
    with pytest.raises(InputError, match=says):
        make_report(config(tmp_path, tmp_path / "out", *overrides))


def test_results_of_another_dataset_are_none(tmp_path: Path) -> None:
    write(tmp_path, "paired", "draggan", "dog")
    assert load_dataset("synthface").name == "synthface"
    with pytest.raises(InputError, match="no results of synthface"):
        make_report(config(tmp_path, tmp_path / "out"))
