"""The network against a direct implementation of the paper's formulas."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from third_party.stylegan2 import GeneratorConfig
from third_party.stylegan2.layers import StyledConv
from third_party.stylegan2.ops import resample_kernel, upsample
from third_party.stylegan2.plain import plain_synthesis

State = Mapping[str, Tensor]
LAYOUTS = (torch.channels_last, torch.contiguous_format)


def reference_synthesis(
    state: State, ws: Float[Tensor, "B L D"], dtype: torch.dtype, stop: int | None = None, noise: str = "const"
) -> tuple[Tensor | None, Tensor]:
    """The image in float32 (None with `stop`) and the output of the last block computed, the one numbered `stop`.

    Every sample is convolved with its own modulated weights (as one grouped convolution); up-sampling puts a zero after
    every pixel and filters. Skip architecture. state: of a generator. dtype: of the convolutions. noise: const or none.
    """
    image: Tensor | None = None
    x = state["synthesis.b4.const"].to(dtype).expand(len(ws), -1, -1, -1)
    heights = sorted(int(name.split(".")[1][1:]) for name in state if name.endswith("conv1.weight"))
    for number, height in enumerate(heights[:stop]):
        block, row = f"synthesis.b{height}", max(0, 2 * number - 1)
        if number:
            x = _layer(state, f"{block}.conv0", x, ws[:, row], True, noise)
            row += 1
        x = _layer(state, f"{block}.conv1", x, ws[:, row], False, noise)
        if stop is None:
            fir = state[f"{block}.resample_filter"]
            image = None if image is None else upfirdn(image, fir, (2, 1))
            colours = _to_rgb(state, f"{block}.torgb", x, ws[:, row + 1])
            image = colours if image is None else image + colours
    return image, x


def upfirdn(
    x: Float[Tensor, "B C h w"], fir: Float[Tensor, "k k"], padding: tuple[int, int]
) -> Float[Tensor, "B C H W"]:
    """Zero-insert to twice the size, pad, filter with gain 4 (StyleGAN2, appendix B)."""
    batch, channels, height, width = x.shape
    zeros = x.new_zeros(batch, channels, 2 * height, 2 * width)
    zeros[:, :, ::2, ::2] = x
    weight = (4 * fir.flip(0, 1)).to(x.dtype).expand(channels, 1, -1, -1)
    return F.conv2d(F.pad(zeros, padding * 2), weight, groups=channels)


def modulated_conv(x: Float[Tensor, "B I h w"], weight: Float[Tensor, "B O I k k"], padding: int) -> Tensor:
    """Every sample with its own weights."""
    batch, outputs, inputs, size, _ = weight.shape
    x = x.reshape(1, batch * inputs, *x.shape[2:])
    y = F.conv2d(x, weight.reshape(batch * outputs, inputs, size, size).to(x.dtype), padding=padding, groups=batch)
    return y.reshape(batch, outputs, *y.shape[2:])


def _styles(state: State, name: str, w: Float[Tensor, "B D"]) -> Float[Tensor, "B I"]:
    gain = 1 / math.sqrt(w.shape[1])
    return F.linear(w, state[f"{name}.affine.weight"] * gain, state[f"{name}.affine.bias"])


def _layer(state: State, name: str, x: Tensor, w: Tensor, up: bool, noise: str) -> Tensor:
    # Eq. 1 and 3: modulate, demodulate.
    weight = state[f"{name}.weight"] * _styles(state, name, w)[:, None, :, None, None]  # [B, O, I, 3, 3]
    weight = weight * torch.rsqrt(weight.square().sum((2, 3, 4), keepdim=True) + 1e-8)
    if up:
        # 3 + 2 zeros at the borders are what the filter's and the convolution's taps need for twice the size.
        x = upfirdn(x, state[f"{name}.resample_filter"], (3, 2))
        y = modulated_conv(x, weight.flip(3, 4), 0)
    else:
        y = modulated_conv(x, weight, 1)
    if noise == "const":
        y = y + (state[f"{name}.noise_const"] * state[f"{name}.noise_strength"]).to(y.dtype)
    y = y + state[f"{name}.bias"].to(y.dtype)[:, None, None]
    return F.leaky_relu(y, 0.2) * math.sqrt(2)


def _to_rgb(state: State, name: str, x: Tensor, w: Tensor) -> Tensor:
    weight = state[f"{name}.weight"] * (_styles(state, name, w) / math.sqrt(x.shape[1]))[:, None, :, None, None]
    return modulated_conv(x, weight, 0).float() + state[f"{name}.bias"][:, None, None]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("noise", ["const", "none"])
def test_one_shared_convolution_equals_one_for_every_sample(
    lively: Any, some_ws: Any, close: Any, layout: torch.memory_format, frozen: bool, batch: int, noise: str
) -> None:
    generator, ws = lively(), some_ws(batch=batch)
    if frozen:
        generator.freeze(channels_last=layout == torch.channels_last)
    wanted, features = reference_synthesis(generator.state_dict(), ws, torch.float32, noise=noise)
    image, taken = generator.synthesis(ws, noise, taps=(4,))
    assert image is not None and wanted is not None
    assert close(image, wanted)
    assert close(taken[4], features)


@pytest.mark.parametrize("batch", [1, 3])
def test_gradients_equal_those_of_the_reference(
    lively: Any, some_ws: Any, image_of: Any, close: Any, batch: int
) -> None:
    generator, ws = lively(), some_ws(batch=batch).requires_grad_()
    weights = dict(generator.synthesis.named_parameters(prefix="synthesis"))
    towards = torch.randn(batch, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    wanted, _ = reference_synthesis(
        dict(generator.named_parameters()) | dict(generator.named_buffers()), ws, torch.float32
    )
    assert wanted is not None
    expected = torch.autograd.grad((wanted * towards).sum(), [ws, *weights.values()])
    found = torch.autograd.grad((image_of(generator, ws) * towards).sum(), [ws, *weights.values()])
    for name, a, b in zip(["ws", *weights], found, expected, strict=True):
        assert close(a, b, 2e-5), name


@pytest.mark.parametrize("stop", [None, 3])
def test_the_plain_synthesis_equals_the_reference(lively: Any, some_ws: Any, close: Any, stop: int | None) -> None:
    generator, ws = lively(), some_ws()
    wanted, features = reference_synthesis(generator.state_dict(), ws, torch.float32, stop)
    image, found = plain_synthesis(generator, ws, stop)
    assert close(found, features)
    assert (image is None) == (wanted is None) == (stop is not None)
    assert image is None or wanted is None or close(image, wanted)


@pytest.mark.parametrize("taps", [(1,), (1, 3), (1, 2, 1), (1, 3, 3, 1), (1, 2, 3), (1, 2, 4, 8), (1, 2, 3, 4, 3)])
def test_upsampling_is_zero_insertion_and_filter(close: Any, taps: tuple[float, ...]) -> None:
    x = torch.randn(2, 3, 5, 7, generator=torch.Generator().manual_seed(0))
    size = len(taps)
    wanted = upfirdn(x, resample_kernel(taps), ((size + 1) // 2, (size - 2) // 2))
    for layout in LAYOUTS:
        assert close(upsample(x.contiguous(memory_format=layout), resample_kernel(taps)), wanted)


def test_architectures_put_their_blocks_together_as_published(
    lively: Any, some_ws: Any, close: Any, network_config: GeneratorConfig
) -> None:
    ws = some_ws()
    orig = lively(dataclasses.replace(network_config, architecture="orig"))
    assert [n for n, _ in orig.named_modules() if n.endswith("torgb")] == ["synthesis.b32.torgb"]
    image, features = orig.synthesis(ws, taps=(4,))
    assert image is not None and close(image, orig.synthesis.b32.torgb(features[4], ws[:, -1]))
    resnet = lively(dataclasses.replace(network_config, architecture="resnet"))
    _, features = resnet.synthesis(ws, taps=(1, 2))
    block, below = resnet.synthesis.b8, features[1]
    main = block.conv1(block.conv0(below, ws[:, 1], "const"), ws[:, 2], "const")
    side = upfirdn(F.conv2d(below, block.skip.weight / math.sqrt(12)), block.resample_filter, (2, 1))
    assert close(features[2], main + side * math.sqrt(0.5))
    plain = StyledConv(12, 10, 8, (8, 8), False, (1, 3, 3, 1), None, True)
    assert plain.gain == pytest.approx(block.conv1.gain / math.sqrt(0.5))


def test_a_rectangle_is_twice_as_high_as_wide(
    lively: Any, some_ws: Any, close: Any, network_config: GeneratorConfig
) -> None:
    config = dataclasses.replace(network_config, resolution=(32, 16))
    generator = lively(config)
    image, features = generator.synthesis(some_ws(config), taps=(1,))
    assert image is not None and image.shape == (3, 3, 32, 16)
    assert features[1].shape == (3, 12, 4, 2)
    wanted, _ = reference_synthesis(generator.state_dict(), some_ws(config), torch.float32)
    assert wanted is not None and close(image, wanted)
