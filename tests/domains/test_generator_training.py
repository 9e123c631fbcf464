"""The training of the synthface generator: losses fall, sizes grow, a killed run continues exactly."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from autodrag.config import compose, typed
from autodrag.domains.synthface.generator_training import (
    GeneratorTrainer,
    GeneratorTraining,
    GrowthStage,
    Learner,
    _yield_cores,
    energy_error,
)
from autodrag.domains.synthface.make import MakeSynthfaceConfig, make
from autodrag.domains.synthface.parameters import GEOMETRY, coordinates, squash
from autodrag.domains.synthface.renderer import render
from autodrag.domains.synthface.targets import Targets
from autodrag.errors import InputError
from autodrag.loading import load_generator
from third_party.stylegan2.readers import write_safetensors

SMALL = ((4, 8), (8, 8), (16, 8), (32, 8), (64, 8))
TWO_SIZES = (GrowthStage("32", 32, 24, 4), GrowthStage("64", 64, 8, 2, loss="absolute"))


def training(*stages: GrowthStage) -> GeneratorTraining:
    return GeneratorTraining(stages=stages, w_dim=16, channels=SMALL, precision="float32")


def test_renderer_processes_start_on_windows_too(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delattr(os, "nice")
    _yield_cores(0)


class KilledError(Exception):
    """Simulates a signal."""


def test_targets_are_renders_of_their_latents_and_a_function_of_the_index():
    first, again, other = (Targets(1, 64, 4, 0.5)[i] for i in (3, 3, 4))
    assert torch.equal(first.image, again.image) and not torch.equal(first.image, other.image)
    assert torch.equal(first.z[0, 2:], first.z[2, 2:]) and not torch.equal(first.z[0, :2], first.z[2, :2])
    plain = torch.nonzero(first.place[0] == 0)[0, 0]
    geometry = squash(coordinates(first.z[0]))[plain, : len(GEOMETRY)]
    appearance = squash(coordinates(first.z[2]))[plain, len(GEOMETRY) :]
    torch.testing.assert_close(
        render(geometry[None], appearance[None], 64).image[0], first.image[plain], atol=2e-5, rtol=0
    )


def test_a_perfect_picture_has_only_the_loss_of_the_heads():
    learner = Learner(replace(training(), precision="bfloat16"), GrowthStage("32", 32, 8, 2))
    target = Targets(0, 32, 2, 0.5)[0]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        made, _ = learner.images(target)
    _, logs = learner(replace(target, image=made.float().detach()))
    assert logs["mae"] == pytest.approx(0, abs=1e-6)
    assert logs["loss"] == pytest.approx(0.3 * logs["heads"], rel=1e-5)


def test_rows_from_six_come_from_the_appearance_latents():
    learner = Learner(training(), GrowthStage("32", 32, 8, 2))
    target = Targets(0, 32, 2, 1.0)[0]
    recoloured = replace(target, z=torch.cat([target.z[:2], torch.randn_like(target.z[2:])]))
    with torch.no_grad():
        (_, before), (_, after) = (learner.images(t, (3, 4)) for t in (target, recoloured))
    assert torch.equal(before[3], after[3])  # 16 px: rows 0-4
    assert not torch.equal(before[4], after[4])  # 32 px: its second convolution reads row 6


def test_energy_is_blind_to_where_edges_are_but_not_to_their_number():
    stripes = torch.zeros(1, 3, 16, 16)
    stripes[..., ::4] = 1
    moved = stripes.roll(2, dims=3)
    assert energy_error(stripes, stripes) == 0
    assert energy_error(moved, stripes) < 0.2 * energy_error(torch.zeros_like(stripes), stripes)


def test_a_killed_run_continues_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    config = replace(training(*TWO_SIZES), save_seconds=0.0)
    whole = GeneratorTrainer(config, tmp_path / "whole")
    whole.run()

    broken = GeneratorTrainer(config, tmp_path / "broken")
    save, calls = broken._save, []

    def save_and_die() -> None:
        save()
        calls.append(None)
        if len(calls) == 4:
            raise KilledError

    monkeypatch.setattr(broken, "_save", save_and_die)
    with pytest.raises(KilledError):
        broken.run()
    resumed = GeneratorTrainer(config, tmp_path / "broken")
    assert (resumed.stage_index, resumed.step) == (0, 4)
    resumed.run()
    for name, value in whole.averaged().state_dict().items():
        assert torch.equal(value, resumed.averaged().state_dict()[name]), name


def test_a_full_disk_is_a_clear_error_and_keeps_the_state(tmp_path: Path, files_of_at_most: Any):
    trainer = GeneratorTrainer(training(GrowthStage("32", 32, 4, 4)), tmp_path)
    trainer.run()
    before = trainer.state_path.read_bytes()
    with files_of_at_most(1000), pytest.raises(InputError, match=r"state\.safetensors cannot be written"):
        trainer._save()
    assert trainer.state_path.read_bytes() == before


def test_adams_state_is_on_the_device_of_the_training(tmp_path: Path):
    """Fused Adam on a GPU reads its count of steps there: the second stage of a training begins with a saved one."""
    trainer = GeneratorTrainer(training(GrowthStage("32", 32, 4, 4)), tmp_path)
    trainer.run()
    stage = trainer.training.stages[0]
    with FakeTensorMode(allow_non_fake_inputs=True), torch.device("cuda:0"):
        trainer.learner, trainer.average = Learner(trainer.training, stage), Learner(trainer.training, stage)
        trainer.optimiser = torch.optim.Adam(trainer.learner.parameters(), fused=True)
        trainer._restore({name: torch.zeros(value.shape, device="cpu") for name, value in trainer.carried.items()})
    state = trainer.optimiser.state.values()
    assert {key: t.device.type for each in state for key, t in each.items()} == dict.fromkeys(
        ("step", "exp_avg", "exp_avg_sq"), "cuda"
    )


def test_another_training_in_the_same_folder_is_refused(tmp_path: Path):
    first = GeneratorTrainer(replace(training(GrowthStage("32", 32, 4, 4)), save_seconds=0.0), tmp_path)
    first.run()
    with pytest.raises(InputError, match="other settings"):
        GeneratorTrainer(replace(first.training, seed=1), tmp_path)


def test_the_loss_falls():
    torch.manual_seed(0)
    learner = Learner(training(), GrowthStage("32", 32, 8, 4))
    target = Targets(0, 32, 4, 0.5)[0]
    optimiser = torch.optim.Adam(learner.parameters(), lr=5e-3, betas=(0.9, 0.99))
    losses = []
    for _ in range(40):
        loss, _ = learner(target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_the_command_trains_and_writes_a_generator_that_loads(tmp_path: Path):
    stage = "{name: a, size: 32, images: 8, batch: 4, lr: 1e-3, lr_end: 1e-3, loss: squared, feature_weight: 1.0,"
    stage += " gradient_weight: 1.0, energy_weight: 1.0, mixed: 0.5}"
    overrides = [f"run={tmp_path}/run", f"assets={tmp_path}/assets", "steps=[generator]", f"generator.stages=[{stage}]"]
    make(typed(MakeSynthfaceConfig, compose("make_synthface", overrides)))
    generator = load_generator(tmp_path / "assets" / "generator.safetensors")
    assert generator.resolution == (32, 32) and generator.w_avg.abs().max() > 0
    with pytest.raises(InputError, match="no step 'paint'"):
        make(typed(MakeSynthfaceConfig, compose("make_synthface", [*overrides, "steps=[paint]"])))


@pytest.mark.parametrize("name", ["g.safetensors", "first/state.safetensors"])
def test_a_training_can_start_from_a_generator_file_or_another_training(tmp_path: Path, name: str):
    first = GeneratorTrainer(training(GrowthStage("32", 32, 4, 4)), tmp_path / "first")
    first.run()
    write_safetensors(tmp_path / "g.safetensors", first.training.config(32), first.averaged().state_dict())
    still = replace(training(GrowthStage("32", 32, 4, 4, lr=0.0, lr_end=0.0)), start=str(tmp_path / name), seed=5)
    second = GeneratorTrainer(still, tmp_path / "second")
    second.run()
    kind = "now" if name.startswith("first") else "average"  # a generator file has no others
    for key, value in first.carried.items():
        if key.startswith(f"{kind}/generator."):
            assert torch.equal(value, second.carried[key]), key
