"""`scripts/trajectories.py`: processes, kills, two runs at a time, and user errors."""

import os
import re
import signal
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from autodrag.config import compose, typed
from autodrag.data.make import TrajectoriesConfig, fill_folder, run
from autodrag.data.shards import read_index
from autodrag.data.trajectories import Recipe
from autodrag.data.workers import make_samples
from autodrag.errors import InputError
from autodrag.generator import FrozenGenerator
from third_party.stylegan2.readers import write_safetensors

LOW_THRESHOLDS = [
    *("trajectory.n=3", "trajectory.handle_px=4", "trajectory.step_px=2", "trajectory.jump=0", "trajectory.keep=20"),
    *("trajectory.lam=[0.1,0.3]", "trajectory.psi=0.8", "trajectory.attempts=30", "seed=5", "shard_size=4", "count=16"),
    *("trajectory.match.resolution=256", "trajectory.match.features=400", "trajectory.match.edge_px=8"),
    *("trajectory.match.gms_factor=2", "trajectory.match.return_px=6", "trajectory.match.consistency_px=20"),
    *("trajectory.match.consistency_count=2", "trajectory.match.max_px=300", "trajectory.match.feature_ratio=2"),
]


@pytest.fixture(scope="module")
def overrides(tiny: FrozenGenerator, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The settings of `small_recipe`, with a generator file."""
    path = tmp_path_factory.mktemp("generator") / "tiny.safetensors"
    network = tiny.trainable_copy()
    write_safetensors(path, network.config, network.state_dict())
    return [f"dataset={path}", *LOW_THRESHOLDS]


def config(overrides: list[str], *more: str) -> TrajectoriesConfig:
    return typed(TrajectoriesConfig, compose("trajectories", [*overrides, *more]))


# The script given as the first argument; it says when its first shard is in the manifest, and waits there.
HELD = """
import runpy, sys
from autodrag.data.shards import ShardIndex

write = ShardIndex.write

def held(self, folder):
    write(self, folder)
    print("written", flush=True)
    sys.stdin.read()

ShardIndex.write = held
del sys.argv[0]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_a_killed_run_is_locked_while_it_lives_and_continues_after(
    repository: Path, overrides: list[str], tiny: FrozenGenerator, small_recipe: Recipe, tmp_path: Path
) -> None:
    folder, whole = tmp_path / "killed", tmp_path / "whole"
    script = [sys.executable, "-c", HELD, str(repository / "scripts" / "trajectories.py")]
    first = subprocess.Popen(
        [*script, *overrides, f"out={folder}", "workers=2"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert first.stdout is not None and first.stdout.readline() == "written\n"
        assert [*read_index(folder).shards] == [0]
        written = (folder / "shard-00000.safetensors").stat().st_mtime_ns
        with pytest.raises(InputError, match=f"Process {first.pid} is using"):
            run(config(overrides, f"out={folder}", "workers=0"))
    finally:
        first.send_signal(signal.SIGKILL)
        print(first.communicate()[1])  # returns when the workers too have closed their ends: none is left behind

    run(config(overrides, f"out={folder}", "workers=0"))
    assert (folder / "shard-00000.safetensors").stat().st_mtime_ns == written  # kept
    fill_folder(whole, small_recipe, partial(make_samples, lambda: tiny, small_recipe, 0), count=16, shard_size=4)
    names = sorted(path.name for path in whole.iterdir())
    assert names == sorted(path.name for path in folder.iterdir())
    assert all((folder / name).read_bytes() == (whole / name).read_bytes() for name in names)
    assert read_index(folder).samples == 16


def test_bad_input_is_one_line_and_status_2(command: Any, overrides: list[str], tmp_path: Path) -> None:
    said = command("trajectories", *overrides, f"out={tmp_path}", "trajectory.n=0")
    assert said == (2, "", "trajectory.n is 0, expected at least one step.\n")


def test_a_resumed_folder_keeps_its_type(overrides: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for suits, count in (("float32", 1), ("bfloat16", 2)):  # the second time on another machine
        monkeypatch.setattr("autodrag.data.make.choose", lambda asked, device, suits=suits: suits)
        run(config(overrides, f"out={tmp_path}", "workers=0", "dtype=auto", f"count={count}"))
    manifest = read_index(tmp_path)
    assert manifest.recipe.dtype == "float32" and manifest.totals().samples == 2


def test_table_of_motions(overrides: list[str], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    trial = ["calibrate=true", "calibration.lam=[0.1,0.3]", "calibration.psi=[0.8]", "calibration.draws=2"]
    run(config(overrides, *trial, f"out={tmp_path / 'nothing'}"))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 + 3 + 1  # two lambdas and the jump, and the key to set
    key = re.fullmatch(r"Set (trajectory\.lam=\[0\.[13],0\.3\])", lines[-1])
    assert key is not None
    assert config(overrides, key[1]).trajectory.lam[1] == 0.3
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("wrong", ["calibration.draws=0", "count=0", "shard_size=0", "workers=-1", "device=abacus"])
def test_impossible_settings(overrides: list[str], wrong: str, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        run(config(overrides, wrong, f"out={tmp_path}"))


def test_the_shipped_config_has_the_papers_numbers() -> None:
    trajectory = typed(TrajectoriesConfig, compose("trajectories", ["dataset=ffhq"])).trajectory
    assert (trajectory.n, trajectory.handle_px, trajectory.step_px) == (5, 50.0, None)


def test_own_process_id_is_no_obstacle(overrides: list[str], tmp_path: Path) -> None:
    """After a restart, a container assigns the same process ids again."""
    (tmp_path / "lock").write_text(f"{os.getpid()} {socket.gethostname()}")
    run(config(overrides, f"out={tmp_path}", "workers=0", "count=1"))
    assert read_index(tmp_path).samples == 1
