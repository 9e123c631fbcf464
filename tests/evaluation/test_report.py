"""Tables and figures from made-up results, and from those of a real small evaluation."""

import json
import shutil
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from autodrag.config import compose, typed
from autodrag.errors import InputError
from autodrag.evaluation.report import ReportConfig, make_report
from autodrag.evaluation.report.figures import fig1
from autodrag.evaluation.report.ours import describe
from autodrag.evaluation.report.page import BEGIN, END, headline, insert, page
from autodrag.evaluation.report.results import keep, of_task, read_results
from autodrag.evaluation.report.tables import ablations, samples, short_drags, table1, table2, table3
from autodrag.training.build import TrainConfig


def estimate(mean: float | None, n: int = 100) -> dict[str, Any]:
    ends = (None, None) if mean is None else (mean * 0.9, mean * 1.1)
    return {"n": n, "mean": mean, "low": ends[0], "high": ends[1]}


def write(
    root: Path,
    task: str,
    label: str,
    dataset: str = "synthface",
    manifest: str = "m",
    max_steps: int = 300,
    **more: Any,
) -> Path:
    settings: dict[str, Any]
    if task in ("landmarks", "short"):
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
        "task": {"name": task, "count": 100, "preset": "dlib5-nose", "way": 0.2 if task == "short" else 1}
        | {"max_steps": max_steps, "psi": 0.3, "lam": 0.1},
        "dataset": dataset,
        "resolution": [256, 256],
        "method": {"name": label, "label": label, "options": {}},
        "seed": 0,
        "manifest": manifest,
        "tools": {"flow": "dis"},
        "columns": {},
        "settings": settings,
        "frechet": {"FD-synthface": {"n": 100, "network": "a net", "value": 4.5, "floor": 0.5}},
        "curves": {"seconds": [0.001, 0.1, 0.2], "mdd": [[1, 0.5, 0.25], [1, 0.6, 0.3]]} if task == "mdd" else None,
        "missing": {"FID": "FID needs a file in /home/me."},
        "device": "CPU, 2 threads",
        "commit": "0123456789abcdef",
        "seconds": None if label == "oracle" else {k: estimate(0.04) for k in ("method", "rendered")},
    }
    folder = root / dataset / task / label
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text(json.dumps(summary | more))
    column = {"landmarks": "md", "short": "md", "paired": "mse", "mdd": "mdd"}[task]
    rows = [
        {"index": i, "setting": setting, column: values[column]["mean"] + i / 100}
        for setting, values in settings.items()
        for i in range(3)
    ]
    (folder / "per_item.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_table1_puts_rows_in_the_papers_order_with_intervals(tmp_path: Path) -> None:
    for label in ("oracle", "autodrag", "no-edit", "draggan"):
        write(tmp_path, "landmarks", label)
    table = table1(read_results(tmp_path), "synthface")
    assert table is not None
    names = ["No edit", "UserControllableLT", "FreeDrag", "DragGAN", "The paper's recipe"]
    names += ["Ours w/o Latent Regularizer", "Ours w/o Latent Predictor", "Ours", "Oracle"]
    assert [row[0] for row in table.rows] == names
    run = [row[0] for row in table.rows if row[1] != "not run here"]
    assert run == ["No edit", "DragGAN", "Ours", "Oracle"]
    row = dict(zip(table.columns, table.rows[7], strict=True))
    assert row["N"] == "100" and row["1 point"] == "1.25 (1.12–1.38)" and row["of no edit"] == "0.12 / 0.25 / 0.38"
    assert row["FD-synthface"] == "4.50" and row["identity"] == "–" and row["lost"] == "3" and row["s"] == "0.04"
    assert dict(zip(table.columns, table.rows[8], strict=True))["s"] == "–"
    notes = " ".join(table.notes)
    for fact in (
        "256 px",
        "first N pairs",
        "dlib5-nose",
        "decreases with N",
        "CPU, 2 threads",
        "0123456789ab",
        "300 steps",
        "run: FID.",
    ):
        assert fact in notes
    assert not any(column.startswith("paper") for column in table.columns)


def test_short_drags_have_a_table_of_their_own(tmp_path: Path) -> None:
    write(tmp_path, "landmarks", "draggan")
    for label in ("no-edit", "autodrag"):
        write(tmp_path, "short", label, manifest="another")
    table = short_drags(read_results(tmp_path), "synthface")
    assert table is not None and [row[0] for row in table.rows] == ["No edit", "The paper's recipe", "Ours"]
    assert "dragged 20% of the way" in table.notes[0]
    assert short_drags(read_results(tmp_path), "ffhq") is None


def test_models_of_short_budgets_have_a_table_of_their_own(tmp_path: Path) -> None:
    for label in ("autodrag", "autodrag-n5", "autodrag-without-regularizer"):
        write(tmp_path, "landmarks", label)
    assert ablations(read_results(tmp_path), "synthface") is None
    write(tmp_path, "landmarks", "ablation-backward motions")
    table = ablations(read_results(tmp_path), "synthface")
    assert table is not None
    rows = [row[0] for row in table.rows]
    assert rows == ["Ours with the ablations' budget", "backward motions", "Ours w/o Latent Regularizer"]
    assert table.rows[1][1:3] == ["100", "1.25 (1.12–1.38)"]
    whole = table1(read_results(tmp_path), "synthface")
    assert whole is not None and not any("backward" in row[0] for row in whole.rows)


def test_the_papers_numbers_are_shown_next_to_ours(tmp_path: Path) -> None:
    write(tmp_path, "landmarks", "draggan", "ffhq")
    table = table1(read_results(tmp_path), "ffhq")
    assert table is not None
    row = next(dict(zip(table.columns, row, strict=True)) for row in table.rows if row[0] == "DragGAN")
    assert [row[f"paper: {c}"] for c in ("1", "5", "68", "FID", "s")] == ["1.62", "3.23", "4.32", "8.30", "1.90"]
    write(tmp_path, "paired", "autodrag", "dog")
    table = table2(read_results(tmp_path), "dog")
    assert table is not None
    assert table.rows[-1][-2:] == ["0.31", "0.32"]


def test_table3_takes_the_rows_named_by_n_and_table2_the_others(tmp_path: Path) -> None:
    for label in ("autodrag-n10", "autodrag-n2", "autodrag", "draggan"):
        write(tmp_path, "paired", label, "dog")
    results = read_results(tmp_path)
    three, two = table3(results, "dog"), table2(results, "dog")
    assert three is not None and two is not None
    assert list(three.columns) == ["n", "1", "2", "3", "4", "5", "7", "9", "10"]
    assert [cell == "not run here" for cell in three.rows[0][1:]] == [True, False, *[True] * 5, False]
    assert list(three.rows[1]) == ["paper", "1.97", "1.18", "0.68", "0.54", "0.37", "0.39", "0.39", "0.38"]
    assert [row[0] for row in two.rows if row[1] != "not run here"] == ["DragGAN", "Ours"]
    assert [row[-2] for row in two.rows] == ["1.23", "0.38", "0.39", "–", "0.94", "1.97", "0.31"]
    assert "psi 0.3; rows 0-5 move 10%" in two.notes[0] and not any("shortly" in note for note in two.notes)


def test_ablations_are_shown_next_to_ours_with_the_same_budget(tmp_path: Path) -> None:
    for label in ("autodrag-n5", "autodrag", "autodrag-without-regularizer"):
        write(tmp_path, "paired", label)
    table = table2(read_results(tmp_path), "synthface")
    assert table is not None
    run = [row[0] for row in table.rows if row[1] != "not run here"]
    assert run == ["Ours w/o Latent Regularizer", "Ours with the ablations' budget", "Ours"]
    assert "was trained shortly" in table.notes[-1]


def test_latex_escapes(tmp_path: Path) -> None:
    write(tmp_path, "paired", "my_method")
    table = table2(read_results(tmp_path), "synthface")
    assert table is not None
    assert r"my\_method" in table.latex() and r"95 \%" in table.latex() and table.latex().count(r"\\") == 9


def test_results_that_cannot_be_compared_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "one", "paired", "draggan")
    write(tmp_path / "one", "paired", "autodrag", manifest="other")
    with pytest.raises(InputError, match="were measured on different items"):
        of_task(read_results(tmp_path / "one"), "paired", "synthface")
    write(tmp_path / "two" / "a", "paired", "draggan")
    write(tmp_path / "two" / "b", "paired", "draggan")
    with pytest.raises(InputError, match="both hold draggan"):
        of_task(read_results(tmp_path / "two"), "paired", "synthface")


