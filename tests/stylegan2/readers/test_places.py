"""Generators in files of other programs: in other places, behind prefixes, and incomplete."""

import collections
import sys
import types

import numpy as np
import pytest
import torch
from torch import nn

from third_party.stylegan2.ops import resample_kernel
from third_party.stylegan2.readers import read_checkpoint

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
def test_the_generator_is_found_wherever_it_is(read, config, state, theirs, place, legacy, same):
    found = read(place(theirs, state["mapping.w_avg"]), _use_new_zipfile_serialization=not legacy)
    assert (found.kind, found.config) == ("rosinality", config)
    assert same(found.state, state)


def test_a_module_that_was_pickled_whole(read, config, state, theirs, same):
    class Part(nn.Module):  # a class that the reader cannot import
        __module__, __qualname__ = "models.stylegan", "Part"

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
def test_state_dicts_with_nvidias_names(read, config, state, name, same):
    with pytest.warns(UserWarning, match="bare state dict"):
        found = read(dict(state) if name is None else {name: dict(state), "D": {"b4.out.weight": torch.ones(1)}})
    assert (found.kind, found.config) == ("nvidia", config)
    assert same(found.state, state)


def test_a_conditional_state_dict_and_prefixes(read, variants, make_random, same):
    config = variants["odd embedding"]
    state = make_random(config).state_dict()
    with pytest.warns(UserWarning, match="bare state dict"):
        found = read({"state_dict": {f"G_ema.module.{k}": v for k, v in state.items()} | {"D.x": torch.ones(1)}})
    assert found.config == config
    assert same(found.state, state)


# --- what is left out -------------------------------------------------------------------------------------------------


def test_noise_that_is_left_out_is_drawn_from_a_seed(read, config, state, theirs, same):
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
def test_filters_that_are_left_out_are_the_usual_one(read, config, state, theirs, kinds, same):
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
