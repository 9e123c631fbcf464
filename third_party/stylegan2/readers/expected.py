"""Names and shapes of the tensors that a config asks for.

They are those of `Generator(config).state_dict()`, without building it: even on torch's meta device that takes seconds.
"""

from collections.abc import Iterator

from ..config import GeneratorConfig

Shape = tuple[int, ...]
_SEPARABLE = 8  # filters of that many taps are stored as one row


def expected_shapes(config: GeneratorConfig) -> dict[str, Shape]:
    """Every tensor of the state dict, by NVIDIA's name."""
    return dict([*_mapping(config), *_synthesis(config)])


def _mapping(config: GeneratorConfig) -> Iterator[tuple[str, Shape]]:
    yield "mapping.w_avg", (config.w_dim,)
    label, hidden = 0, config.layer_features or config.w_dim
    if config.c_dim:
        label = config.embed_features or config.w_dim
        yield from _dense("mapping.embed", config.c_dim, label)
    widths = [config.z_dim + label, *[hidden] * (config.mapping_layers - 1), config.w_dim]
    for i in range(config.mapping_layers):
        yield from _dense(f"mapping.fc{i}", widths[i], widths[i + 1])


def _synthesis(config: GeneratorConfig) -> Iterator[tuple[str, Shape]]:
    taps = len(config.resample_filter)
    kernel = (taps,) if taps >= _SEPARABLE else (taps, taps)
    inputs = 0
    for number in config.blocks:
        block, outputs, plane = f"synthesis.b{number}", config.channels[number], config.size(number)
        yield f"{block}.resample_filter", kernel
        if number == 4:
            yield f"{block}.const", (outputs, *plane)
        for name, channels in (("conv0", inputs), ("conv1", outputs)):
            if channels:
                yield from _modulated(f"{block}.{name}", channels, outputs, 3, config.w_dim)
                yield f"{block}.{name}.resample_filter", kernel
                if config.use_noise:
                    yield f"{block}.{name}.noise_const", plane
                    yield f"{block}.{name}.noise_strength", ()
        if config.architecture == "resnet" and inputs:
            yield f"{block}.skip.weight", (outputs, inputs, 1, 1)
            yield f"{block}.skip.resample_filter", kernel
        if config.architecture == "skip" or number == config.blocks[-1]:
            yield from _modulated(f"{block}.torgb", outputs, config.img_channels, 1, config.w_dim)
        inputs = outputs


def _modulated(name: str, inputs: int, outputs: int, size: int, w_dim: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (outputs, inputs, size, size)
    yield f"{name}.bias", (outputs,)
    yield from _dense(f"{name}.affine", w_dim, inputs)


def _dense(name: str, inputs: int, outputs: int) -> Iterator[tuple[str, Shape]]:
    yield f"{name}.weight", (outputs, inputs)
    yield f"{name}.bias", (outputs,)
