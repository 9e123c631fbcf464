"""Files of rosinality's format padded to the widths that its own program builds."""

import dataclasses

import pytest
import torch

from third_party.stylegan2 import Generator, GeneratorConfig
from third_party.stylegan2.readers import CheckpointError, convert, read_checkpoint, write_rosinality, write_safetensors
from third_party.stylegan2.readers.widths import standard_width, widened

NARROW = GeneratorConfig(
    z_dim=8, c_dim=0, w_dim=8, resolution=(64, 64), channels={4: 7, 8: 6, 16: 5, 32: 5, 64: 3}, mapping_layers=3
)
TABLE = {4: 512, 8: 512, 16: 512, 32: 512, 64: 512, 128: 256, 256: 128, 512: 64, 1024: 32}


@pytest.fixture(scope="module")
def narrow():
    """A generator in which everything is random: biases, noise and its strengths included."""
    rng = torch.Generator().manual_seed(0)
    generator = Generator(NARROW)
    for name, tensor in generator.state_dict().items():
        if not name.endswith("resample_filter"):
            tensor.copy_(torch.randn(tensor.shape, generator=rng) * 0.5)
    return generator.requires_grad_(False)


@pytest.fixture(scope="module")
def path(narrow, tmp_path_factory):
    """Its padded file, by way of `convert`."""
    folder = tmp_path_factory.mktemp("widths")
    write_safetensors(folder / "narrow.safetensors", NARROW, narrow.state_dict())
    convert(folder / "narrow.safetensors", folder / "wide.pt", standard_widths=True)
    return folder / "wide.pt"


@pytest.fixture(scope="module")
def wide(path):
    checkpoint = read_checkpoint(path)
    generator = Generator(checkpoint.config)
    generator.load_state_dict(checkpoint.state, strict=True)
    return generator.requires_grad_(False)


def test_table():
    assert {height: standard_width(height) for height in TABLE} == TABLE


def test_every_tensor_has_the_shape_that_their_program_builds(path):
    shapes = {name: list(tensor.shape) for name, tensor in torch.load(path, weights_only=True)["g_ema"].items()}
    expected = {"input.input": [1, 512, 4, 4]}
    expected |= {f"style.{i}.weight": [8, 8] for i in (1, 2, 3)} | {f"style.{i}.bias": [8] for i in (1, 2, 3)}
    convs = {"conv1": 4} | {f"convs.{i}": 8 << i // 2 for i in range(8)}
    for number, (name, height) in enumerate(convs.items()):
        expected |= {f"{name}.conv.weight": [1, 512, 512, 3, 3], f"{name}.activate.bias": [512]}
        expected |= {f"{name}.noise.weight": [1], f"noises.noise_{number}": [1, 1, height, height]}
    colours = ["to_rgb1", *(f"to_rgbs.{i}" for i in range(4))]
    for name in colours:
        expected |= {f"{name}.conv.weight": [1, 3, 512, 1, 1], f"{name}.bias": [1, 3, 1, 1]}
    for name in [*convs, *colours]:
        expected |= {f"{name}.conv.modulation.weight": [512, 8], f"{name}.conv.modulation.bias": [512]}
    for i in range(4):
        expected |= {f"convs.{2 * i}.conv.blur.kernel": [4, 4], f"to_rgbs.{i}.upsample.kernel": [4, 4]}
    assert shapes == expected


def test_widths_halve_above_64_pixels(variants, make_random):
    config, state = widened(variants["deep"], make_random(variants["deep"]).state_dict())
    assert config.channels == {4: 512, 8: 512, 16: 512, 32: 512, 64: 512, 128: 256}
    assert state["synthesis.b128.conv0.weight"].shape == (256, 512, 3, 3)
    assert state["synthesis.b128.conv0.affine.weight"].shape == (512, 8)
    assert state["synthesis.b128.torgb.weight"].shape == (3, 256, 1, 1)


@pytest.mark.parametrize("noise", ["none", "const"])
def test_same_image(narrow, wide, noise):
    z = torch.randn(1, 8, generator=torch.Generator().manual_seed(1))
    ws = narrow.mapping(z)
    assert torch.allclose(wide.mapping(z), ws, rtol=1e-5, atol=1e-6)
    before, narrow_features = narrow.synthesis(ws, noise, taps=range(1, 6))
    after, wide_features = wide.synthesis(ws, noise, taps=range(1, 6))
    assert (after - before).abs().max() < 1e-4 * before.abs().max()
    for number, features in wide_features.items():
        old = narrow_features[number]
        own, added = features.split([old.shape[1], features.shape[1] - old.shape[1]], dim=1)
        assert (own - old).abs().max() < 1e-4 * old.abs().max()
        assert added.any() == (noise == "const")  # noise does reach the added channels, and yet the image is the same


def test_nothing_reads_an_added_channel(wide):
    """The values of the added channels have no effect on later layers."""
    state, widths = wide.state_dict(), NARROW.channels
    for height in NARROW.blocks:
        for layer in ("conv0", "conv1", "torgb"):
            name = f"synthesis.b{height}.{layer}"
            if f"{name}.weight" in state:
                inputs = widths[height // 2 if layer == "conv0" else height]
                assert not state[f"{name}.weight"][:, inputs:].any()
                assert not state[f"{name}.affine.weight"][inputs:].any()
                assert not state[f"{name}.affine.bias"][inputs:].any()
                if layer != "torgb":
                    assert not state[f"{name}.weight"][widths[height] :].any()
                    assert not state[f"{name}.bias"][widths[height] :].any()
    assert not state["synthesis.b4.const"][widths[4] :].any()


def test_standard_widths_stay_as_they_are():
    config = dataclasses.replace(NARROW, resolution=(4, 4), channels={4: 512})
    state = Generator(config).state_dict()
    again, padded = widened(config, state)
    assert again == config
    assert padded.keys() == state.keys()
    assert all(torch.equal(padded[name], tensor) for name, tensor in state.items())


def test_wider_than_the_standard(make_random, tmp_path):
    config = dataclasses.replace(NARROW, resolution=(4, 4), channels={4: 513})
    sentence = r"^The generator has 513 channels at 4 pixels where rosinality's program has 512 channels: [^.]*\.$"
    with pytest.raises(CheckpointError, match=sentence):
        write_rosinality(tmp_path / "file.pt", config, make_random(config).state_dict(), standard_widths=True)
    assert not list(tmp_path.iterdir())


def test_larger_than_the_standard():
    config = dataclasses.replace(NARROW, resolution=(2048, 2048), channels={4 << i: 1 for i in range(10)})
    with pytest.raises(CheckpointError, match=r"^The generator has 1 channels at 2048 pixels .* no block: [^.]*\.$"):
        widened(config, {})


@pytest.mark.parametrize("kind", ["orig", "resnet", "rectangle", "grey", "no noise"])
def test_what_the_format_cannot_express_is_still_refused(variants, make_random, tmp_path, kind):
    with pytest.raises(CheckpointError, match=r"^rosinality's format has no "):
        write_rosinality(
            tmp_path / "file.pt", variants[kind], make_random(variants[kind]).state_dict(), standard_widths=True
        )


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_other_formats_have_no_standard_widths(tmp_path, suffix):
    with pytest.raises(CheckpointError, match=r"leave out standard_widths"):
        convert(tmp_path / "absent.pkl", tmp_path / f"out{suffix}", standard_widths=True)
