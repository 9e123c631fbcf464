"""Shapes and channels of generators, as their tensors tell them."""

import dataclasses

import pytest
import torch

from third_party.stylegan2 import Generator
from third_party.stylegan2.readers import read_checkpoint, write_safetensors


@pytest.mark.parametrize("first", [(4, 8), (8, 4), (3, 5), (5, 4), (1, 1), (8, 8), (4, 6)])
@pytest.mark.parametrize("noise", [True, False])
def test_the_first_constant_tells_the_shape(forger, variants, make_random, first, noise, same):
    config = dataclasses.replace(
        variants["resnet" if noise else "plain"], resolution=(4 * first[0], 4 * first[1]), use_noise=noise
    )
    found = read_checkpoint(forger.nvidia(config))
    assert found.config == config
    network = Generator(found.config)
    network.load_state_dict(found.state, strict=True)
    assert network(torch.randn(2, config.z_dim)).shape == (2, 3, *config.resolution)
    assert same(found.state, make_random(config, 1).state_dict())


def test_blocks_that_are_numbered_by_their_own_height(read, config, make_random, tmp_path, same, refuses):
    wide = dataclasses.replace(config, resolution=(20, 12))
    state = make_random(wide).state_dict()
    names = {f"b{4 << i}.": f"b{5 << i}." for i in range(3)}
    renamed = {}
    for name, tensor in state.items():
        block = next((old for old in names if f".{old}" in name), "")
        renamed[name.replace(f".{block}", f".{names[block]}") if block else name] = tensor
    with pytest.warns(UserWarning, match="bare state dict"):
        found = read({"G_ema": renamed})
    assert found.config == wide
    assert same(found.state, state)
    del renamed["synthesis.b10.conv1.bias"]
    with pytest.warns(UserWarning, match="bare state dict"):
        torch.save({"G_ema": renamed}, tmp_path / "lacking")
        refuses(tmp_path / "lacking", "synthesis.b10.conv1.bias")


def test_blocks_that_do_not_double_are_a_sentence_about_the_shape(read, state, tmp_path, refuses):
    for name in ("synthesis.b16.conv0.noise_const", "synthesis.b16.conv1.noise_const"):
        state[name] = torch.zeros(16, 24)
    torch.save({"G_ema": dict(state)}, tmp_path / "file")
    with pytest.warns(UserWarning, match="bare state dict"):
        text = refuses(tmp_path / "file", "[16, 24]", "[16, 16]", "twice as high and wide")
    assert "download" not in text


@pytest.mark.parametrize("channels", [2, 4])
def test_images_of_other_channels_are_refused(forger, config, make_random, tmp_path, channels, refuses):
    other = dataclasses.replace(config, img_channels=channels)
    refuses(forger.nvidia(other), f"{channels} channels", "grey", "RGB")
    write_safetensors(tmp_path / "file", other, make_random(other).state_dict())
    refuses(tmp_path / "file", f"{channels} channels")
