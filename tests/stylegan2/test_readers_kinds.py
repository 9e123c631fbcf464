"""Generators in files of other programs: in other places, behind prefixes, next to anything, and incomplete."""

import argparse
import collections
import dataclasses
import datetime
import functools
import pathlib
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from third_party.stylegan2 import Generator
from third_party.stylegan2.ops import resample_kernel
from third_party.stylegan2.readers import CheckpointError, convert, read_checkpoint, write_safetensors
from third_party.stylegan2.readers.rosinality import rosinality_checkpoint


def refuses(path, *words):
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    text = str(caught.value)
    assert all(word in text for word in words), text
    assert "\n" not in text
    return text


def same(state, wanted, but=()):
    return set(state) == set(wanted) and all(torch.equal(state[n], wanted[n]) for n in wanted if not n.endswith(but))


@pytest.fixture
def config(tiny_config):
    return dataclasses.replace(tiny_config, z_dim=8, mapping_layers=3)


@pytest.fixture
def state(config, make_random):
    return make_random(config, 1).state_dict()


@pytest.fixture
def theirs(config, state):
    """rosinality's g_ema of `state`."""
    return rosinality_checkpoint(config, state)["g_ema"]


@pytest.fixture
def read(tmp_path):
    """A function that saves an object as torch does and reads the file."""

    def write_and_read(thing, **options):
        torch.save(thing, tmp_path / "file", **options)
        return read_checkpoint(tmp_path / "file")

    return write_and_read


# --- places and prefixes ----------------------------------------------------------------------------------------------


def basicsr(names):
    """BasicSR's names of rosinality's tensors; it stores no kernels."""
    renamed = {}
    for name, tensor in names.items():
        if name.endswith(".kernel"):
            continue
        new = name.replace("style.", "style_mlp.") if name.startswith("style.") else name
        new = new.replace("input.input", "constant_input.weight").replace("noises.noise_", "noises.noise")
        new = new.replace(".conv.", ".modulated_conv.").replace(".noise.weight", ".weight")
        for old in ("conv1.", "convs."):
            new = f"style_{new}" if new.startswith(old) else new
        renamed[new] = tensor
    return renamed


@pytest.mark.parametrize(
    "place",
    [
        lambda g, w: {"g_ema": {f"module.{k}": v for k, v in g.items()}, "latent_avg": w},
        lambda g, w: {"g_ema": {f"_orig_mod.module.{k}": v for k, v in g.items()}, "latent_avg": w},
        lambda g, w: {"state_dict": {f"decoder.{k}": v for k, v in g.items()} | {"encoder.a": w}, "latent_avg": w},
        lambda g, w: {"state_dict": {f"net.decoder.module.{k}": v for k, v in g.items()}, "latent_avg": w},
        lambda g, w: {"params": {"x": w}, "params_ema": g, "latent_avg": w},
        lambda g, w: {"params_ema": basicsr(g), "latent_avg": w},
        lambda g, w: {"model": {"g_ema": g, "g": {k: v + 1 for k, v in g.items()}}, "latent_avg": w},
        lambda g, w: g | {"latent_avg": w},
        lambda g, w: {"checkpoint": {"models": {"g_ema": g}, "epoch": np.int64(3)}, "latent_avg": w},
        lambda g, w: {"g_ema": {f"_fsdp_wrapped_module.{k}": v for k, v in g.items()}, "latent_avg": w},
        lambda g, w: {f"g.{k}": v + 1 for k, v in g.items()} | {f"g_ema.{k}": v for k, v in g.items()} | {"w_avg": w},
        lambda g, w: {"g_ema": collections.defaultdict(None, g), "latent_avg": w.numpy().astype(np.float64)},
        lambda g, w: {"g_ema": g, "latent_avg": w[None]},
        lambda g, w: {"g_ema": g, "latent_avg": w.repeat(6, 1)},
        lambda g, w: {"g_ema": g, "latent_avg": w.repeat(1, 6, 1)},
        lambda g, w: {"g_ema": {k: v.numpy() for k, v in g.items()}, "latent_avg": w},
    ],
)
@pytest.mark.parametrize("legacy", [False, True])
def test_the_generator_is_found_wherever_it_is(read, config, state, theirs, place, legacy):
    found = read(place(theirs, state["mapping.w_avg"]), _use_new_zipfile_serialization=not legacy)
    assert (found.kind, found.config) == ("rosinality", config)
    assert same(found.state, state)


