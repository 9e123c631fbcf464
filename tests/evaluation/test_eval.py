"""Evaluations from end to end on a tiny generator: every task, resume, and configs that must not mix."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from autodrag.config import compose, typed
from autodrag.domains.synthface.reader import Reader
from autodrag.errors import InputError
from autodrag.evaluation import run as module
from autodrag.evaluation.metric_networks import MetricNetworks
from autodrag.evaluation.run import EvalConfig, evaluate
from autodrag.generator import FrozenGenerator
from autodrag.methods.none import NoEdit
from autodrag.vision.detectors import LandmarkDetector
from autodrag.vision.networks import Lpips
from third_party.stylegan2 import Generator
from third_party.stylegan2.readers import write_safetensors


class Corners(LandmarkDetector):
    """Stands for a face detector on images without faces: 68 points that depend on the image."""

    fingerprint = "corners"

    def __init__(self) -> None:
        pass

    def __call__(self, images) -> list[torch.Tensor]:
        means = torch.from_numpy(images).float().mean(dim=(1, 2, 3)) / 25.5
        grid = torch.stack(torch.meshgrid(torch.arange(17.0), torch.arange(4.0), indexing="ij"), 2).flatten(0, 1) * 2
        return [grid + mean for mean in means]


class Flat(Reader):
    """Stands for the network that reads parameters."""

    name, caption, fingerprint = "FD-flat", "mean colours", "flat"

    def __init__(self) -> None:
        pass

    def features(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(2, 3))

    def appearance(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(2, 3))


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("eval") / "tiny.safetensors"
    network = FrozenGenerator.random(resolution=(64, 64), w_dim=32).trainable_copy()
    write_safetensors(path, network.config, network.state_dict())
    return path


@pytest.fixture(autouse=True)
def instruments(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    flat = Flat()
    have = MetricNetworks(None, flat, [flat], {"LPIPS": "LPIPS needs a file."})
    monkeypatch.setattr(module, "load_metric_networks", lambda *_: have)
    monkeypatch.setattr("autodrag.evaluation.tasks.load_detector", lambda *_: Corners())
    yield


def config(file: Path, folder: Path, *overrides: str) -> EvalConfig:
    given = [
        f"dataset={file}",
        f"manifest={folder / 'manifest.json'}",
        f"out={folder / 'out'}",
        "device=cpu",
        "batch=2",
    ]
    return typed(EvalConfig, compose("eval", [*given, "task.count=3", "timed=1", "method=none", *overrides]))


def summary(folder: Path) -> dict:
    return json.loads((folder / "out" / "summary.json").read_text())


def rows(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "per_item.jsonl").open()]


def near(row: dict, rel: float) -> dict:
    """A row to compare with: its numbers with a tolerance, the rest as it is."""
    return {key: pytest.approx(v, rel=rel, abs=1e-5) if isinstance(v, float) else v for key, v in row.items()}


def without_times(folder: Path) -> str:
    found = summary(folder)
    found.pop("seconds")
    return json.dumps(found)


SMALL = {
    "landmarks": ["task=landmarks", "task.psi=1"],
    "paired": ["task=paired", "task.points=4", "task.flow=dis"],
    "mdd": ["task=mdd", "task.psi=1", "task.motion_px=1", "task.flow=dis"],
    "roundtrip": ["task=roundtrip", "task.psi=1", "task.motion_px=1", "task.points=2", "task.flow=dis"],
}


def test_timing_is_warmed_up(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drags: list[int] = []
    drag = NoEdit.drag
    monkeypatch.setattr(NoEdit, "drag", lambda *given, **more: drags.append(1) or drag(*given, **more))
    evaluate(config(file, tmp_path, *SMALL["mdd"], "timed=0"))
    assert len(drags) == 3 + 1  # chunks of one item each, and the one that does not count


@pytest.mark.parametrize("task", sorted(SMALL))
@pytest.mark.parametrize("method", ["none", "draggan", "freedrag"])
def test_every_task_with_every_method(file: Path, tmp_path: Path, task: str, method: str) -> None:
    evaluate(config(file, tmp_path, *SMALL[task], f"method={method}", "task.max_steps=2"))
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
        column, value = ("mdd", 1.0) if task == "mdd" else ("mse", 0.0)
        assert [s[column]["mean"] for s in found["settings"].values()] == [value]
    assert found["seconds"]["method"]["n"] == 1 and found["missing"] == {"LPIPS": "LPIPS needs a file."}


def test_grey_rectangles_of_a_class(tmp_path: Path) -> None:
    shape = replace(FrozenGenerator.random(w_dim=32, c_dim=2).config, img_channels=1, resolution=(32, 64))
    write_safetensors(tmp_path / "grey.safetensors", shape, Generator(shape).state_dict())
    results = []
    for c in (0, 1):
        folder = tmp_path / str(c)
        evaluate(config(tmp_path / "grey.safetensors", folder, *SMALL["paired"], "method=draggan", f"c={c}"))
        found = summary(folder)
        assert found["resolution"] == [32, 64]
        results.append(found["settings"])
    assert results[0] != results[1]
    with pytest.raises(InputError, match="another c"):
        evaluate(config(tmp_path / "grey.safetensors", tmp_path / "1", *SMALL["paired"], "method=draggan", "c=0"))


def test_landmarks_without_an_edit_and_with_the_best_one(file: Path, tmp_path: Path) -> None:
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


def test_the_oracle_reconstructs_pairs_exactly(file: Path, tmp_path: Path) -> None:
    evaluate(config(file, tmp_path, *SMALL["paired"], "method=oracle"))
    assert summary(tmp_path)["settings"]["4"]["mse"]["mean"] == pytest.approx(0, abs=1e-9)


def test_the_first_items_of_a_manifest(file: Path, tmp_path: Path) -> None:
    for items, out in (("null", "all"), ("2", "two")):
        evaluate(config(file, tmp_path, *SMALL["paired"], "method=none", f"items={items}", f"out={tmp_path / out}"))
    everything, two = (rows(tmp_path / out) for out in ("all", "two"))
    assert len(everything) == 3 and two == [near(row, 1e-4) for row in everything[:2]]


def test_a_finished_evaluation_can_be_extended(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = ["task=landmarks", "task.points=[1]", "method=draggan", "task.max_steps=1", "batch=1"]
    evaluate(config(file, tmp_path, *given, "items=1", "timed=2"))
    assert summary(tmp_path)["settings"]["1"]["items"] == 1 and summary(tmp_path)["seconds"]["method"]["n"] == 1
    made = []
    predict = module._predict
    monkeypatch.setattr(module, "_predict", lambda *given: made.append(given[2].items[0].index) or predict(*given))
    evaluate(config(file, tmp_path, *given, "items=3", "timed=2"))
    assert made == [1, 2]
    assert summary(tmp_path)["settings"]["1"]["items"] == 3 and summary(tmp_path)["seconds"]["method"]["n"] == 2
    evaluate(config(file, tmp_path, *given, f"out={tmp_path / 'at once'}"))
    rows = [(tmp_path / out / "per_item.jsonl").read_text() for out in ("out", "at once")]
    assert rows[0] == rows[1]


def test_short_drags_have_targets_part_of_the_way(file: Path, tmp_path: Path) -> None:
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


def test_a_killed_evaluation_resumes_to_the_same_summary(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = ["task=landmarks", "method=draggan", "task.max_steps=2"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    shared = f"manifest={tmp_path / 'manifest.json'}"
    evaluate(config(file, whole, *given, shared))
    for name in ("_predict", "_score", "_summary"):  # killed at its second call, and started again
        with monkeypatch.context() as context:
            calls = []
            original = getattr(module, name)

            def once(*arguments, original=original, calls=calls):
                calls.append(1)
                if len(calls) == (1 if original.__name__ == "_summary" else 2):
                    raise KeyboardInterrupt
                return original(*arguments)

            context.setattr(module, name, once)
            with pytest.raises(KeyboardInterrupt):
                evaluate(config(file, parts, *given, shared))
    evaluate(config(file, parts, *given, shared))
    assert without_times(parts) == without_times(whole)
    assert (parts / "out" / "per_item.jsonl").read_text() == (whole / "out" / "per_item.jsonl").read_text()


class Twice(Flat):
    """Another network of another hash."""

    name, caption, fingerprint = "FD-twice", "mean colours, twice", "twice"

    def features(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean(dim=(2, 3)) * 2


class Distance(Lpips):
    """Stands for LPIPS."""

    fingerprint = "distance"

    def __init__(self) -> None:
        pass

    def __call__(self, images: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        return (images - wanted).abs().mean(dim=(1, 2, 3)) + 1


def test_other_metric_networks_renew_scores_and_keep_predictions(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights that come to this machine later count for all items, also of an evaluation that was interrupted."""
    flat, both = Flat(), [Flat(), Twice()]
    few = MetricNetworks(None, flat, [flat], {"LPIPS": "LPIPS needs a file."})
    landmarks, paired = (
        ["task=landmarks"],
        [*SMALL["paired"], f"out={tmp_path / 'pairs'}", f"manifest={tmp_path}/p.json"],
    )
    monkeypatch.setattr(module, "load_metric_networks", lambda *_: few)
    evaluate(config(file, tmp_path, *landmarks))
    evaluate(config(file, tmp_path, *paired))
    next((tmp_path / "pairs" / "scores").iterdir()).unlink()  # killed before it was through
    assert set(summary(tmp_path)["frechet"]) == {"FD-flat"}

    def never(*_: object) -> None:
        raise AssertionError("predictions are kept")

    monkeypatch.setattr(module, "_predict", never)
    many = MetricNetworks(Distance(), flat, both, {})
    monkeypatch.setattr(module, "load_metric_networks", lambda *_: many)
    evaluate(config(file, tmp_path, *landmarks))
    found = summary(tmp_path)["frechet"]
    assert set(found) == {"FD-flat", "FD-twice"} and found["FD-twice"]["n"] == 3
    evaluate(config(file, tmp_path, *paired))
    rows = [json.loads(line) for line in (tmp_path / "pairs" / "per_item.jsonl").open()]
    assert [row["lpips"] >= 10 for row in rows] == [True] * 3
    monkeypatch.setattr(module, "_score", never)
    evaluate(config(file, tmp_path, *landmarks))  # and are kept while nothing changes


