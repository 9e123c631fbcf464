"""Random tensors under rosinality's names, and what reading a file gives or says."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from third_party.stylegan2 import Generator, GeneratorConfig
from third_party.stylegan2.readers import Checkpoint, CheckpointError, read_checkpoint
from third_party.stylegan2.readers.rosinality import rosinality_checkpoint

State = dict[str, Tensor]


@pytest.fixture
def config(tiny_config: GeneratorConfig) -> GeneratorConfig:
    """A generator that rosinality's format can express: z, w and the mapping equally wide."""
    return dataclasses.replace(tiny_config, z_dim=8, mapping_layers=3)


@pytest.fixture
def state(config: GeneratorConfig, make_random: Callable[..., Generator]) -> State:
    """Random tensors of it."""
    return make_random(config, 1).state_dict()


@pytest.fixture
def theirs(config: GeneratorConfig, state: State) -> State:
    """rosinality's g_ema of `state`."""
    return rosinality_checkpoint(config, state)["g_ema"]


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Checkpoint]:
    """A function that saves an object as torch does and reads the file."""

    def write_and_read(thing: Any, **options: Any) -> Checkpoint:
        torch.save(thing, tmp_path / "file", **options)
        return read_checkpoint(tmp_path / "file")

    return write_and_read


@pytest.fixture
def same() -> Callable[..., bool]:
    """same(state, wanted, but=()): whether the names and, without those that end with `but`, the tensors are equal."""

    def compare(state: State, wanted: State, but: str | tuple[str, ...] = ()) -> bool:
        names = [name for name in wanted if not name.endswith(but)]
        return set(state) == set(wanted) and all(torch.equal(state[name], wanted[name]) for name in names)

    return compare


@pytest.fixture
def refuses() -> Callable[..., str]:
    """refuses(path, *words): reading the file raises one line with the words, which is returned."""

    def check(path: Path, *words: str) -> str:
        with pytest.raises(CheckpointError) as caught:
            read_checkpoint(path)
        text = str(caught.value)
        assert all(word in text for word in words), text
        assert "\n" not in text
        return text

    return check
