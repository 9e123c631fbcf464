"""What is in an evaluation's folder: it is gone on with, extended, and never mixed with another's."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from autodrag.errors import InputError
from autodrag.evaluation import run as module
from autodrag.evaluation.metric_networks import MetricNetworks
from autodrag.evaluation.run import evaluate
from autodrag.methods.none import NoEdit
from autodrag.models import Manifold
from autodrag.vision.networks import Lpips

pytestmark = pytest.mark.usefixtures("instruments")


def rows(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "per_item.jsonl").open()]


def near(row: dict, rel: float) -> dict:
    """A row to compare with: its numbers with a tolerance, the rest as it is."""
    return {key: pytest.approx(v, rel=rel, abs=1e-5) if isinstance(v, float) else v for key, v in row.items()}


def without_times(found: dict) -> str:
    found.pop("seconds")
    return json.dumps(found)


def test_the_first_items_of_a_manifest(config: Any, small: Any, file: Path, tmp_path: Path) -> None:
    for items, out in (("null", "all"), ("2", "two")):
        evaluate(config(file, tmp_path, *small["paired"], "method=none", f"items={items}", f"out={tmp_path / out}"))
    everything, two = (rows(tmp_path / out) for out in ("all", "two"))
    assert len(everything) == 3 and two == [near(row, 1e-4) for row in everything[:2]]


def test_a_finished_evaluation_can_be_extended(
    config: Any, summary: Any, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_edits_are_timed_again_in_another_setting_and_on_another_device(
    config: Any, summary: Any, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    timed: list[int] = []
    times = module.time_edits
    monkeypatch.setattr(module, "time_edits", lambda *given: timed.append(given[3][0].shape[0]) or times(*given))
    given = ["task=landmarks", "task.points=[1,5]", "method=draggan", "task.max_steps=1", "batch=1", "items=1"]
    evaluate(config(file, tmp_path, *given, "settings=[5]"))
    evaluate(config(file, tmp_path, *given))
    evaluate(config(file, tmp_path, *given))
    assert timed == [5, 1] and list(summary(tmp_path)["settings"]) == ["1", "5"]
    monkeypatch.setattr(module, "_device_name", lambda _: "another")
    evaluate(config(file, tmp_path, *given))
    assert timed == [5, 1, 1] and summary(tmp_path)["device"] == "another"


def test_traces_of_another_device_are_not_mixed(
    config: Any, summary: Any, small: Any, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate(config(file, tmp_path, *small["mdd"], "items=1"))
    evaluate(config(file, tmp_path, *small["mdd"], "items=2"))
    before = summary(tmp_path)
    monkeypatch.setattr(module, "_device_name", lambda _: "another")
    with pytest.raises(InputError, match=r"The device of .* changed since it was started; choose another out="):
        evaluate(config(file, tmp_path, *small["mdd"], "items=3"))
    assert summary(tmp_path) == before


def test_the_commit_is_that_of_the_predictions(
    config: Any, summary: Any, small: Any, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits = []
    for now, items in (("first", 1), ("second", 1), ("third", 2)):
        monkeypatch.setattr("autodrag.runs.folder.commit", lambda now=now: now)
        evaluate(config(file, tmp_path, *small["paired"], "batch=1", "timed=0", f"items={items}"))
        commits.append(summary(tmp_path)["commit"])
    assert commits == ["first", "first", "third"]


def test_a_killed_evaluation_resumes_to_the_same_summary(
    config: Any, summary: Any, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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
    assert without_times(summary(parts)) == without_times(summary(whole))
    assert (parts / "out" / "per_item.jsonl").read_text() == (whole / "out" / "per_item.jsonl").read_text()


class Distance(Lpips):
    """Stands for LPIPS."""

    fingerprint = "distance"

    def __init__(self) -> None:
        pass

    def __call__(self, images: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        return (images - wanted).abs().mean(dim=(1, 2, 3)) + 1


def test_other_metric_networks_renew_scores_and_keep_predictions(
    config: Any, summary: Any, small: Any, flat: Any, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights that come to this machine later count for all items, also of an evaluation that was interrupted."""
    one, two = flat(), flat("FD-twice", times=2)
    few = MetricNetworks(None, one, [one], {"LPIPS": "LPIPS needs a file."})
    landmarks, paired = (
        ["task=landmarks"],
        [*small["paired"], f"out={tmp_path / 'pairs'}", f"manifest={tmp_path}/p.json"],
    )
    monkeypatch.setattr(module, "load_metric_networks", lambda *_: few)
    evaluate(config(file, tmp_path, *landmarks))
    evaluate(config(file, tmp_path, *paired))
    next((tmp_path / "pairs" / "scores").iterdir()).unlink()  # killed before it was through
    assert set(summary(tmp_path)["frechet"]) == {"FD-flat"}

    def never(*_: object) -> None:
        raise AssertionError("predictions are kept")

    monkeypatch.setattr(module, "_predict", never)
    many = MetricNetworks(Distance(), one, [one, two], {})
    monkeypatch.setattr(module, "load_metric_networks", lambda *_: many)
    evaluate(config(file, tmp_path, *landmarks))
    found = summary(tmp_path)["frechet"]
    assert set(found) == {"FD-flat", "FD-twice"} and found["FD-twice"]["n"] == 3
    evaluate(config(file, tmp_path, *paired))
    rows = [json.loads(line) for line in (tmp_path / "pairs" / "per_item.jsonl").open()]
    assert [row["lpips"] >= 10 for row in rows] == [True] * 3
    monkeypatch.setattr(module, "_score", never)
    evaluate(config(file, tmp_path, *landmarks))  # and are kept while nothing changes


