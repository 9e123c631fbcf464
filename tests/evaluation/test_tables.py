"""Tables from made-up results: their rows, numbers and notes, and which results share one."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from autodrag.errors import InputError
from autodrag.evaluation.report.claims import NOT_COMPARED, NOT_RUN, claims
from autodrag.evaluation.report.page import headline
from autodrag.evaluation.report.results import keep, of_task, read_results
from autodrag.evaluation.report.tables import ablations, samples, short_drags, table1, table2, table3


def test_table1_puts_rows_in_the_papers_order_with_intervals(write: Any, tmp_path: Path) -> None:
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
    assert (
        row["FD-synthface"] == "4.50"
        and row["identity"] == "–"
        and row["lost"] == "3 (2.50 / 5.00 / 7.50)"
        and row["s"] == "0.04"
    )
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


def test_results_with_fewer_settings_leave_their_columns_empty(write: Any, tmp_path: Path) -> None:
    folder = write(tmp_path, "landmarks", "autodrag")
    summary = json.loads((folder / "summary.json").read_text())
    del summary["settings"]["1"], summary["settings"]["68"]
    (folder / "summary.json").write_text(json.dumps(summary))
    write(tmp_path, "landmarks", "draggan")
    table = table1(read_results(tmp_path), "synthface")
    assert table is not None
    rows = {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}
    points = ("1 point", "5 points", "68 points")
    assert [rows["Ours"][column] for column in points] == ["–", "2.50 (2.25–2.75)", "–"]
    assert [rows["DragGAN"][column][:4] for column in points] == ["1.25", "2.50", "3.75"]
    assert [rows[name]["s"] for name in ("Ours", "DragGAN")] == ["–", "0.04"]  # ours was timed with 5 points
    assert "| Ours | 100 | – | 2.50 ± 0.25 | – | – |" in headline(read_results(tmp_path), "results.md")
    keep(read_results(tmp_path), tmp_path / "kept")
    made = {claim.text: claim for claim in claims(read_results(tmp_path / "kept"), "synthface")}
    for points in ("1 point", "68 points"):
        claim = made[f"Ours has an MD not above DragGAN's at {points}"]
        assert (claim.ours, claim.verdict, claim.compared) == ("–", NOT_RUN, "–")
    assert made["Ours has an MD not above DragGAN's at 5 points"].verdict.startswith("holds")
    assert made["Ours is 50 times faster than DragGAN"].verdict == NOT_RUN


def test_notes_are_about_all_methods(write: Any, tmp_path: Path) -> None:
    write(tmp_path, "landmarks", "autodrag", frechet={}, device="another")
    write(tmp_path, "landmarks", "draggan")
    table = table1(read_results(tmp_path), "synthface")
    assert table is not None and any(note.startswith("FD-synthface: a net; ") for note in table.notes)
    for text in (" ".join(table.notes), headline(read_results(tmp_path), "results.md")):
        assert "CPU, 2 threads; another" in text


def test_seconds_are_explained_where_a_table_has_some(write: Any, tmp_path: Path) -> None:
    write(tmp_path, "landmarks", "autodrag")
    write(tmp_path, "landmarks", "oracle", device="another", seconds=None)
    write(tmp_path, "landmarks", "plain-30000")
    write(tmp_path, "short", "autodrag", seconds=None)
    results = read_results(tmp_path)
    tables = [make(results, "synthface") for make in (table1, samples, short_drags)]
    said = [[note for note in table.notes if "econds" in note] for table in tables if table is not None]
    assert said == [["Seconds of one edit at a time, warmed up, on CPU, 2 threads."], [], []]


def test_the_papers_recipe_says_how_little_of_it_was_trained(write: Any, tmp_path: Path) -> None:
    write(tmp_path, "landmarks", "paper", samples_seen=30_000)
    write(tmp_path, "landmarks", "paper-toward", samples_seen=1_500_000)
    write(tmp_path, "landmarks", "autodrag", samples_seen=60_000)
    table = table1(read_results(tmp_path), "synthface")
    assert table is not None
    names = [row[0] for row in table.rows]
    assert {"The paper's recipe, 2% of its samples", "The paper's recipe, towards w*", "Ours"} <= set(names)
    write(tmp_path, "landmarks", "plain-30000")
    curve = samples(read_results(tmp_path), "synthface")
    assert curve is not None and curve.rows[1][0] == "The paper's recipe, 2% of its samples"


def test_short_drags_have_a_table_of_their_own(write: Any, tmp_path: Path) -> None:
    write(tmp_path, "landmarks", "draggan")
    for label in ("no-edit", "autodrag"):
        write(tmp_path, "short", label, manifest="another")
    table = short_drags(read_results(tmp_path), "synthface")
    assert table is not None and [row[0] for row in table.rows] == ["No edit", "The paper's recipe", "Ours"]
    assert "dragged 20% of the way" in table.notes[0]
    assert short_drags(read_results(tmp_path), "ffhq") is None


def test_models_of_short_budgets_have_a_table_of_their_own(write: Any, tmp_path: Path) -> None:
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


def test_the_papers_numbers_are_shown_next_to_ours(write: Any, tmp_path: Path) -> None:
    write(tmp_path, "landmarks", "draggan", "ffhq")
    table = table1(read_results(tmp_path), "ffhq")
    assert table is not None
    row = next(dict(zip(table.columns, row, strict=True)) for row in table.rows if row[0] == "DragGAN")
    assert [row[f"paper: {c}"] for c in ("1", "5", "68", "FID", "s")] == ["1.62", "3.23", "4.32", "8.30", "1.90"]
    write(tmp_path, "paired", "autodrag", "dog")
    table = table2(read_results(tmp_path), "dog")
    assert table is not None
    assert table.rows[-1][-2:] == ["0.31", "0.32"]


def test_table3_takes_the_rows_named_by_n_and_table2_the_others(write: Any, tmp_path: Path) -> None:
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


def test_ablations_are_shown_next_to_ours_with_the_same_budget(write: Any, tmp_path: Path) -> None:
    for label in ("autodrag-n5", "autodrag", "autodrag-without-regularizer"):
        write(tmp_path, "paired", label)
    table = table2(read_results(tmp_path), "synthface")
    assert table is not None
    run = [row[0] for row in table.rows if row[1] != "not run here"]
    assert run == ["Ours w/o Latent Regularizer", "Ours with the ablations' budget", "Ours"]
    assert "was trained shortly" in table.notes[-1]


def test_latex_escapes(write: Any, tmp_path: Path) -> None:
    write(tmp_path, "paired", "my_method")
    table = table2(read_results(tmp_path), "synthface")
    assert table is not None
    assert r"my\_method" in table.latex() and r"95 \%" in table.latex() and table.latex().count(r"\\") == 9


def test_results_that_cannot_be_compared_are_refused(write: Any, tmp_path: Path) -> None:
    write(tmp_path / "one", "paired", "draggan")
    write(tmp_path / "one", "paired", "autodrag", manifest="other")
    with pytest.raises(InputError, match="were measured on different items"):
        of_task(read_results(tmp_path / "one"), "paired", "synthface")
    write(tmp_path / "two" / "a", "paired", "draggan")
    write(tmp_path / "two" / "b", "paired", "draggan")
    with pytest.raises(InputError, match="both hold draggan"):
        of_task(read_results(tmp_path / "two"), "paired", "synthface")


def test_evaluations_with_other_step_limits_share_a_table(write: Any, tmp_path: Path) -> None:
    write(tmp_path, "landmarks", "autodrag", manifest="of 100", max_steps=100)
    rate = {"method": {"name": "draggan", "label": "draggan", "options": {"lr": 0.02}}}
    write(tmp_path, "landmarks", "draggan", manifest="of 300", max_steps=300, **rate)
    table = table1(read_results(tmp_path), "synthface")
    told = "Optimisers made at most 300 steps, learning rates: DragGAN 0.02."
    assert table is not None and any(told in note for note in table.notes)
    write(tmp_path, "landmarks", "freedrag", manifest="of 200", max_steps=200, seed=1)
    with pytest.raises(InputError, match="were measured on different items"):
        of_task(read_results(tmp_path), "landmarks", "synthface")


def test_results_that_do_not_fit_the_stored_ones_replace_nothing(write: Any, tmp_path: Path) -> None:
    for label in ("autodrag", "draggan"):
        write(tmp_path / "results", "landmarks", label)
    keep(read_results(tmp_path / "results"), tmp_path / "kept")
    before = {path: path.read_text() for path in (tmp_path / "kept").rglob("summary.json")}
    write(tmp_path / "more", "landmarks", "autodrag", manifest="other")
    with pytest.raises(InputError, match="were measured on different items"):
        keep(read_results(tmp_path / "more"), tmp_path / "kept")
    assert {path: path.read_text() for path in (tmp_path / "kept").rglob("summary.json")} == before


def test_comparisons_with_replaced_results_are_dropped(write: Any, tmp_path: Path) -> None:
    for label in ("autodrag", "draggan", "freedrag"):
        write(tmp_path / "results", "landmarks", label)
    keep(read_results(tmp_path / "results"), tmp_path / "kept")
    shutil.rmtree(tmp_path / "results")
    write(tmp_path / "results", "landmarks", "draggan")
    keep(read_results(tmp_path / "results"), tmp_path / "kept")
    kept = of_task(read_results(tmp_path / "kept"), "landmarks", "synthface")
    assert kept["autodrag"].minus("draggan", "5") is None and kept["draggan"].minus("autodrag", "5") is None
    assert kept["autodrag"].minus("freedrag", "5") == kept["freedrag"].minus("autodrag", "5")
    distances = [claim for claim in claims(list(kept.values()), "synthface") if "MD not above DragGAN's" in claim.text]
    assert {claim.verdict for claim in distances} == {NOT_COMPARED}
    assert "4 were not run, 3 compare results of different runs" in headline(list(kept.values()), "results.md")


@pytest.mark.parametrize("relative", [True, False])
def test_stored_summaries_do_not_say_where_weights_lay(write: Any, tmp_path: Path, relative: bool) -> None:
    weights = "runs/mine/weights.safetensors" if relative else str(tmp_path / "weights.safetensors")
    method = {"name": "autodrag", "label": "mine", "options": {"weights": weights}}
    write(tmp_path / "results", "landmarks", "mine", method=method)
    keep(read_results(tmp_path / "results"), tmp_path / "kept")
    (kept,) = read_results(tmp_path / "kept")
    assert kept.summary["method"]["options"]["weights"] == (weights if relative else "weights.safetensors")


def test_the_transformer_alone_has_a_row_for_each_number_of_samples(write: Any, tmp_path: Path) -> None:
    for label in ("plain-120000", "plain-30000", "autodrag", "draggan"):
        write(tmp_path, "landmarks", label)
    results = read_results(tmp_path)
    table, first = samples(results, "synthface"), table1(results, "synthface")
    assert table is not None and first is not None
    assert [row[0] for row in table.rows] == ["30,000", "120,000", "Ours"]
    assert list(table.rows[0][1:3]) == ["100", "1.25 (1.12–1.38)"] and table.rows[0][-1] == "0.12 / 0.25 / 0.38"
    assert not any("plain" in row[0] for row in first.rows)
    assert samples(results, "ffhq") is None
