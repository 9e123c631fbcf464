"""Layers with equalised learning rates, and the modulated convolutions built from them (StyleGAN2, section 2)."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from third_party.stylegan2 import ops
from third_party.stylegan2.ops import resample_kernel
from third_party.stylegan2.pointwise import LRELU_SLOPE, modulate, scale_shift_lrelu

LRELU_GAIN = math.sqrt(2)  # keeps the second moment of what a leaky ReLU lets through


def compute_dtype(x: Tensor) -> torch.dtype:
    """The type convolutions of `x` run in: autocast's where it is on, else that of `x`."""
    device = x.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype


class Dense(nn.Module):
    """Fully connected layer; the gains that equalise learning rates are applied at run time, always in float32."""

    def __init__(self, inputs: int, outputs: int, lr_multiplier: float = 1.0, bias_init: float = 0.0, lrelu: bool = False):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((outputs,), bias_init))
        self.weight_gain = lr_multiplier / math.sqrt(inputs)
        self.bias_gain = lr_multiplier
        self.lrelu = lrelu

    def forward(self, x: Float[Tensor, "B I"]) -> Float[Tensor, "B O"]:
        with torch.autocast(x.device.type, enabled=False):
            weight, bias = self.weight.float() * self.weight_gain, self.bias.float() * self.bias_gain
            y = F.linear(x.float(), weight, bias)
            return F.leaky_relu(y, LRELU_SLOPE) * LRELU_GAIN if self.lrelu else y


class StyledConv(nn.Module):
    """3 x 3 convolution with modulated and demodulated weights, then noise, bias, leaky ReLU and clamp.

    The modulation scales the input and the demodulation the output of one convolution that all samples share,
    which equals convolving every sample with its own weights (StyleGAN2, Eq. 1-3) at a fraction of the cost.
    """

    noise_const: Tensor
    resample_filter: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        w_dim: int,
        size: tuple[int, int],
        up: bool,
        taps: tuple[float, ...],
        clamp: float | None,
        use_noise: bool,
    ):
        super().__init__()
        self.size, self.up, self.clamp, self.use_noise = size, up, clamp, use_noise
        self.affine = Dense(w_dim, inputs, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("resample_filter", resample_kernel(taps))
        if use_noise:
            self.register_buffer("noise_const", torch.randn(size))
            self.noise_strength = nn.Parameter(torch.zeros([]))

    def _noise(self, mode: str, batch: int) -> Tensor | None:
        """[1 or B, H, W], times its learned strength; None where there is none."""
        if not self.use_noise or mode == "none":
            return None
        if mode == "const":
            return self.noise_const[None] * self.noise_strength
        return torch.randn(batch, *self.size, device=self.noise_const.device) * self.noise_strength

    def forward(
        self, x: Float[Tensor, "B I h w"], w: Float[Tensor, "B D"], noise: str = "const", gain: float = 1.0
    ) -> Float[Tensor, "B O H W"]:
        """`gain` scales the output: a residual block's share."""
        dtype = compute_dtype(x)
        styles = self.affine(w)  # [B, I]
        total_gain = LRELU_GAIN * gain
        scale = ops.demodulation(self.weight, styles) * total_gain  # [B, O]
        x = modulate(x.to(dtype), styles)
        y = ops.shared_conv(x, self.weight.to(dtype), self.resample_filter if self.up else None)
        drawn = self._noise(noise, len(w))
        # A leaky ReLU lets positive factors through, so its gain is part of what is done before.
        y = scale_shift_lrelu(y, scale, self.bias * total_gain, None if drawn is None else drawn * total_gain)
        return y if self.clamp is None else y.clamp(-self.clamp * gain, self.clamp * gain)


class ToRGB(nn.Module):
    """1 x 1 modulated convolution to colours, without demodulation."""

    def __init__(self, inputs: int, outputs: int, w_dim: int, clamp: float | None):
        super().__init__()
        self.clamp = clamp
        self.affine = Dense(w_dim, inputs, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.weight_gain = 1 / math.sqrt(inputs)

    def forward(self, x: Float[Tensor, "B I H W"], w: Float[Tensor, "B D"]) -> Float[Tensor, "B C H W"]:
        """Always float32: images accumulate over the blocks."""
        dtype = compute_dtype(x)
        styles = self.affine(w) * self.weight_gain
        y = F.conv2d(modulate(x.to(dtype), styles), self.weight.to(dtype)).float()
        y = y + self.bias.float()[:, None, None]
        return y if self.clamp is None else y.clamp(-self.clamp, self.clamp)


class UpSkip(nn.Module):
    """1 x 1 convolution and up-sampling around a residual block."""

    resample_filter: Tensor

    def __init__(self, inputs: int, outputs: int, taps: tuple[float, ...]):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 1, 1))
        self.weight_gain = 1 / math.sqrt(inputs)
        self.register_buffer("resample_filter", resample_kernel(taps))

    def forward(self, x: Float[Tensor, "B I h w"], gain: float) -> Float[Tensor, "B O H W"]:
        dtype = compute_dtype(x)
        return ops.upsample(F.conv2d(x.to(dtype), (self.weight * (self.weight_gain * gain)).to(dtype)), self.resample_filter)
