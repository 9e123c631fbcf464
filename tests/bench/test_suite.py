"""The suite for a GPU, with tiny commands on a CPU."""

import json
import time
from pathlib import Path

import pytest

from autodrag.bench.suite import Part, SuiteBench, figures, run, run_part
from autodrag.commands import COMMANDS, _named
from autodrag.config import compose, typed
from autodrag.errors import InputError
from autodrag.generator import FrozenGenerator
from third_party.stylegan2.readers import write_safetensors

SMALL = " ".join(f"model.{n}.{size}" for n in ("predictor", "regularizer") for size in ("width=32", "heads=4"))


def test_it_takes_less_than_nine_minutes() -> None:
    shipped = typed(SuiteBench, compose("bench/suite", ["device=cuda", "out=there"]))
    assert sum(part.seconds for part in shipped.parts.values()) <= 540
    benches = {
        part.command.split()[1] for part in shipped.parts.values() if part.command.startswith("scripts/bench.py")
    }
    assert benches == {"generator", "drag", "data", "editor", "invert", "train"}  # all there are
    assert "-m gpu" in shipped.parts["tests"].command
    assert all("there/" in part.command for part in shipped.parts.values() if "out=" in part.command)
    assert all("device=cuda" in p.command for name, p in shipped.parts.items() if name not in ("tests", "convert"))
    assert {"landing", "live_landing", "convert", "demo", "encoder"} <= shipped.parts.keys()


def test_every_command_of_it_has_keys_that_exist() -> None:
    for part in typed(SuiteBench, compose("bench/suite")).parts.values():
        script, *words = part.command.split()
        if script.startswith("scripts/"):
            name = Path(script).stem
            name = f"bench {words.pop(0)}" if name == "bench" else name
            settings = _named(COMMANDS[name].settings)
            typed(settings, compose(name.replace(" ", "/"), words))


def test_the_table_lists_finished_failed_and_timed_out_parts(
    tiny: FrozenGenerator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repository: Path
) -> None:
    network = tiny.trainable_copy()
    write_safetensors(tmp_path / "tiny.safetensors", network.config, network.state_dict())
    monkeypatch.chdir(repository)
    monkeypatch.setenv("PYTHONPATH", str(repository))
    out = tmp_path / "suite"
    bench = f"scripts/bench.py drag generator={tmp_path}/tiny.safetensors points=[1] draggan_steps=0 repeats=1 {SMALL}"
    parts = {
        "edit": Part(f"{bench} device=cpu out={out}/edit.json", 300.0),
        "wrong": Part("scripts/bench.py nothing", 300.0),
        "slow": Part("-c 'import time; time.sleep(60)'", 0.1),
    }
    with pytest.raises(InputError, match=r"These parts failed: wrong, slow; .*suite.md"):
        run(SuiteBench("cpu", str(out), parts))
    written = json.loads((out / "suite.json").read_text(encoding="utf-8"))
    assert [part["state"] for part in written["parts"]] == ["done", "failed", "out of time"]
    assert written["parts"][0]["figures"]["rows.0.points"] == 1 and written["torch"]
    text = (out / "suite.md").read_text(encoding="utf-8")
    assert "**Not run on a GPU**" in text and "| slow | out of time | " in text
    assert "| rows.0.latents_ms | " in text and "What to time is 'nothing'" in text


def test_a_folder_with_blanks_is_refused(monkeypatch: pytest.MonkeyPatch, repository: Path) -> None:
    monkeypatch.chdir(repository)
    with pytest.raises(InputError, match="without blanks"):
        run(SuiteBench("cpu", "my suite", {}))


def test_a_system_without_process_groups_is_refused(monkeypatch: pytest.MonkeyPatch, repository: Path) -> None:
    monkeypatch.chdir(repository)
    monkeypatch.delattr("os.killpg")  # as on Windows
    with pytest.raises(InputError, match=r"one by one, as in configs/bench/suite\.yaml"):
        run(SuiteBench("cpu", "suite", {}))


def test_child_processes_end_with_their_part(tmp_path: Path) -> None:
    child = f"import time, pathlib; time.sleep(3); pathlib.Path('{tmp_path}/alive').touch()"
    parent = f'import subprocess, sys; subprocess.run([sys.executable, "-c", {child!r}])'
    (tmp_path / "parent.py").write_text(parent, encoding="utf-8")
    assert run_part("parent", Part(str(tmp_path / "parent.py"), 1.5), tmp_path).state == "out of time"
    time.sleep(3)
    assert not (tmp_path / "alive").exists()


def test_figures_of_a_training_are_those_last_logged(tmp_path: Path) -> None:
    folder = tmp_path / "training"
    folder.mkdir()
    lines = [{"step": 1, "loss": 3.0, "validation/left": 0.5}, {"step": 2, "loss": 2.0}]
    (folder / "stats.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    assert figures(tmp_path / "training.json", folder) == {"step": 2, "loss": 2.0, "validation/left": 0.5}
    assert figures(tmp_path / "training.json", tmp_path)["training.loss"] == 2.0  # several runs, as the demo's
    assert figures(tmp_path / "training.json", tmp_path / "none") == {}