def test_a_folder_of_another_version_is_named(config: Any, small: Any, file: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "config.yaml").write_text("task: {name: paired}\nbatches: 3\n")
    with pytest.raises(
        InputError, match=f"^{tmp_path / 'out'} holds an evaluation of another version .*Choose another"
    ):
        evaluate(config(file, tmp_path, *small["paired"]))


def test_results_of_different_configs_do_not_mix(config: Any, small: Any, file: Path, tmp_path: Path) -> None:
    evaluate(config(file, tmp_path, *small["paired"]))
    with pytest.raises(InputError, match="holds an evaluation with another method; choose another out="):
        evaluate(config(file, tmp_path, *small["paired"], "method=draggan"))
    other = f"out={tmp_path / 'other'}"
    with pytest.raises(InputError, match=r"manifest .* is for another seed \(0, not 1\)"):
        evaluate(config(file, tmp_path, *small["paired"], "seed=1", other))
    with pytest.raises(InputError, match="is for another task"):
        evaluate(config(file, tmp_path, *small["mdd"], other))
    renamed = file.with_name("another.safetensors")
    renamed.write_bytes(file.read_bytes())
    with pytest.raises(InputError, match=r"is for another dataset \(\"tiny\", not \"another\"\)"):
        evaluate(config(renamed, tmp_path, *small["paired"], other))
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(InputError, match="is not a manifest, or it is damaged"):
        evaluate(config(file, tmp_path, *small["paired"], other))


def test_a_manifest_belongs_to_the_truncation_of_its_images(
    config: Any, summary: Any, file: Path, tmp_path: Path
) -> None:
    evaluate(config(file, tmp_path, "task=landmarks"))
    assert summary(tmp_path)["task"]["psi"] is None  # the dataset's
    other = f"out={tmp_path / 'other'}"
    with pytest.raises(InputError, match=r"manifest .* is for another task \(psi null, not 0.3\)"):
        evaluate(config(file, tmp_path, "task=landmarks", "dataset.psi=0.3", other))
    own = ["dataset.psi=0.3", f"manifest={tmp_path / 'own.json'}"]
    evaluate(config(file, tmp_path, "task=landmarks", *own, other))
    found = json.loads((tmp_path / "other" / "summary.json").read_text())
    assert found["task"]["psi"] == 0.3
    for setting in found["settings"].values():  # nothing was edited: the handles are those of these images
        assert setting["md"]["mean"] == pytest.approx(setting["md_before"]["mean"], rel=1e-4)


def test_a_new_manifest_is_noticed(config: Any, small: Any, file: Path, tmp_path: Path) -> None:
    evaluate(config(file, tmp_path, *small["paired"]))
    manifest = tmp_path / "manifest.json"
    raw = json.loads(manifest.read_text())
    raw["items"][0]["targets"][0][0] += 1
    manifest.write_text(json.dumps(raw))
    with pytest.raises(InputError, match=r"The manifest of .* changed since it was started"):
        evaluate(config(file, tmp_path, *small["paired"]))


def test_another_manifold_of_a_guarded_method_is_noticed(
    config: Any, small: Any, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Guarded(NoEdit):
        manifold = Manifold(w_dim=4, size=2)

    manifold = Guarded.manifold
    monkeypatch.setattr(module, "load_evaluated", lambda config, generator, max_steps: Guarded(generator))
    evaluate(config(file, tmp_path, *small["paired"], "items=1"))
    made_with = tmp_path / "out" / "made_with.json"
    noted = json.loads(made_with.read_text())
    assert noted.pop("manifold")
    made_with.write_text(json.dumps(noted))
    manifold.limits.fill_(2.0)
    evaluate(config(file, tmp_path, *small["paired"], "items=2"))  # earlier versions did not note it
    manifold.limits.fill_(3.0)
    with pytest.raises(InputError, match=r"The manifold of .* changed since it was started"):
        evaluate(config(file, tmp_path, *small["paired"]))


def test_two_ranks_equal_one(
    config: Any, small: Any, file: Path, tmp_path: Path, repository: Path, free_port: int
) -> None:
    given = [*small["paired"], "method=draggan", "task.max_steps=1", "batch=1", "timed=0"]
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
