"""Files of models: what they hold comes back, and files that do not fit are one sentence that names them."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from autodrag.errors import InputError
from autodrag.models import Aim, AimConfig, Regularizer


@pytest.fixture
def aim(tmp_path: Path) -> Path:
    Aim(AimConfig(grid=4, width=8, layers=1), w_dim=6).save(tmp_path / "aim.safetensors")
    return tmp_path / "aim.safetensors"


def test_a_loaded_network_is_frozen_and_complete(aim: Path) -> None:
    loaded = Aim.load(aim)
    assert not loaded.training and not any(parameter.requires_grad for parameter in loaded.parameters())
    loaded.save(aim.with_name("again.safetensors"))
    again = Aim.load(aim.with_name("again.safetensors"))
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), again.parameters(), strict=True))


def test_half_of_the_bytes_come_back_as_float32(aim: Path) -> None:
    loaded = Aim.load(aim)
    loaded.save(aim.with_name("half.safetensors"), half=True)
    half = Aim.load(aim.with_name("half.safetensors"))
    for a, b in zip(loaded.parameters(), half.parameters(), strict=True):
        assert b.dtype == torch.float32 and torch.equal(a.half().float(), b)


def test_another_kind_is_refused(aim: Path) -> None:
    with pytest.raises(InputError, match=r"aim\.safetensors holds no regularizer .* stage=1 run"):
        Regularizer.load(aim)


@pytest.mark.parametrize("change", ["option", "missing option", "weight"])
def test_a_file_of_another_version_is_named(aim: Path, change: str) -> None:
    with safe_open(aim, "pt") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    config = json.loads(metadata["config"])
    if change == "option":
        config["aim"]["change"] = 0.05
    elif change == "missing option":
        del config["w_dim"]
    else:
        tensors["older.weight"] = tensors.pop(next(iter(tensors)))
    save_file(tensors, aim, {**metadata, "config": json.dumps(config)})
    with pytest.raises(InputError, match=r"aim\.safetensors was written by another version .* stage=aim run"):
        Aim.load(aim)
