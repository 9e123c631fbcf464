"""StyleGAN2's synthesis as its paper's formulas read: what the fast network is tested and timed against.

Every sample is convolved with its own modulated weights (as one grouped convolution); up-sampling puts a zero after
every pixel and filters. Skip architecture. Works on the state dict of a generator.
"""

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

State = Mapping[str, Tensor]


def plain_synthesis(
    state: State, ws: Float[Tensor, "B L D"], dtype: torch.dtype, stop: int | None = None, noise: str = "const"
) -> tuple[Tensor | None, Tensor]:
    """The image in float32 (None with `stop`) and the output of the last block computed, the one numbered `stop`.

    state: `Generator.state_dict()`. dtype: type of the convolutions. noise: const or none.
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
