"""Drags that people make: items from the renderer's truth, scores of no edit and of the oracle."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch

from autodrag.config import compose, typed
from autodrag.domains.synthface import parameters
from autodrag.domains.synthface.places import PARTS, places, where
from autodrag.errors import InputError
from autodrag.evaluation.report.pulls import _difference
from autodrag.evaluation.report.pulls import pulls as table
from autodrag.evaluation.report.results import read_results
from autodrag.evaluation.report.sheets import TITLE, pull_sheet
from autodrag.evaluation.run import EvalConfig, evaluate
from autodrag.evaluation.summary import summarise
from autodrag.evaluation.tasks import pull_items
from autodrag.evaluation.tasks import pulls as module
from autodrag.evaluation.tasks.pulls import _pulls
from autodrag.evaluation.truth import fit_source


@pytest.fixture(scope="module")
def fits() -> dict[bytes, Any]:
    """Fits of source images by the parameters that they were made of."""
    return {}


@pytest.fixture
def one_fit_of_each_source(fits: dict[bytes, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The same face is fitted once for all evaluations here, as an evaluation does for all of its settings."""

    def once(reader: Any, before: torch.Tensor, known: torch.Tensor) -> Any:
        key = known.numpy().tobytes()
        if key not in fits:
            fits[key] = fit_source(reader, before, known)
        return fits[key]

    monkeypatch.setattr(module, "fit_source", once)


def run(folder: Path, *overrides: str) -> dict:
    given = ["task=pulls", "task.count=1", "timed=0", "download=false", "device=cpu", "settings=[local-pins]"]
    given += [f"manifest={folder / 'manifest.json'}", f"out={folder / 'runs' / overrides[0].partition('=')[2]}"]
    evaluate(typed(EvalConfig, compose("eval", [*given, *overrides])))
    return json.loads((folder / "runs" / overrides[0].partition("=")[2] / "summary.json").read_text())


@pytest.mark.usefixtures("one_fit_of_each_source")
def test_no_edit_leaves_the_whole_distance_and_the_oracle_little(tmp_path: Path) -> None:
    none, oracle = (run(tmp_path, f"method={name}", "settings=[local-pins,surface-8]") for name in ("none", "oracle"))
    assert set(none["settings"]) == {"local-pins", "surface-8"} == set(oracle["settings"])
    for setting in none["settings"].values():
        assert setting["left"]["mean"] == pytest.approx(1, abs=0.15) and setting["broken"]["mean"] == 0
        assert setting["left_of_way"] == pytest.approx(1, abs=0.15) == setting["left_of_way_in_reach"]
        assert setting["identity"]["mean"] == 0 and setting["outside"]["mean"] == 0
    assert none["settings"]["local-pins"]["medians"]["pins_px"] < 0.5
    assert oracle["settings"]["surface-8"]["left_of_way"] < 0.3
    made = table(read_results(tmp_path / "runs"), "synthface")
    assert made is not None and [row[:2] for row in made.rows] == [
        ["local-pins", "No edit"],
        ["local-pins", "Oracle"],
        ["surface-8", "No edit"],
        ["surface-8", "Oracle"],
    ]
    assert pull_sheet(read_results(tmp_path / "runs"), "synthface") is None  # it shows ours alone
    assert _difference(None) == "–"
    assert _difference({"mean": -0.07, "low": -0.13, "high": 0.004, "n": 7}) == "-0.07 (-0.13 to +0.00; N 7)"


@pytest.mark.usefixtures("one_fit_of_each_source")
def test_the_sheet_shows_source_and_edit_of_landings_pulls(tmp_path: Path) -> None:
    run(tmp_path, "method=landing", "settings=[free-40]")
    made = pull_sheet(read_results(tmp_path / "runs"), "synthface")
    assert made is not None
    height, width = made.shape[1] - TITLE, made.shape[2]
    assert (round(height / 260), round(width / 260)) == (1, 2)
    source, edited = (made[:, TITLE + 10 : TITLE + 250, x : x + 240].float() for x in (10, 270))
    assert source.std() > 20 and (edited - source).abs().mean() > 2


def test_a_drag_counts_by_its_length_and_not_at_all_when_broken() -> None:
    rows = [
        {"left": 1.0, "left_px": 0.1, "way": 0.1, "left_in_reach": 1.0},
        {"left": 0.1, "left_px": 4.0, "way": 40.0, "left_in_reach": None},
        {"left": None, "left_px": None, "way": None, "left_in_reach": None},
    ]
    summary = summarise(rows, {"left": "left", "left_px": "left, px"}, seed=0)
    assert summary["left_of_way"] == pytest.approx(4.1 / 40.1)
    assert summary["left_of_way_in_reach"] == pytest.approx(1)
    assert summary["left"]["mean"] == pytest.approx(0.55)


def test_settings_that_do_not_exist_and_other_generators_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"settings=\['free-41'\] do not all exist in pulls; choose from free-10"):
        run(tmp_path, "method=none", "settings=[free-41]")


def test_items_match_their_settings() -> None:
    z = torch.randn(2, 128, generator=torch.Generator().manual_seed(0))
    here, there = parameters(z)[0]
    seen, points = pull_items.candidates(here, 256)
    assert torch.equal(places(here, points, 256).part, seen.part)
    for aside in ([-1.5, 0.0], [1.5, 0.0], [0.0, -1.5], [0.0, 1.5]):
        assert (places(here, points + torch.tensor(aside), 256).part == seen.part).float().mean() > 0.99
    draw = torch.Generator().manual_seed(0)
    handles, targets = pull_items.free(seen, points, 256, draw) or pytest.fail("nothing drawn")
    assert (targets - handles).norm(dim=1)[:7].tolist() == pytest.approx(pull_items.LENGTHS, rel=1e-4)
    assert torch.equal(handles[:7], handles[:1].expand(7, 2)) and torch.equal(handles[9:], targets[9:])
    assert (targets >= 0).all() and (targets <= 255).all()

    opened = pull_items.changed(here, pull_items.CHANGED.index("mouth_open"))
    assert int((opened != here).sum()) == 1
    handles, targets = pull_items.local(opened, seen, points, 256, draw) or pytest.fail("nothing drawn")
    at = places(here, handles, 256)
    torch.testing.assert_close(where(opened[None], at, 256)[0], targets, atol=1e-2, rtol=0)
    assert {PARTS[n] for n in at.part[:3].tolist()} == {"mouth"}

    handles, targets = pull_items.surface(there, seen, points, 256, draw) or pytest.fail("nothing drawn")
    assert handles.shape == (8, 2)
    assert torch.equal(places(here, handles, 256).part, places(there, targets, 256).part)  # visible in both
    assert max(number for used in pull_items.settings().values() for number in used) == 23


def test_a_chain_continues_from_the_last_targets() -> None:
    start, end = [torch.tensor([[10.0, 20.0]])], [torch.tensor([[20.0, 20.0]])]
    on = _pulls("chain-on", start, end)
    assert [float(t[0][0, 0]) for _, t in on] == [20.0 + 10 * n for n in range(10)]
    assert all(torch.equal(before[1][0], after[0][0]) for before, after in pairwise(on))
    back = _pulls("chain-back", start, end)
    assert len(back) == 10 and torch.equal(back[-1][1][0], start[0])