def test_a_folder_of_another_version_is_named(file: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "config.yaml").write_text("task: {name: paired}\nbatches: 3\n")
    with pytest.raises(
        InputError, match=f"^{tmp_path / 'out'} holds an evaluation of another version .*Choose another"
    ):
        evaluate(config(file, tmp_path, *SMALL["paired"]))


def test_results_of_different_configs_do_not_mix(file: Path, tmp_path: Path) -> None:
    evaluate(config(file, tmp_path, *SMALL["paired"]))
    with pytest.raises(InputError, match="holds an evaluation with another method; choose another out="):
        evaluate(config(file, tmp_path, *SMALL["paired"], "method=draggan"))
    other = f"out={tmp_path / 'other'}"
    with pytest.raises(InputError, match=r"manifest .* is for another seed \(0, not 1\)"):
        evaluate(config(file, tmp_path, *SMALL["paired"], "seed=1", other))
    with pytest.raises(InputError, match="is for another task"):
        evaluate(config(file, tmp_path, *SMALL["mdd"], other))
    renamed = file.with_name("another.safetensors")
    renamed.write_bytes(file.read_bytes())
    with pytest.raises(InputError, match=r"is for another dataset \(\"tiny\", not \"another\"\)"):
        evaluate(config(renamed, tmp_path, *SMALL["paired"], other))
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(InputError, match="is not a manifest, or it is damaged"):
        evaluate(config(file, tmp_path, *SMALL["paired"], other))


