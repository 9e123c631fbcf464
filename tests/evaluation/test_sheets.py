"""Sheets of pictures from a small evaluation and a model of random weights."""

from pathlib import Path
from typing import Any

import pytest
import torch

from autodrag.config import compose, load_dataset, typed
from autodrag.evaluation import run as module
from autodrag.evaluation.metric_networks import MetricNetworks
from autodrag.evaluation.report.results import read_results
from autodrag.evaluation.report.sheets import SIDE, TITLE, _titled, _wrapped, drags, fig6, fig8, fig10
from autodrag.evaluation.run import EvalConfig, evaluate
from autodrag.generator import FrozenGenerator
from third_party.stylegan2.readers import write_safetensors


def test_methods_stand_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "load_metric_networks", lambda *_: MetricNetworks(None, None, [], {}))
    network = FrozenGenerator.random(resolution=(64, 64), w_dim=32).trainable_copy()
    write_safetensors(tmp_path / "tiny.safetensors", network.config, network.state_dict())
    common = ["task=paired", "task.points=4", "task.flow=dis", "task.max_steps=1", "task.count=3", "batch=2", "timed=0"]
    common += [f"dataset={tmp_path / 'tiny.safetensors'}", f"manifest={tmp_path / 'manifest.json'}", "device=cpu"]
    for method in ("none", "draggan"):
        given = [*common, f"method={method}", f"out={tmp_path / 'results' / method}"]
        evaluate(typed(EvalConfig, compose("eval", given)))
    results = read_results(tmp_path / "results")
    sheet = fig10(results, "tiny")
    assert sheet is not None
    top = TITLE * 3 + 4  # "to be matched" in two lines, and one for the seconds
    assert sheet.shape == (3, top + 3 * 68, 4 + 3 * 68)  # three columns
    source, goal = sheet[:, top : top + 64, 4:68], sheet[:, top : top + 64, 140:204]
    assert not torch.equal(source, goal) and (source != 255).any()
    assert fig8(results, "tiny") is None


@pytest.mark.usefixtures("instruments")
def test_a_sheet_shows_the_items_and_methods_that_were_run(config: Any, file: Path, tmp_path: Path) -> None:
    common = ["task=landmarks", "task.count=5", "task.max_steps=1", "timed=0", "method=draggan"]
    for label, items, settings in (("draggan", 3, "[5]"), ("draggan-nearer", 2, "[1,5]"), ("draggan-one", 5, "[1]")):
        given = [f"method.label={label}", f"items={items}", f"settings={settings}", f"out={tmp_path / 'run' / label}"]
        evaluate(config(file, tmp_path, *common, *given))
    sheet = fig8(read_results(tmp_path / "run"), "tiny")
    assert sheet is not None
    assert sheet.shape[2] == 4 + 4 * 68  # source, two methods with five points, goal
    assert sheet.shape[1] in [lines * TITLE + 4 + 2 * 68 for lines in (1, 2, 3)]  # two items


def test_seconds_stand_below_the_title() -> None:
    picture = torch.zeros(3, SIDE, SIDE, dtype=torch.uint8)
    timed, plain = _titled(["a", "b"], [[picture] * 2], ["1.2 s", ""]), _titled(["a", "b"], [[picture] * 2])
    assert timed.shape[1] == plain.shape[1] + TITLE
    left, right = timed[:, : TITLE * 2, :SIDE], timed[:, : TITLE * 2, SIDE + 8 :]
    assert (left < 255).sum() > (right < 255).sum() > 0


def test_fig6_shows_the_sequence_of_eq_7(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autodrag.evaluation.report.sheets.SEQUENCES", 2)
    pictures = fig6([], load_dataset("synthface"))
    assert pictures is not None and pictures.shape == (3, TITLE + 4 + 4 * 260, 4 + 6 * 260)

    def shown(row: int, column: int) -> torch.Tensor:
        top, left = TITLE + 4 + 260 * row, 4 + 260 * column
        return pictures[:, top : top + 256, left : left + 256].float()

    for first in (0, 2):  # away from w* and towards it begin at the same w_0; away goes farther, a step at a time
        assert torch.equal(shown(first, 0), shown(first + 1, 0))
        change = [[(shown(row, n) - shown(row, 0)).abs().mean() for n in range(1, 6)] for row in (first, first + 1)]
        assert all(values == sorted(values) for values in change) and change[0][-1] > change[1][-1] > 1


def test_our_drags_stand_in_pairs(tmp_path: Path) -> None:
    given = ["task=landmarks", "task.points=[5]", "task.count=2", "method=autodrag", "timed=0", "download=false"]
    given += [f"manifest={tmp_path / 'manifest.json'}", f"out={tmp_path / 'results'}", "device=cpu"]
    evaluate(typed(EvalConfig, compose("eval", given)))
    results = read_results(tmp_path / "results")
    pictures = drags(results, "synthface")
    assert pictures is not None and pictures.shape == (3, 256 + 8, 4 * 260 + 4)
    source, edited = pictures[:, 4:260, 4:260], pictures[:, 4:260, 264:520]
    assert (source != edited).float().mean() > 0.05
    assert drags(results, "ffhq") is None


def test_titles_are_broken_where_they_do_not_fit() -> None:
    def fits(text: str) -> bool:
        return len(text) <= 10

    assert _wrapped("DragGAN", fits) == ["DragGAN"]
    assert _wrapped("Ours w/o Latent Predictor", fits) == ["Ours w/o", "Latent Predictor"]


def test_large_pictures_are_made_small() -> None:
    picture = torch.zeros(3, 2 * SIDE, SIDE, dtype=torch.uint8)
    assert _titled(["a"], [[picture]]).shape == (3, TITLE + SIDE + 8, SIDE // 2 + 8)
