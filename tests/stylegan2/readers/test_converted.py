"""What is converted loads back, here and elsewhere."""

import dataclasses

import pytest
import torch

from third_party.stylegan2 import Generator
from third_party.stylegan2.readers import CheckpointError, convert, read_checkpoint


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth", ".PTH"])
def test_what_convert_writes_loads_back(forger, variants, make_random, tmp_path, suffix, same):
    for kind, config in variants.items():
        config = dataclasses.replace(config, z_dim=8)
        source, target = forger.nvidia(config), tmp_path / f"{kind}{suffix}"
        try:
            convert(source, target)
        except CheckpointError as error:
            assert suffix == ".pt"
            assert "rosinality's format has no" in str(error)
            continue
        found = read_checkpoint(target)
        if suffix == ".pt" and config.mapping_lr_multiplier != 0.01:  # it is folded into the weights
            config = dataclasses.replace(config, mapping_lr_multiplier=0.01)
            found.state.update(make_random(config, 1).mapping.state_dict(prefix="mapping."))
        assert found.config == config, kind
        assert same(found.state, make_random(config, 1).state_dict()), kind


def test_a_converted_state_dict_still_loads_strictly_elsewhere(forger, variants, tmp_path):
    convert(forger.nvidia(variants["conditional"]), tmp_path / "out.pth")
    stored = torch.load(tmp_path / "out.pth", weights_only=True)
    Generator(variants["conditional"]).load_state_dict(stored, strict=True)
