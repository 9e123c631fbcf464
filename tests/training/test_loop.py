"""The loop on a toy stage: learning, kills, resume, several ranks, and failures."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
import torch

from autodrag.devices import pick_device
from autodrag.errors import InputError
from autodrag.runs.folder import RunFolder
from autodrag.training.stages.base import Budget, Schedule

Full = Callable[[int], AbstractContextManager[None]]


def equal(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    theirs = b.state_dict()
    return all(torch.equal(tensor, theirs[name]) for name, tensor in a.state_dict().items())


def stats(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "stats.jsonl").read_text().splitlines()]


def test_training_lowers_the_loss_and_logs_it(toy: ModuleType, tmp_path: Path) -> None:
    toy.run(tmp_path, steps=60)
    lines = [line for line in stats(tmp_path) if "loss" in line]
    assert lines[-1]["step"] == 60 and len(lines) == 30
    assert lines[-1]["loss"] < lines[0]["loss"] / 5
    assert lines[-1]["lr/model"] == pytest.approx(0.0055, abs=5e-4)  # about half-way down the cosine
    assert any("validation/loss" in line for line in stats(tmp_path))
    assert {"env.json", "config.yaml", "log.txt", "checkpoints"} <= {path.name for path in tmp_path.iterdir()}
    assert list(tmp_path.glob("events.out*"))


def test_a_run_killed_at_any_time_resumes_to_the_same_weights(toy: ModuleType, tmp_path: Path) -> None:
    whole = toy.run(tmp_path / "whole", steps=40)
    killed = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, str(toy.__file__), str(killed), "40", "0.03"])
    while not list(killed.glob("checkpoints/step-*[5-9].safetensors")) and process.poll() is None:
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    resumed = toy.run(killed, steps=40)
    assert equal(resumed, whole)
    assert [line["step"] for line in stats(killed) if "loss" in line] == list(range(2, 41, 2))


def test_sigterm_saves_and_stops(toy: ModuleType, tmp_path: Path) -> None:
    rarely = replace(toy.LOOP, logger=replace(toy.LOOP.logger, checkpoint_minutes=100.0))
    toy.run(tmp_path / "told", steps=20, loop=rarely, signalled=60)  # in step 8
    assert [path.stem for path in (tmp_path / "told" / "checkpoints").iterdir()] == ["step-000000008"]
    assert "Stopped at step 8" in (tmp_path / "told" / "log.txt").read_text()
    resumed = toy.run(tmp_path / "told", steps=20, loop=rarely)
    assert equal(resumed, toy.run(tmp_path / "whole", steps=20, loop=rarely))


def test_two_ranks_take_the_steps_of_one(toy: ModuleType, tmp_path: Path, free_port: int) -> None:
    alone = toy.run(tmp_path / "one", steps=10)
    shared = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port)}
    command = [sys.executable, str(toy.__file__), str(tmp_path / "two"), "10"]
    ranks = [subprocess.Popen(command, env={**shared, "RANK": str(r), "LOCAL_RANK": str(r)}) for r in range(2)]
    assert [process.wait(timeout=500) for process in ranks] == [0, 0]
    for name, tensor in torch.load(tmp_path / "two" / "final.pt").items():
        assert torch.allclose(tensor, alone.state_dict()[name], atol=1e-5)
    # ... and one rank resumes where two stopped
    longer = toy.run(tmp_path / "two", steps=14)
    for name, tensor in toy.run(tmp_path / "one", steps=14).state_dict().items():
        assert torch.allclose(tensor, longer.state_dict()[name], atol=1e-5)


def test_parts_add_up_to_the_batch(toy: ModuleType, tmp_path: Path) -> None:
    whole = toy.run(tmp_path / "whole", steps=10)
    parts = toy.run(tmp_path / "parts", steps=10, loop=replace(toy.LOOP, accumulate=4))
    for name, tensor in whole.state_dict().items():
        assert torch.allclose(parts.state_dict()[name], tensor, atol=1e-5)


def test_steps_that_are_not_finite_are_skipped_and_counted(toy: ModuleType, tmp_path: Path) -> None:
    trained = toy.run(tmp_path, steps=10, broken=[8, 9, 40])  # in the steps 1 and 5
    assert [line["skipped"] for line in stats(tmp_path) if "skipped" in line] == [1.0, 1.0, 2.0, 2.0, 2.0]
    assert all(torch.isfinite(tensor).all() for tensor in trained.state_dict().values())
    assert all(line.get("loss", 0.0) == line.get("loss", 0.0) for line in stats(tmp_path))


def test_a_loss_that_stays_not_finite_ends_the_run_with_a_clear_error(toy: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="last 3 steps"):
        toy.run(tmp_path, steps=50, broken=range(80, 400))


def test_a_full_disk_leaves_the_last_checkpoint_whole(toy: ModuleType, tmp_path: Path, files_of_at_most: Full) -> None:
    toy.run(tmp_path, steps=6)
    before = sorted((tmp_path / "checkpoints").iterdir())
    with files_of_at_most(6000), pytest.raises(InputError, match="step-000000008"):
        toy.run(tmp_path, steps=8)
    assert sorted((tmp_path / "checkpoints").iterdir()) == before
    assert equal(toy.run(tmp_path, steps=12), toy.run(tmp_path / "whole", steps=12))


def test_a_log_that_cannot_be_written_does_not_end_the_training(
    toy: ModuleType, tmp_path: Path, files_of_at_most: Full
) -> None:
    toy.run(tmp_path, steps=100)
    before = (tmp_path / "stats.jsonl").stat().st_size
    with files_of_at_most(before + 100):  # checkpoints are smaller
        toy.run(tmp_path, steps=160)
    assert (tmp_path / "stats.jsonl").stat().st_size == before + 100
    assert "step-000000160.safetensors" in [path.name for path in (tmp_path / "checkpoints").iterdir()]


def test_a_run_that_cannot_start_again_leaves_its_folder_as_it_was(tmp_path: Path, files_of_at_most: Full) -> None:
    """Without the whole config.yaml, no later command would resume it."""
    with RunFolder(tmp_path, "seed: 0\n" * 100) as folder:
        folder.add(1, {"loss": 1.0})
    before = {name: (tmp_path / name).read_bytes() for name in ("config.yaml", "env.json", "stats.jsonl")}
    with files_of_at_most(10), pytest.raises(InputError, match=r"config\.yaml cannot be written"):
        RunFolder(tmp_path, "seed: 0\n" * 100, 1)
    assert {name: (tmp_path / name).read_bytes() for name in before} == before


def test_a_damaged_checkpoint_is_passed_over(toy: ModuleType, tmp_path: Path) -> None:
    whole = toy.run(tmp_path / "whole", steps=12)
    toy.run(tmp_path / "cut", steps=6)
    newest = sorted((tmp_path / "cut" / "checkpoints").iterdir())[-1]
    newest.write_bytes(newest.read_bytes()[:200])
    again = toy.run(tmp_path / "cut", steps=6)
    assert equal(again, toy.run(tmp_path / "other", steps=6)) and not equal(again, whole)


def test_a_value_of_some_steps_is_averaged_over_these(
    toy: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward, steps = toy.Toy.forward, itertools.count()

    def sometimes(self: torch.nn.Module, batch: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        loss, logs = forward(self, batch)
        return loss, {**logs, **({"rare": torch.tensor(3.0)} if next(steps) in (1, 4, 5) else {})}

    monkeypatch.setattr(toy.Toy, "forward", sometimes)
    toy.run(tmp_path, steps=6)
    assert [line.get("rare") for line in stats(tmp_path) if "loss" in line] == [3.0, None, 3.0]


def test_autocast_keeps_no_weights_converted_without_gradients(
    toy: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, forward = [], toy.Toy.forward

    def watched(self: torch.nn.Module, batch: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        seen.append((torch.is_autocast_enabled("cpu"), torch.is_autocast_cache_enabled()))
        return forward(self, batch)

    monkeypatch.setattr(toy.Toy, "forward", watched)
    toy.run(tmp_path, steps=2, loop=replace(toy.LOOP, precision="bfloat16"))
    assert seen[:2] == [(True, False)] * 2


def test_bad_budgets_are_refused(toy: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="multiple of 3"):
        toy.run(tmp_path, steps=2, loop=replace(toy.LOOP, accumulate=3))
    with pytest.raises(InputError, match="at least 1"):
        toy.run(tmp_path, steps=0)


def test_missing_devices_are_refused() -> None:
    assert pick_device("cpu").type == "cpu"
    with pytest.raises(InputError, match="Unknown device"):
        pick_device("gpu")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="no CUDA device"):
            pick_device("cuda")


def test_schedules_are_those_of_the_paper() -> None:
    cosine = Schedule(1e-5, min_lr=1e-7, period=30.0)
    assert cosine.at(0.0, 150.0) == cosine.at(30.0, 150.0) == cosine.at(120.0, 150.0) == pytest.approx(1e-5)
    assert cosine.at(15.0, 150.0) == pytest.approx((1e-5 + 1e-7) / 2)
    assert cosine.at(29.999, 150.0) == pytest.approx(1e-7, rel=1e-3)
    assert Schedule(1e-3).at(49.0, 50.0) == 1e-3
    assert Schedule(1.0, min_lr=0.0).at(50.0, 50.0) == pytest.approx(0.0)
    assert Schedule(1.0, warmup=2.0).at(1.0, 50.0) == pytest.approx(0.5)
    assert Budget(epochs=150.0, samples=10_000, batch=16).steps == 93_750