def test_a_module_that_was_pickled_whole(read, config, state, theirs):
    class Part(nn.Module):  # a class that the reader cannot import
        __module__, __qualname__ = "models.stylegan", "Part"

    import sys
    import types

    sys.modules["models"], sys.modules["models.stylegan"] = types.ModuleType("models"), types.ModuleType("m")
    sys.modules["models.stylegan"].Part = Part
    try:
        whole = Part()
        for name, tensor in theirs.items():
            module = whole
            *path, last = name.split(".")
            for part in path:
                if part not in module._modules:
                    module.add_module(part, Part())
                module = module._modules[part]
            module.register_buffer(last, tensor)
        found = read({"g_ema": whole, "latent_avg": state["mapping.w_avg"]})
    finally:
        del sys.modules["models"], sys.modules["models.stylegan"]
    assert found.config == config
    assert same(found.state, state)


@pytest.mark.parametrize(
    "name", ["G_ema", "Gs", "g_ema", "params_ema", "module", "network", "generator_state_dict", "ema_state_dict", None]
)
def test_state_dicts_with_nvidias_names(read, config, state, name):
    with pytest.warns(UserWarning, match="bare state dict"):
        found = read(dict(state) if name is None else {name: dict(state), "D": {"b4.out.weight": torch.ones(1)}})
    assert (found.kind, found.config) == ("nvidia", config)
    assert same(found.state, state)


def test_a_conditional_state_dict_and_prefixes(read, variants, make_random):
    config = variants["odd embedding"]
    state = make_random(config).state_dict()
    with pytest.warns(UserWarning, match="bare state dict"):
        found = read({"state_dict": {f"G_ema.module.{k}": v for k, v in state.items()} | {"D.x": torch.ones(1)}})
    assert found.config == config
    assert same(found.state, state)


# --- what is left out -------------------------------------------------------------------------------------------------


def test_noise_that_is_left_out_is_drawn_from_a_seed(read, config, state, theirs):
    bare = {name: tensor for name, tensor in theirs.items() if not name.startswith("noises.")}
    with pytest.warns(UserWarning, match="noise"):
        first = read({"g_ema": bare, "latent_avg": state["mapping.w_avg"]})
    with pytest.warns(UserWarning, match="noise"):
        again = read({"g_ema": bare, "latent_avg": state["mapping.w_avg"]})
    assert first.config == config
    assert same(first.state, state, but="noise_const")
    assert same(first.state, again.state)
    drawn = torch.cat([tensor.flatten() for name, tensor in first.state.items() if name.endswith("noise_const")])
    assert drawn.mean().abs() < 0.2
    assert abs(drawn.std() - 1) < 0.2


@pytest.mark.parametrize("kinds", [(".blur.kernel",), (".upsample.kernel",), (".kernel",)])
def test_filters_that_are_left_out_are_the_usual_one(read, config, state, theirs, kinds):
    bare = {name: tensor for name, tensor in theirs.items() if not name.endswith(kinds)}
    found = read({"g_ema": bare, "latent_avg": state["mapping.w_avg"]})
    assert found.config == config
    assert same(found.state, state)
    assert torch.allclose(found.state["synthesis.b8.resample_filter"], resample_kernel((1, 3, 3, 1)))


@pytest.mark.parametrize("kind", ["plain", "conditional"])
def test_an_average_that_is_left_out_is_estimated(forger, variants, make_random, kind):
    def strip(ema):
        del ema.attributes["_modules"]["mapping"].attributes["_buffers"]["w_avg"]

    generator = make_random(variants[kind], 1)
    with pytest.warns(UserWarning, match="average latent"):
        found = read_checkpoint(forger.nvidia(variants[kind], edit=strip))
    draw = torch.Generator().manual_seed(5)
    z, c_dim = torch.randn(20000, variants[kind].z_dim, generator=draw), variants[kind].c_dim
    labels = torch.eye(c_dim)[torch.randint(c_dim, (len(z),), generator=draw)] if c_dim else None
    ws = generator.mapping(z, labels)[:, 0].detach()
    assert (found.state["mapping.w_avg"] - ws.mean(dim=0)).abs().max() < 0.1 * ws.std(dim=0).max()


# --- what else is in the file -----------------------------------------------------------------------------------------


def schedule(rate):
    """A function such as a scheduler holds."""
    return rate


def everything_else():
    """What training scripts save next to their generator."""
    network = nn.Sequential(nn.Linear(2, 2), nn.LeakyReLU())
    adam = torch.optim.Adam(network.parameters())
    one = torch.optim.lr_scheduler.OneCycleLR(adam, 0.1, total_steps=4)
    network(torch.ones(1, 2)).sum().backward()
    adam.step()
    return {
        "D": network,
        "optimizer": adam,
        "d_optim": adam.state_dict(),
        "scheduler": one.state_dict(),
        "partial": functools.partial(schedule, rate=1),
        "args": argparse.Namespace(path=pathlib.PurePosixPath("/x"), when=datetime.datetime(2020, 1, 2)),
        "counts": collections.Counter("hello"),
        "default": collections.defaultdict(list, {3: [1, 2]}),
        "queue": collections.deque([1, 2], maxlen=4),
        "random": [np.random.RandomState(0).get_state(), torch.get_rng_state(), np.random.default_rng(0)],
        "names": np.array(["a", "b"]),
        "objects": np.array([None, "x"], dtype=object),
        "scalar": np.float64(3),
        "types": [torch.float16, torch.device("cpu"), torch.Size([1]), np.dtype("float32"), 1 + 2j],
        "complex": torch.ones(2, dtype=torch.complex64),
        "without a storage": [torch.ones(2).to(torch.float8_e4m3fn), torch.ones(3, dtype=torch.uint16)],
        "sparse": torch.eye(2).to_sparse(),
        "subclass": nn.Parameter(torch.ones(2)),
    }