def test_evaluations_with_other_step_limits_share_a_table(tmp_path: Path) -> None:
    write(tmp_path, "landmarks", "autodrag", manifest="of 100", max_steps=100)
    write(tmp_path, "landmarks", "draggan", manifest="of 300", max_steps=300)
    table = table1(read_results(tmp_path), "synthface")
    assert table is not None and any("Optimisers made at most 300 steps." in note for note in table.notes)
    write(tmp_path, "landmarks", "freedrag", manifest="of 200", max_steps=200, seed=1)
    with pytest.raises(InputError, match="were measured on different items"):
        of_task(read_results(tmp_path), "landmarks", "synthface")


def test_comparisons_with_replaced_results_are_dropped(tmp_path: Path) -> None:
    for label in ("autodrag", "draggan", "freedrag"):
        write(tmp_path / "results", "landmarks", label)
    keep(read_results(tmp_path / "results"), tmp_path / "kept")
    shutil.rmtree(tmp_path / "results")
    write(tmp_path / "results", "landmarks", "draggan")
    keep(read_results(tmp_path / "results"), tmp_path / "kept")
    kept = of_task(read_results(tmp_path / "kept"), "landmarks", "synthface")
    assert kept["autodrag"].minus("draggan", "5") is None and kept["draggan"].minus("autodrag", "5") is None
    assert kept["autodrag"].minus("freedrag", "5") == kept["freedrag"].minus("autodrag", "5")


