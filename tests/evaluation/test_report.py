"""The report: its page, figures and README from made-up results, and that what is committed is up to date."""

from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from autodrag.config import compose, typed
from autodrag.errors import InputError
from autodrag.evaluation.report import ReportConfig, make_report
from autodrag.evaluation.report.figures import fig1, fig9
from autodrag.evaluation.report.ours import describe
from autodrag.evaluation.report.page import BEGIN, END, headline, insert, page
from autodrag.evaluation.report.results import read_results
from autodrag.training.build import TrainConfig


def test_labels_of_fig1_stay_inside_the_frame_and_apart(write: Any, estimate: Any, tmp_path: Path) -> None:
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


def test_fig1_shows_methods_that_were_timed_in_its_setting(write: Any, tmp_path: Path) -> None:
    for label in ("autodrag", "draggan", "freedrag"):
        write(tmp_path, "landmarks", label)
    results = read_results(tmp_path)
    for result in results[:2]:
        result.summary["frechet"] = {}  # measured on another machine
    del results[0].summary["settings"]["1"]
    figure = fig1(results, "synthface")
    assert figure is not None
    shown = {axis.get_ylabel(): sorted(text.get_text() for text in axis.texts) for axis in figure.axes}
    assert shown == {"MD, 1 point (px)": ["DragGAN", "FreeDrag"], "FD-synthface": ["FreeDrag"]}


def test_figures_name_the_edits_that_were_made_and_all_devices(write: Any, tmp_path: Path) -> None:
    write(tmp_path, "mdd", "draggan")  # two edits of the task's 100
    one = {"seconds": [0.001, 0.1], "mdd": [[1, 0.5]]}
    write(tmp_path, "mdd", "autodrag", curves=one, device="another")
    figure = fig9(read_results(tmp_path), "synthface")
    assert figure is not None
    title = "Mean distance decay, synthface, 1 or 2 edits, CPU, 2 threads; another"
    assert figure.axes[0].get_title() == title


def test_ours_is_described_by_its_recipe() -> None:
    text = describe(typed(TrainConfig, compose("train", ["stage2.motion=m", "stage2.landmarks=0.25", "stage2.beta=2"])))
    loss = "the landing loss (the distance of the handles from their targets)"
    assert f"regularizer with {loss}, which is not the paper's." in text
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
    write: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
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


def test_fig6_is_of_the_generator_file_that_is_given(write: Any, file: Path, tmp_path: Path) -> None:
    write(tmp_path / "results", "landmarks", "draggan", dataset=file.stem)
    make_report(config(tmp_path, "parts=[fig6]", f"dataset={file}"))
    assert "(results-out/fig6-tiny.jpg)" in (tmp_path / "results.md").read_text()


def test_the_page_shows_tables_and_pictures(write: Any, tmp_path: Path) -> None:
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
    [
        ([], "There are no results under"),
        (["parts=[table9]"], "no part 'table9'"),
        (["readme=none.md"], "There is no readme=none.md"),
        (["page=/dev/null/results.md"], "choose another page="),
    ],
)
def test_nothing_to_report_gives_a_clear_error(tmp_path: Path, overrides: list[str], says: str) -> None:
    with pytest.raises(InputError, match=says):
        make_report(config(tmp_path, *overrides))


def test_damaged_and_missing_results_give_a_clear_error(write: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"There are no results under .*kept"):
        make_report(config(tmp_path, "results=null"))
    for label in ("draggan", "freedrag"):
        folder = write(tmp_path / "results", "paired", label)
    (folder / "per_item.jsonl").unlink()
    with pytest.raises(InputError, match=r"per_item.jsonl is missing: results= takes folders of evaluations"):
        make_report(config(tmp_path))
    (folder / "summary.json").write_text("{")
    with pytest.raises(InputError, match=r"summary.json is damaged; delete it"):
        make_report(config(tmp_path))
