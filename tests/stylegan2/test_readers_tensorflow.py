"""TensorFlow-era pickles."""

import numpy as np
import pytest
import torch

from third_party.stylegan2 import Generator
from third_party.stylegan2.readers import CheckpointError, read_checkpoint

KINDS = ("plain", "orig", "resnet", "conditional", "odd embedding", "one mapping layer", "deep", "grey", "no noise")


def arguments(config):
    return {
        "latent_size": config.z_dim,
        "dlatent_size": config.w_dim,
        "label_size": config.c_dim,
        "resolution": config.resolution[0],
        "num_channels": config.img_channels,
        "architecture": config.architecture,
        "mapping_lrmul": config.mapping_lr_multiplier,
        "conv_clamp": config.conv_clamp,
        "num_fp16_res": config.num_fp16_res,
        "use_noise": config.use_noise,
        "resample_kernel": list(config.resample_filter),
        "truncation_psi": 0.5,
    }


@pytest.fixture
def network(forger, make_random, make_tf_variables):
    """A function (config, **changed arguments) to (network, its variables)."""

    def make(config, edit=None, **changes):
        variables = make_tf_variables(make_random(config, 1).state_dict(), list(config.blocks))
        if edit is not None:
            edit(variables)
        kwargs = {name: value for name, value in (arguments(config) | changes).items() if value != "absent"}
        return forger.tf_network(variables, **kwargs)

    return make


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_generator_comes_back(forger, variants, make_random, network, kind):
    config = variants[kind]
    other = network(variants["plain"])
    checkpoint = read_checkpoint(forger.dump((other, other, network(config)), protocol=3))
    assert (checkpoint.config, checkpoint.kind) == (config, "tensorflow")
    for name, tensor in make_random(config, 1).state_dict().items():
        assert torch.allclose(checkpoint.state[name], tensor, atol=1e-6, rtol=0)
    Generator(checkpoint.config).load_state_dict(checkpoint.state, strict=True)


def test_tensors_decide_where_arguments_are_silent(forger, variants, network):
    names = arguments(variants["resnet"])
    config = read_checkpoint(forger.dump(network(variants["resnet"], **dict.fromkeys(names, "absent")))).config
    assert (config.resolution, config.architecture, config.z_dim) == ((16, 16), "resnet", 6)
    assert (config.conv_clamp, config.mapping_lr_multiplier, config.resample_filter) == (
        None,
        0.01,
        (1.0, 3.0, 3.0, 1.0),
    )


def test_colours_of_progressive_growing(forger, variants, make_random, network):
    def rename(variables):
        there = variables["synthesis"]
        for name in [name for name in there if "/ToRGB/" in name]:
            there[name.replace("16x16/ToRGB", "ToRGB_lod0")] = there.pop(name)
        there["ToRGB_lod2/bias"] = np.zeros(3, np.float32)

    path = forger.dump(network(variants["orig"], rename, architecture="absent"))
    checkpoint = read_checkpoint(path)
    assert checkpoint.config == variants["orig"]
    assert torch.equal(
        checkpoint.state["synthesis.b16.torgb.bias"], make_random(variants["orig"], 1).synthesis.b16.torgb.bias
    )


def test_the_converted_golden_file(golden):
    ours, theirs = read_checkpoint(golden("sg2_64_tf.pkl")), read_checkpoint(golden("sg2_64.pkl"))
    assert ours.config == theirs.config
    for name, tensor in theirs.state.items():
        assert torch.allclose(ours.state[name], tensor, atol=1e-6, rtol=0)


def refuses(path, *words):
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "\n" not in str(caught.value)


def test_each_missing_or_misshapen_variable_is_named(forger, variants, network):
    config, names = variants["conditional"], []
    network(config, lambda variables: names.extend((part, name) for part in variables for name in variables[part]))
    names.remove(("", "lod"))

    def shrink(variables, part, name):
        array = variables[part][name]
        variables[part][name] = array[:-1] if array.ndim == 1 else array[..., :-1] if array.ndim else array[None]

    for part, name in names:
        full = f"{part}/{name}" if part else name
        if name != "dlatent_avg":  # which is estimated
            missing = network(config, lambda variables, part=part, name=name: variables[part].pop(name))
            refuses(forger.dump(missing), f"{full};")
        misshapen = network(config, lambda variables, part=part, name=name: shrink(variables, part, name))
        refuses(forger.dump(misshapen), f" {full} ")


def test_other_networks_are_named(forger, variants, network):
    def stylegan1(variables):
        there = variables["synthesis"]
        for name in [name for name in there if "/mod_" in name]:
            there[name.replace("/mod_", "/StyleMod/")] = there.pop(name)

    def discriminator(variables):
        variables["synthesis"] = {"4x4/Conv/weight": np.zeros((3, 3, 2, 2), np.float32)}

    def labels(variables):
        variables["mapping"]["LabelConcat/weight"] = np.zeros((3, 6), np.float32)

    refuses(forger.dump((1, 2, network(variants["plain"], stylegan1))), "StyleGAN1")
    refuses(forger.dump((1, 2, network(variants["plain"], discriminator))), "no StyleGAN2 generator")
    refuses(forger.dump((1, 2, network(variants["plain"], labels))), "labels")


def test_arguments_that_change_the_numbers_are_not_ignored(forger, variants, network):
    for change in ({"nonlinearity": "relu"}, {"normalize_latents": False}, {"conv_clamp": "a"}):
        refuses(forger.dump(network(variants["plain"], **change)))
    with pytest.warns(UserWarning, match="attention"):
        read_checkpoint(forger.dump(network(variants["plain"], attention=True)))
    read_checkpoint(forger.dump(network(variants["plain"], attention=None, randomize_noise=False)))
