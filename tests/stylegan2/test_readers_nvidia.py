"""NVIDIA's PyTorch pickles."""

import pytest
import torch

from third_party.stylegan2 import Generator
from third_party.stylegan2.readers import CheckpointError, read_checkpoint
from third_party.stylegan2.readers.expected import expected_shapes


def equal(state, generator):
    wanted = generator.state_dict()
    return set(state) == set(wanted) and all(torch.equal(state[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize("flattened", [False, True])
def test_every_kind_of_generator_comes_back(forger, variants, make_random, flattened):
    for name, config in variants.items():
        checkpoint = read_checkpoint(forger.nvidia(config, flattened))
        assert checkpoint.config == config, name
        assert checkpoint.kind == "nvidia"
        assert equal(checkpoint.state, make_random(config, 1)), name
        Generator(checkpoint.config).load_state_dict(checkpoint.state, strict=True)


def test_expected_shapes_are_the_networks(variants):
    for name, config in variants.items():
        found = {key: tuple(tensor.shape) for key, tensor in Generator(config).state_dict().items()}
        assert expected_shapes(config) == found, name


def test_a_generator_pickled_alone(forger, tiny_config, make_random):
    assert equal(read_checkpoint(forger.dump(forger.generator(tiny_config))).state, make_random(tiny_config, 1))


@pytest.mark.parametrize(
    ("file", "clamp", "c_dim", "resolution", "fp16"),
    [
        ("sg2_64.pkl", None, 0, (64, 64), 0),
        ("sg2_32_cond_fp16cfg.pkl", 2.0, 3, (32, 32), 2),
        ("sg3code_64.pkl", 3.0, 0, (64, 64), 4),
        ("human_64x32.pkl", None, 0, (64, 32), 0),
        ("sg2_128.pkl", None, 0, (128, 128), 0),
        ("sg2_256.pkl", None, 0, (256, 256), 0),
    ],
)
def test_published_programs_files(golden, file, clamp, c_dim, resolution, fp16):
    checkpoint = read_checkpoint(golden(file))
    config = checkpoint.config
    assert (config.conv_clamp, config.c_dim, config.resolution, config.num_fp16_res) == (clamp, c_dim, resolution, fp16)
    Generator(config).load_state_dict(checkpoint.state, strict=True)


def walk(module):
    yield module
    for child in module.attributes["_modules"].values():
        yield from walk(child)


def tensor_slots(module, prefix=""):
    """(dictionary, key, full name) of every tensor below a pickled module."""
    for part in ("_parameters", "_buffers"):
        for key in module.attributes[part]:
            yield module.attributes[part], key, prefix + key
    for name, child in module.attributes["_modules"].items():
        yield from tensor_slots(child, f"{prefix}{name}.")


def test_each_missing_or_misshapen_tensor_is_named(forger, variants):
    config = variants["conditional"]
    for i in range(len(expected_shapes(config))):
        for change in ("missing", "longer" if i % 2 else "shorter"):
            generator = forger.generator(config)
            holder, key, name = list(tensor_slots(generator))[i]
            tensor = holder.pop(key).detach()
            if change == "missing" and name == "mapping.w_avg":
                continue  # it is estimated
            if change != "missing":
                wide = torch.cat([tensor.reshape(*tensor.shape, -1) if tensor.ndim == 0 else tensor] * 2, dim=-1)
                holder[key] = wide[..., : wide.shape[-1] // 2 + (1 if change == "longer" else -1)].clone()
            refuses(forger.dump(generator), f"tensor {name}")


def refuses(path, *words):
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "\n" not in str(caught.value)


def test_settings_that_change_the_numbers_are_not_ignored(forger, tiny_config):
    def with_attribute(class_name, name, value):
        def edit(ema):
            module = next(m for m in walk(ema) if m.class_name == class_name)
            module.attributes[name] = value

        return forger.nvidia(tiny_config, edit=edit)

    refuses(with_attribute("SynthesisLayer", "conv_clamp", 3.0), "conv_clamp")
    refuses(with_attribute("SynthesisLayer", "activation", "relu"), "activation")
    refuses(with_attribute("FullyConnectedLayer", "bias_gain", 0.5), "StyleGAN2")
    with pytest.warns(UserWarning, match="layer_norm"):
        read_checkpoint(with_attribute("MappingNetwork", "_init_kwargs", {"layer_norm": True}))
    read_checkpoint(with_attribute("MappingNetwork", "_init_kwargs", {"layer_norm": False}))


def test_settings_come_from_layers_then_arguments_then_the_program(forger, tiny_config):
    def edit(clamp):
        def strip(ema):
            for module in walk(ema):
                module.attributes.pop("conv_clamp", None)
                options = module.attributes.get("_init_kwargs", {})
                for kwargs in (options, options.get("synthesis_kwargs", {})):
                    kwargs.pop("conv_clamp", None)
                    if clamp is not None and "channel_base" in kwargs:
                        kwargs["conv_clamp"] = clamp

        return strip

    assert read_checkpoint(forger.nvidia(tiny_config, edit=edit(7))).config.conv_clamp == 7.0
    assert read_checkpoint(forger.nvidia(tiny_config, edit=edit(None))).config.conv_clamp is None
    assert read_checkpoint(forger.nvidia(tiny_config, flattened=True, edit=edit(None))).config.conv_clamp == 256.0


def test_other_networks_are_named(forger, tiny_config):
    discriminator = forger.module("Discriminator")
    refuses(forger.dump({"D": discriminator}), "Discriminator", "G_ema")
    refuses(forger.dump({"D": discriminator, "G_ema": None}), "Discriminator", "G_ema")
    refuses(forger.dump(discriminator), "Discriminator", "StyleGAN2")

    def stylegan3(ema):
        synthesis = ema.attributes["_modules"]["synthesis"]
        synthesis.attributes["_modules"] = {"input": discriminator, "L0_36_512": discriminator}

    refuses(forger.nvidia(tiny_config, edit=stylegan3), "StyleGAN3")


def test_modules_shared_without_end(forger, tiny_config):
    def share(ema):  # every level holds the next one twice: 2^15 paths through 15 objects
        module = forger.module("X")
        for _ in range(14):
            module = forger.module("X", a=module, b=module)
        ema.attributes["_modules"]["x"] = module

    refuses(forger.nvidia(tiny_config, edit=share), "damaged")
