"""Checkpoints of rosinality's StyleGAN2."""

import dataclasses

import pytest
import torch

from third_party.stylegan2 import Generator
from third_party.stylegan2.readers import CheckpointError, read_checkpoint, write_rosinality
from third_party.stylegan2.readers.rosinality import rosinality_checkpoint


@pytest.fixture
def config(tiny_config):
    """A generator that the format can express: z, w and the mapping equally wide."""
    return dataclasses.replace(tiny_config, z_dim=8, mapping_layers=3)


def refuses(path, *words):
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "\n" not in str(caught.value)


def test_golden_file(golden):
    checkpoint = read_checkpoint(golden("rosinality_64.pt"))
    stored = torch.load(golden("rosinality_64.pt"), weights_only=True)
    assert checkpoint.kind == "rosinality"
    assert checkpoint.config.channels == {4: 32, 8: 32, 16: 24, 32: 24, 64: 16}
    assert torch.equal(checkpoint.state["mapping.w_avg"], stored["latent_avg"])
    assert torch.equal(checkpoint.state["synthesis.b8.conv0.weight"], stored["g_ema"]["convs.0.conv.weight"][0])
    Generator(checkpoint.config).load_state_dict(checkpoint.state, strict=True)


def test_written_golden_file_has_their_tensors(golden, tmp_path):
    checkpoint = read_checkpoint(golden("rosinality_64.pt"))
    write_rosinality(tmp_path / "again.pt", checkpoint.config, checkpoint.state)
    again = torch.load(tmp_path / "again.pt", weights_only=True)
    stored = torch.load(golden("rosinality_64.pt"), weights_only=True)
    assert set(again["g_ema"]) == set(stored["g_ema"])
    for name, tensor in stored["g_ema"].items():
        assert torch.allclose(again["g_ema"][name], tensor, rtol=0, atol=1e-7)


@pytest.mark.parametrize("legacy", [False, True])
def test_round_trip(config, make_random, tmp_path, legacy):
    generator = make_random(config)
    checkpoint = rosinality_checkpoint(config, generator.state_dict())
    path = tmp_path / "file"
    content = checkpoint | {"g": {"style.1.weight": torch.ones(1)}, "g_optim": {"state": {0: {"step": 3}}}}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    again = read_checkpoint(path)
    assert again.config == config
    assert all(torch.equal(again.state[name], tensor) for name, tensor in generator.state_dict().items())


def test_multiplier_is_folded_into_the_weights(config, make_random, tmp_path):
    config = dataclasses.replace(config, mapping_lr_multiplier=1.0)
    generator = make_random(config)
    write_rosinality(tmp_path / "file", config, generator.state_dict())
    checkpoint = read_checkpoint(tmp_path / "file")
    assert checkpoint.config.mapping_lr_multiplier == 0.01
    again = Generator(checkpoint.config)
    again.load_state_dict(checkpoint.state, strict=True)
    z = torch.randn(4, config.z_dim, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(again.mapping(z), generator.mapping(z), rtol=1e-4, atol=1e-5)


def test_average_latent_of_a_training_checkpoint(config, make_random, tmp_path):
    generator = make_random(config)
    checkpoint = rosinality_checkpoint(config, generator.state_dict())
    torch.save({"g_ema": checkpoint["g_ema"]}, tmp_path / "file")
    z = torch.randn(20000, config.z_dim, generator=torch.Generator().manual_seed(1))
    ws = generator.mapping(z)[:, 0].detach()
    error = read_checkpoint(tmp_path / "file").state["mapping.w_avg"] - ws.mean(dim=0)
    assert error.abs().max() < 0.1 * ws.std(dim=0).max()


def test_each_missing_or_misshapen_tensor_is_named(config, make_random, tmp_path):
    path = tmp_path / "file"
    checkpoint = rosinality_checkpoint(config, make_random(config).state_dict())
    for name, tensor in checkpoint["g_ema"].items():
        others = {key: value for key, value in checkpoint["g_ema"].items() if key != name}
        torch.save(checkpoint | {"g_ema": others}, path)
        refuses(path, name)
        torch.save(checkpoint | {"g_ema": others | {name: torch.cat([tensor, tensor])}}, path)
        refuses(path, name)
    torch.save(checkpoint | {"latent_avg": torch.zeros(3)}, path)
    refuses(path, "latent_avg")
    torch.save(checkpoint | {"g_ema": checkpoint["g_ema"] | {"convs.0.extra": torch.zeros(3)}}, path)
    refuses(path, "convs.0.extra")


def test_other_networks_are_named(tmp_path):
    path = tmp_path / "file"
    torch.save({"d": {"convs.0.weight": torch.ones(2)}}, path)
    refuses(path, " d ", "g_ema")
    torch.save({"g_ema": {"progression.0.weight": torch.ones(2)}}, path)
    refuses(path, "g_ema")
    torch.save({"generator": {}, "g_running": {}}, path)
    refuses(path, "StyleGAN1")


def test_what_cannot_be_written(variants, make_random, tmp_path):
    for kind in ("orig", "resnet", "conditional", "rectangle", "grey", "no noise", "short filter", "plain"):
        with pytest.raises(
            CheckpointError, match=r"^rosinality's format has no .*: write a \.safetensors file instead\.$"
        ):
            write_rosinality(tmp_path / "file", variants[kind], make_random(variants[kind]).state_dict())
    assert not list(tmp_path.iterdir())
