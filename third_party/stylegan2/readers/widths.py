"""The widths that rosinality's program builds, and padding of generators to them."""

import dataclasses
import math
from collections.abc import Iterator, Mapping

from torch import Tensor

from ..config import GeneratorConfig
from .errors import CheckpointError

_WIDEST = 512
_MAX_HEIGHT = 1024


def standard_width(height: int) -> int:
    """Channels of the block of that height with `channel_multiplier` 2, the default: 512 up to 64 px, then halves."""
    return min(_WIDEST, 64 * _WIDEST // height)


def widened(config: GeneratorConfig, state: Mapping[str, Tensor]) -> tuple[GeneratorConfig, dict[str, Tensor]]:
    """The same generator in the standard widths: the same images from the same ws and the same noise, in float32.

    Everything of an added channel is zero. Noise reaches it all the same, because one map is added to all channels, but
    every layer that reads the channel has a weight and a style of zero for it.

    Raises:
        CheckpointError: a block is wider than the standard, or larger than the largest block of that program.
    """
    channels = {}
    for height, width in config.channels.items():
        channels[height] = standard_width(height)
        if height > _MAX_HEIGHT or width > channels[height]:
            allowed = f"{channels[height]} channels" if height <= _MAX_HEIGHT else "no block"
            raise CheckpointError(
                f"The generator has {width} channels at {height} pixels where rosinality's program has {allowed}: "
                "leave out standard_widths."
            )
    wide = dataclasses.replace(config, channels=channels)
    padded = {"synthesis.b4.const": _padded(state["synthesis.b4.const"], channels[4])}
    for name, inputs, outputs in _layers(wide):
        if f"{name}.weight" not in state:
            continue
        weight = state[f"{name}.weight"].float()
        # That program divides by the root of the inputs at run time. To_rgb has no demodulation to cancel it; in the
        # others the factor keeps the small number under demodulation's root as small as it was.
        weight = weight * math.sqrt(inputs / weight.shape[1])
        padded[f"{name}.weight"] = _padded(weight, outputs, inputs)
        padded[f"{name}.bias"] = _padded(state[f"{name}.bias"], outputs)
        for kind in ("weight", "bias"):
            padded[f"{name}.affine.{kind}"] = _padded(state[f"{name}.affine.{kind}"], inputs)
    return wide, dict(state) | padded


def _layers(config: GeneratorConfig) -> Iterator[tuple[str, int, int]]:
    """Name, inputs and outputs of every modulated layer that a generator of these widths may have."""
    for height in config.blocks:
        width, block = config.channels[height], f"synthesis.b{height}"
        if height > 4:
            yield f"{block}.conv0", config.channels[height // 2], width
        yield f"{block}.conv1", width, width
        yield f"{block}.torgb", width, config.img_channels


def _padded(tensor: Tensor, *sizes: int) -> Tensor:
    """Float32 with the first axes grown to these sizes by zeros behind."""
    result = tensor.new_zeros(*sizes, *tensor.shape[len(sizes) :]).float()
    result[tuple(slice(size) for size in tensor.shape)] = tensor
    return result