@pytest.mark.parametrize("legacy", [False, True])
def test_whatever_is_beside_a_state_dict_is_left_alone(read, config, state, theirs, legacy):
    content = everything_else() | {"g_ema": theirs, "latent_avg": state["mapping.w_avg"]}
    found = read(content, _use_new_zipfile_serialization=not legacy)
    assert found.config == config
    assert same(found.state, state)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_whatever_is_beside_a_pickled_generator_is_left_alone(forger, tiny_config, make_random, protocol):
    snapshot = everything_else() | {"G_ema": forger.generator(tiny_config)}
    found = read_checkpoint(forger.dump(snapshot, protocol))
    assert found.config == tiny_config
    assert same(found.state, make_random(tiny_config, 1).state_dict())


def test_a_class_that_says_how_it_is_built_is_not_asked(forger, tiny_config, tmp_path):
    class Evil:
        def __reduce__(self):
            return pathlib.Path.touch, (tmp_path / "executed",)

    read_checkpoint(forger.dump({"G_ema": forger.generator(tiny_config), "x": Evil()}))
    assert not (tmp_path / "executed").exists()


def test_what_no_pickle_of_a_generator_holds_is_said(forger, tiny_config):
    def edit(ema):
        ema.attributes["_modules"]["synthesis"].attributes["_parameters"] = {"weight": "text"}

    assert "a parameter that is no tensor" in refuses(forger.nvidia(tiny_config, edit=edit), "damaged")
    refuses(forger.dump({"g_ema": {"input.input": "text", "style.1.weight": 3}}), "input.input", "no tensor")
    refuses(forger.write(pickle.dumps([1, 2])[:-1] + b"\xff."), "damaged", "instructions")
    refuses(forger.dump({"g_ema": everything_else()["D"]}), "g_ema (torch.nn.modules.container.Sequential)")


def test_a_state_dict_of_stylegan3_is_called_so(tmp_path):
    torch.save({"mapping.fc0.weight": torch.ones(2, 2), "synthesis.input.freqs": torch.ones(2)}, tmp_path / "file")
    refuses(tmp_path / "file", "is a StyleGAN3 generator")


# --- shapes and channels ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [(4, 8), (8, 4), (3, 5), (5, 4), (1, 1), (8, 8), (4, 6)])
@pytest.mark.parametrize("noise", [True, False])
def test_the_first_constant_tells_the_shape(forger, variants, make_random, first, noise):
    config = dataclasses.replace(
        variants["resnet" if noise else "plain"], resolution=(4 * first[0], 4 * first[1]), use_noise=noise
    )
    found = read_checkpoint(forger.nvidia(config))
    assert found.config == config
    network = Generator(found.config)
    network.load_state_dict(found.state, strict=True)
    assert network(torch.randn(2, config.z_dim)).shape == (2, 3, *config.resolution)
    assert same(found.state, make_random(config, 1).state_dict())


def test_blocks_that_are_numbered_by_their_own_height(read, config, make_random, tmp_path):
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


def test_blocks_that_do_not_double_are_a_sentence_about_the_shape(read, state, tmp_path):
    for name in ("synthesis.b16.conv0.noise_const", "synthesis.b16.conv1.noise_const"):
        state[name] = torch.zeros(16, 24)
    torch.save({"G_ema": dict(state)}, tmp_path / "file")
    with pytest.warns(UserWarning, match="bare state dict"):
        text = refuses(tmp_path / "file", "[16, 24]", "[16, 16]", "twice as high and wide")
    assert "download" not in text


@pytest.mark.parametrize("channels", [2, 4])
def test_images_of_other_channels_are_refused(forger, config, make_random, tmp_path, channels):
    other = dataclasses.replace(config, img_channels=channels)
    refuses(forger.nvidia(other), f"{channels} channels", "grey", "RGB")
    write_safetensors(tmp_path / "file", other, make_random(other).state_dict())
    refuses(tmp_path / "file", f"{channels} channels")


# --- what is converted loads back -------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth", ".PTH"])
def test_what_convert_writes_loads_back(forger, variants, make_random, tmp_path, suffix):
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
