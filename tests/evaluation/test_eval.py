"""Evaluations from end to end on a tiny generator: every task and method, and what cannot be evaluated."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autodrag.config import compose, dump, typed
from autodrag.errors import InputError
from autodrag.evaluation.method import samples_seen
from autodrag.evaluation.run import EvalConfig, evaluate
from autodrag.generator import FrozenGenerator
from autodrag.methods import MethodConfig
from autodrag.methods.none import NoEdit
from autodrag.training.build import TrainConfig
from third_party.stylegan2 import Generator
from third_party.stylegan2.readers import write_safetensors

pytestmark = pytest.mark.usefixtures("instruments")


def test_timing_is_warmed_up(
    config: Any, small: Any, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drags: list[int] = []
    drag = NoEdit.drag
    monkeypatch.setattr(NoEdit, "drag", lambda *given, **more: drags.append(1) or drag(*given, **more))
    evaluate(config(file, tmp_path, *small["mdd"], "timed=0"))
    assert len(drags) == 3 + 2  # chunks of one item each, and those that do not count


@pytest.mark.parametrize("task", ["landmarks", "mdd", "paired", "roundtrip"])
@pytest.mark.parametrize("method", ["none", "draggan", "freedrag"])
def test_every_task_with_every_method(
    config: Any, summary: Any, small: Any, file: Path, tmp_path: Path, task: str, method: str
) -> None:
    evaluate(config(file, tmp_path, *small[task], f"method={method}", "task.max_steps=2"))
    found = summary(tmp_path)
    assert found["method"]["name"] == method and found["task"]["name"] == task
    rows = [json.loads(line) for line in (tmp_path / "out" / "per_item.jsonl").open()]
    assert len(rows) == 3 * len(found["settings"])
    assert all(row["steps"] <= 4 for row in rows)
    for setting in found["settings"].values():
        assert setting["items"] == 3
        for column in found["columns"]:
            assert setting[column]["n"] == (0 if column == "lpips" else 3)
    if method == "none" and task in ("mdd", "roundtrip"):
        expected = {"mdd": 1.0} if task == "mdd" else {"mse": 0.0, "there": 0.0}  # nothing has moved there and back
        for setting in found["settings"].values():
            assert {column: setting[column]["mean"] for column in expected} == expected
    assert found["seconds"]["method"]["n"] == 1 and found["missing"] == {"LPIPS": "LPIPS needs a file."}


def test_grey_rectangles_of_a_class(config: Any, summary: Any, small: Any, tmp_path: Path) -> None:
    shape = replace(FrozenGenerator.random(w_dim=32, c_dim=2).config, img_channels=1, resolution=(32, 64))
    write_safetensors(tmp_path / "grey.safetensors", shape, Generator(shape).state_dict())
    given, results = [*small["paired"], "method=draggan", "task.max_steps=2"], []
    for c in (0, 1):
        folder = tmp_path / str(c)
        evaluate(config(tmp_path / "grey.safetensors", folder, *given, f"c={c}"))
        found = summary(folder)
        assert found["resolution"] == [32, 64]
        results.append(found["settings"])
    assert results[0] != results[1]
    with pytest.raises(InputError, match="another c"):
        evaluate(config(tmp_path / "grey.safetensors", tmp_path / "1", *given, "c=0"))


def test_landmarks_without_an_edit_and_with_the_best_one(config: Any, summary: Any, file: Path, tmp_path: Path) -> None:
    evaluate(config(file, tmp_path, "task=landmarks"))
    found = summary(tmp_path)
    assert set(found["settings"]) == {"1", "5", "68"}
    for setting in found["settings"].values():
        assert setting["md"] == pytest.approx(setting["md_before"], rel=1e-4) and setting["failed"] == 0
        assert setting["md_left"] == pytest.approx(1, rel=1e-4)
        assert setting["outside"]["mean"] == 0 and setting["identity"]["mean"] == 0
    assert found["frechet"]["FD-flat"]["value"] == pytest.approx(0, abs=1e-9)
    assert found["frechet"]["FD-flat"]["n"] == 3

    evaluate(config(file, tmp_path, "task=landmarks", "method=oracle", f"out={tmp_path / 'oracle'}"))
    best = json.loads((tmp_path / "oracle" / "summary.json").read_text())
    assert best["manifest"] == found["manifest"]
    before = found["settings"]["5"]["md_before"]
    assert best["seconds"] is None and best["settings"]["5"]["md_before"] == pytest.approx(before, rel=1e-4)


def test_the_oracle_reconstructs_pairs_exactly(
    config: Any, summary: Any, small: Any, file: Path, tmp_path: Path
) -> None:
    evaluate(config(file, tmp_path, *small["paired"], "method=oracle"))
    assert summary(tmp_path)["settings"]["4"]["mse"]["mean"] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("task", ["mdd", "roundtrip"])
def test_tasks_without_a_goal_have_no_oracle(config: Any, small: Any, file: Path, tmp_path: Path, task: str) -> None:
    with pytest.raises(InputError, match="no goal for edits to match, so it has no oracle"):
        evaluate(config(file, tmp_path, *small[task], "method=oracle"))


def test_short_drags_have_targets_part_of_the_way(config: Any, file: Path, tmp_path: Path) -> None:
    for task, out in (("landmarks", "whole"), ("short", "part")):
        given = [f"task={task}", "method=none", f"out={tmp_path / out}", f"manifest={tmp_path / task}.json"]
        evaluate(config(file, tmp_path / out, *given))
    whole, part = (
        [json.loads(line)["md"] for line in (tmp_path / out / "per_item.jsonl").open()] for out in ("whole", "part")
    )
    assert part == pytest.approx([0.2 * distance for distance in whole], rel=1e-3)
    with pytest.raises(InputError, match="no goal images, so it has no oracle"):
        short = ["task=short", "method=oracle", f"manifest={tmp_path / 'short.json'}", f"out={tmp_path / 'other'}"]
        evaluate(config(file, tmp_path, *short))


def test_untrained_methods_are_an_error_or_skipped(
    config: Any,
    small: Any,
    file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    cases = [
        ("n3", r"no weights at runs/tiny-n3/weights.safetensors: train them with .*configs/method/"),
        ("without_regularizer", "no weights at runs/tiny-without-regularizer/weights.safetensors"),
        ("latent_transformer", "no latent transformer weights for 'tiny': train them with"),
        ("autodrag", "no AutoDrag weights for 'tiny': train them with"),
    ]
    for method, says in cases:
        given = config(file, tmp_path, *small["paired"], f"method={method}")
        with pytest.raises(InputError, match=says):
            evaluate(given)
        evaluate(replace(given, untrained="skip"))
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and re.search(f"^{given.method.label} is skipped. There are {says}", said)
    assert not (tmp_path / "out").exists()


def test_the_samples_that_weights_have_seen_are_those_of_their_run(tmp_path: Path) -> None:
    method = MethodConfig("autodrag", "mine", {"weights": str(tmp_path / "weights.safetensors")})
    assert samples_seen(method) is None and samples_seen(replace(method, options={})) is None
    for stage, seen in (("2", 25_000), ("motion", None)):
        budget = ["stage2.budget.epochs=5", "stage2.budget.samples=5000"]
        run = typed(TrainConfig, compose("train", ["model=small", f"stage={stage}", *budget]))
        (tmp_path / "config.yaml").write_text(dump(run), encoding="utf-8")
        assert samples_seen(method) == seen
    (tmp_path / "config.yaml").write_text("stage: 2\n", encoding="utf-8")  # of another version
    assert samples_seen(method) is None


def test_an_experiment_skips_untrained_methods(file: Path, tmp_path: Path, repository: Path) -> None:
    given = ["experiment=fig9", "size=cpu", f"dataset={file}", "device=cpu", "download=false", "timed=0"]
    given += ["task.count=1", "task.max_steps=1", "task.psi=1", "task.motion_px=1", "task.flow=dis"]
    command = [sys.executable, str(repository / "scripts" / "eval.py"), *given]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / "eval" / "tiny" / "mdd"
    assert {path.parent.name for path in folder.glob("*/summary.json")} == {"draggan", "freedrag"}
    for label in ("latent-transformer", "autodrag"):
        assert f"\n{label} is skipped. There are no" in done.stderr
    curves = json.loads((folder / "draggan" / "summary.json").read_text())["curves"]
    assert len(curves["mdd"]) == 1 and curves["mdd"][0][0] == 1 and len(curves["seconds"]) == len(curves["mdd"][0])


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("task.preset=mine", "no preset 'mine'"),
        ("task.points=[2]", "points="),
        ("task.way=1.5", "way=1.5 is out of range"),
        ("task.count=0", "at least 1"),
        ("items=0", "at least 1"),
        ("method=draggan method.options.lr=-1", "positive"),
        ("task=paired task.flow=dis task.points=0", "task.points is 0"),
        ("out=/dev/null/x", "choose another out="),
        ("manifest=/dev/null/m.json", "choose another manifest="),
    ],
)
def test_impossible_settings_give_a_clear_error(
    config: Any, file: Path, tmp_path: Path, override: str, says: str
) -> None:
    with pytest.raises(InputError, match=says):
        evaluate(config(file, tmp_path, *override.split()))


def test_a_typing_error_in_a_task_names_its_key() -> None:
    with pytest.raises(InputError, match=r"^Config key 'task.flow' is 'vcn', expected one of 'auto', 'raft', 'dis'"):
        typed(EvalConfig, compose("eval", ["task=paired", "task.flow=vcn"]))


def test_the_command_prints_a_clear_error(command: Any, tmp_path: Path) -> None:
    status, _, err = command("eval", "method=draggan", "task.count=0", f"out={tmp_path}")
    assert status == 2 and err.count("\n") == 1 and "at least 1" in err