def test_a_new_manifest_is_noticed(file: Path, tmp_path: Path) -> None:
    evaluate(config(file, tmp_path, *SMALL["paired"]))
    manifest = tmp_path / "manifest.json"
    raw = json.loads(manifest.read_text())
    raw["items"][0]["targets"][0][0] += 1
    manifest.write_text(json.dumps(raw))
    with pytest.raises(InputError, match=r"The manifest of .* changed since it was started"):
        evaluate(config(file, tmp_path, *SMALL["paired"]))


def test_untrained_methods_are_an_error_or_skipped(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cases = [
        ("n3", r"no weights at runs/tiny-n3/weights.safetensors: train them with .*configs/method/"),
        ("without_regularizer", "no weights at runs/tiny-without-regularizer/weights.safetensors"),
        ("latent_transformer", "no latent transformer weights for 'tiny': train them with"),
        ("autodrag", "no AutoDrag weights for 'tiny': train them with"),
    ]
    for method, says in cases:
        given = config(file, tmp_path, *SMALL["paired"], f"method={method}")
        with pytest.raises(InputError, match=says):
            evaluate(given)
        evaluate(replace(given, untrained="skip"))
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and re.search(f"^{given.method.label} is skipped. There are {says}", said)
    assert not (tmp_path / "out").exists()


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
    ],
)
def test_impossible_settings_give_a_clear_error(file: Path, tmp_path: Path, override: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        evaluate(config(file, tmp_path, *override.split()))


def test_a_typing_error_in_a_task_names_its_key() -> None:
    with pytest.raises(InputError, match=r"^Config key 'task.flow' is 'vcn', expected one of 'auto', 'raft', 'dis'"):
        typed(EvalConfig, compose("eval", ["task=paired", "task.flow=vcn"]))


def test_two_ranks_equal_one(file: Path, tmp_path: Path, repository: Path, free_port: int) -> None:
    given = [*SMALL["paired"], "method=draggan", "task.max_steps=1", "batch=1", "timed=0"]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port), "WORLD_SIZE": "2", "OMP_NUM_THREADS": "1"}
    places = [f"dataset={file}", f"manifest={tmp_path / 'manifest.json'}", f"out={tmp_path / 'out'}", "device=cpu"]
    command = [
        sys.executable,
        str(repository / "scripts" / "eval.py"),
        *places,
        *given,
        "task.count=3",
        "download=false",
    ]
    ranks = [
        subprocess.Popen(command, env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank in (0, 1)
    ]
    assert [process.wait(timeout=500) for process in ranks] == [0, 0]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the ranks: sums over more threads are rounded otherwise
    try:
        evaluate(config(file, tmp_path, *given, f"out={tmp_path / 'one'}"))
    finally:
        torch.set_num_threads(threads)
    one, two = (rows(tmp_path / out) for out in ("one", "out"))
    assert len(one) == 3 and two == [near(row, 1e-3) for row in one]
    means = [json.loads((tmp_path / out / "summary.json").read_text())["settings"]["4"] for out in ("one", "out")]
    assert means[1]["mse"]["mean"] == pytest.approx(means[0]["mse"]["mean"], rel=1e-3)


def test_the_command_prints_a_clear_error(command: Any, tmp_path: Path) -> None:
    status, _, err = command("eval", "method=draggan", "task.count=0", f"out={tmp_path}")
    assert status == 2 and err.count("\n") == 1 and "at least 1" in err