def test_the_transformer_alone_has_a_row_for_each_number_of_samples(tmp_path: Path) -> None:
    for label in ("plain-120000", "plain-30000", "autodrag", "draggan"):
        write(tmp_path, "landmarks", label)
    results = read_results(tmp_path)
    table, first = samples(results, "synthface"), table1(results, "synthface")
    assert table is not None and first is not None
    assert [row[0] for row in table.rows] == ["30,000", "120,000", "Ours"]
    assert list(table.rows[0][1:3]) == ["100", "1.25 (1.12–1.38)"] and table.rows[0][-1] == "0.12 / 0.25 / 0.38"
    assert not any("plain" in row[0] for row in first.rows)
    assert samples(results, "ffhq") is None


def test_labels_of_fig1_stay_inside_the_frame_and_apart(tmp_path: Path) -> None:
    times = {"autodrag": 0.05, "autodrag-rounds": 1.0, "latent-transformer": 0.04, "draggan": 9.0}
    for label, time in times.items():
        write(tmp_path, "landmarks", label, seconds={"method": estimate(time), "rendered": estimate(time)})
    figure = fig1(read_results(tmp_path), "synthface")
    assert figure is not None
    canvas = figure.canvas
    canvas.draw()
    for axis in figure.axes:
        frame = axis.get_window_extent()
        boxes = [text.get_window_extent(canvas.get_renderer()) for text in axis.texts]
        assert len(boxes) == len(times)
        for box in boxes:
            assert frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
        assert not any(box.overlaps(other) for box, other in combinations(boxes, 2))


def test_ours_is_described_by_its_recipe() -> None:
    text = describe(typed(TrainConfig, compose("train", ["stage2.motion=m", "stage2.landmarks=0.25", "stage2.beta=2"])))
    assert "regularizer with the landing loss (on where handles come to), which is not the paper's." in text
    assert "L_drag has weight 2" in text and "25% of its training batches are landmarks" in text
    text = describe(typed(TrainConfig, compose("train", ["model=small", "aim.landmarks=0.8"])))
    assert "with the aim (a first guess of where a drag ends), which" in text and "(80% of the aim's)" in text
    assert "by another recipe" in describe(typed(TrainConfig, compose("train")))


def config(root: Path, *overrides: str) -> ReportConfig:
    """Everything under `root`; no README."""
    places = {"results": "results", "data": "kept", "out": "results-out", "page": "results.md"}
    given = [f"{key}={root / place}" for key, place in places.items()]
    return typed(ReportConfig, compose("tables", [*given, "readme=null", *overrides]))


def test_a_report_from_stored_summaries_equals_the_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def untrained(dataset: str) -> Path:
        raise InputError(f"There are no weights for {dataset}.")

    monkeypatch.setattr("autodrag.evaluation.report.sheets.weights_path", untrained)
    readme = tmp_path / "README.md"
    for label in ("draggan", "autodrag"):
        write(tmp_path / "results", "landmarks", label)
        write(tmp_path / "results", "mdd", label)
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    given = ["parts=[table1,table2,fig1,fig5,fig9]", f"readme={readme}"]
    make_report(config(tmp_path, *given))
    out = tmp_path / "results-out"
    assert {path.name for path in out.iterdir()} == {"table1-synthface.tex"} | {
        f"{p}-synthface.{s}" for p in ("fig1", "fig9") for s in ("png", "svg")
    }
    said = capsys.readouterr()
    assert "table2: there are no results on synthface" in said.err and "table1-synthface.tex" in said.out
    assert "fig5-synthface.jpg is skipped. There are no weights for synthface." in said.err
    text = readme.read_text()
    assert text.startswith(f"before\n{BEGIN}\nLandmarks of a face of `synthface`") and text.endswith(f"{END}\nafter\n")
    assert "| Ours | 100 | 1.25 ± 0.12 | 2.50 ± 0.25 | 3.75 ± 0.38 | 0.04 |" in text
    assert "[results.md](results.md)" in text

    def everything() -> dict[str, bytes]:
        files = [tmp_path / "results.md", readme, *out.iterdir(), *(tmp_path / "kept").rglob("*.json")]
        return {str(path): path.read_bytes() for path in files if path.suffix != ".png"}

    before = everything()
    assert not any(b"/home/me" in content for content in before.values())
    make_report(config(tmp_path, *given, "results=null"))
    assert before == everything()


def test_the_page_shows_tables_and_pictures(tmp_path: Path) -> None:
    for label in ("draggan", "autodrag"):
        write(tmp_path / "results", "landmarks", label)
    make_report(config(tmp_path, "parts=[fig1]"))
    text = (tmp_path / "results.md").read_text()
    assert "## synthface" in text and "### Table 1: face-landmark manipulation on synthface" in text
    assert "(results-out/fig1-synthface.png)" in text and "fig9" not in text


def test_a_readme_without_markers_is_refused(tmp_path: Path) -> None:
    assert insert(f"a\n{BEGIN}\nold\n{END}\nb", "new\n", tmp_path) == f"a\n{BEGIN}\nnew\n{END}\nb"
    for text in ("a", f"a{BEGIN}b", f"{END}{BEGIN}"):
        with pytest.raises(InputError, match=r"has no .*results:begin.*; put them where"):
            insert(text, "new", tmp_path)


def test_committed_results_equal_the_stored_summaries(repository: Path) -> None:
    folder, data = Path("docs/results"), Path("docs/results/data")
    kept = read_results(repository / data) if (repository / data).is_dir() else []
    assert (repository / "docs/results.md").read_text() == page(kept, repository / folder, data)


def test_the_readme_equals_the_stored_summaries(repository: Path) -> None:
    text = (repository / "README.md").read_text()
    if BEGIN not in text:
        pytest.skip("README.md has no place for results")
    data = repository / "docs/results/data"
    kept = read_results(data) if data.is_dir() else []
    assert insert(text, headline(kept, "docs/results.md"), repository / "README.md") == text


@pytest.mark.parametrize(
    ("overrides", "says"),
    [([], "There are no results under"), (["parts=[table9]"], "no part 'table9'")],
)
def test_nothing_to_report_gives_a_clear_error(tmp_path: Path, overrides: list[str], says: str) -> None:
    with pytest.raises(InputError, match=says):
        make_report(config(tmp_path, *overrides))


def test_damaged_and_missing_results_give_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"There are no results under .*kept"):
        make_report(config(tmp_path, "results=null"))
    folder = write(tmp_path / "results", "paired", "draggan")
    (folder / "summary.json").write_text("{")
    with pytest.raises(InputError, match=r"summary.json is damaged; delete it"):
        make_report(config(tmp_path))
