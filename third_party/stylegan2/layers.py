"""Layers with equalised learning rates, and the modulated convolutions built from them (StyleGAN2, section 2).

Every layer has `kernel`, which converts the trained weight into the one used in the computation (gains, type, memory
layout), and `freeze`, which caches it.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from . import ops
from .pointwise import LRELU_SLOPE, mix, modulate, recording, scale_shift_lrelu, shift_lrelu_

LRELU_GAIN = math.sqrt(2)  # preserves the second moment through a leaky ReLU


@dataclass(frozen=True)
class Numbers:
    """How a frozen layer computes: type of the convolutions and memory layout of the maps."""

    dtype: torch.dtype = torch.float32
    layout: torch.memory_format = torch.channels_last

    @classmethod
    def of(cls, x: Tensor) -> "Numbers":
        """For a layer in training: the type of autocast where it is on, else of `x`."""
        device = x.device.type
        return cls(torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype)


class Dense(nn.Module):
    """Fully connected layer; the gains of equalised learning rates are applied at run time, in float32."""

    def __init__(
        self, inputs: int, outputs: int, lr_multiplier: float = 1.0, bias_init: float = 0.0, lrelu: bool = False
    ):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((outputs,), bias_init))
        self.weight_gain = lr_multiplier / math.sqrt(inputs)
        self.bias_gain = lr_multiplier
        self.lrelu = lrelu
        self.frozen: tuple[Tensor, Tensor] | None = None

    def kernel(self) -> tuple[Tensor, Tensor]:
        """Weight and bias with their gains."""
        return self.weight.float() * self.weight_gain, self.bias.float() * self.bias_gain

    def freeze(self, numbers: Numbers | None) -> None:
        """Cache the kernel; None: compute it every time."""
        self.frozen = None if numbers is None else self.kernel()

    def forward(self, x: Float[Tensor, "B I"]) -> Float[Tensor, "B O"]:
        """Always float32, regardless of the input and of autocast."""
        with torch.autocast(x.device.type, enabled=False):
            y = F.linear(x.float(), *(self.frozen or self.kernel()))
            return F.leaky_relu(y, LRELU_SLOPE) * LRELU_GAIN if self.lrelu else y


@dataclass(frozen=True)
class StyledKernel:
    """The tensors that a styled convolution uses."""

    weight: Tensor  # [O, I, 3, 3], or [I, O, 3, 3] where it doubles the size
    energy: Tensor  # [O, I] squared norm of each kernel, float32
    gain: Tensor | None  # [O] divisor of `weight` that keeps it in the range of float16
    bias: Tensor  # [O] times the leaky ReLU's gain


class Modulation(NamedTuple):
    """Factors of the input and output of a layer, computed from its row of `ws`."""

    styles: Float[Tensor, "B I"]
    scale: Float[Tensor, "B O"]


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
        gain: float = 1.0,
    ):
        """size: of the output. gain: weight of a residual branch."""
        super().__init__()
        self.size, self.up, self.use_noise = size, up, use_noise
        # A leaky ReLU commutes with positive factors, so its gain is applied before it.
        self.gain = LRELU_GAIN * gain
        self.clamp = None if clamp is None else clamp * gain
        self.affine = Dense(w_dim, inputs, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 3, 3))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("resample_filter", ops.resample_kernel(taps))
        if use_noise:
            self.register_buffer("noise_const", torch.randn(size))
            self.noise_strength = nn.Parameter(torch.zeros([]))
        self.frozen: tuple[Numbers, StyledKernel] | None = None
        self._fixed_noise: Tensor | None = None
        self._fixed_fir: ops.Passes | None = None

    def kernel(self, numbers: Numbers) -> StyledKernel:
        """The kernel for these numbers."""
        weight: Tensor = self.weight
        gain = None
        energy = weight.float().square().sum(dim=(2, 3))
        if numbers.dtype == torch.float16:
            gain = weight.detach().abs().amax(dim=(1, 2, 3)).clamp_min(1e-8) * math.sqrt(weight[0].numel())
            weight = weight / gain[:, None, None, None]
        weight = (weight.transpose(0, 1) if self.up else weight).to(numbers.dtype)
        bias = (self.bias * self.gain).to(numbers.dtype)
        return StyledKernel(weight.contiguous(memory_format=numbers.layout), energy, gain, bias)

    def freeze(self, numbers: Numbers | None) -> None:
        """Cache the kernel, the noise and the filter for these numbers; None: compute them every time."""
        self.frozen = self._fixed_noise = self._fixed_fir = None
        if numbers is not None:
            self.frozen = numbers, self.kernel(numbers)
            noise = self._noise("const", 1)
            self._fixed_noise = None if noise is None else noise.to(numbers.dtype)
            self._fixed_fir = ops.low_pass(self.resample_filter, numbers.dtype)

    def fixed_kernel(self) -> StyledKernel:
        """The kernel that `freeze` has cached."""
        assert self.frozen is not None  # the layer is frozen
        return self.frozen[1]

    def _noise(self, mode: str, batch: int) -> Tensor | None:
        """The noise times its learned strength, [1 or B, H, W]; None where there is none."""
        if not self.use_noise or mode == "none":
            return None
        if mode == "const" and self._fixed_noise is not None:
            return self._fixed_noise
        noise = self.noise_const[None]
        if mode == "random":
            noise = torch.randn(batch, *self.size, device=noise.device)
        return noise * (self.noise_strength * self.gain)

    def modulation(self, w: Float[Tensor, "B D"], kernel: StyledKernel) -> Modulation:
        """The modulation by the layer's row of `ws`."""
        styles = self.affine(w)  # [B, I]
        scale = ops.demodulation(kernel.energy, styles) * self.gain  # [B, O]
        if kernel.gain is None:
            return Modulation(styles, scale)
        peak = styles.detach().abs().amax(dim=1, keepdim=True).clamp_min(1e-8)
        return Modulation(styles / peak, scale * peak * kernel.gain)

    def forward(
        self, x: Float[Tensor, "B I h w"], w: Float[Tensor, "B D"] | Modulation, noise: str
    ) -> Float[Tensor, "B O H W"]:
        """`noise` is const, random or none."""
        numbers, kernel = self.frozen or (Numbers.of(x), None)
        with torch.autocast(x.device.type, enabled=False):
            kernel = kernel or self.kernel(numbers)
            styles, scale = w if isinstance(w, Modulation) else self.modulation(w, kernel)
            drawn = self._noise(noise, len(x))
            fir = (self._fixed_fir or self.resample_filter) if self.up else None
            x = x.to(numbers.dtype)
            if len(x) == 1 and kernel.weight.numel() <= x.numel() and not recording(x, styles, kernel.weight):
                # One image whose weights are smaller than its maps: scale the weights instead.
                weight = kernel.weight * _outer(styles, scale, self.up).to(numbers.dtype)
                return shift_lrelu_(ops.conv(x, weight, fir, kernel.bias), drawn, self.clamp)
            y = ops.conv(modulate(x, styles), kernel.weight, fir)
            return scale_shift_lrelu(y, scale, kernel.bias, drawn, self.clamp)


def _outer(styles: Float[Tensor, "1 I"], scale: Float[Tensor, "1 O"], up: bool) -> Tensor:
    """Factors of a kernel: [O, I, 1, 1], or [I, O, 1, 1] where the layer doubles the size."""
    product = styles.T * scale if up else scale.T * styles
    return product[:, :, None, None]


class ToRGB(nn.Module):
    """1 x 1 modulated convolution to colours, without demodulation."""

    def __init__(self, inputs: int, outputs: int, w_dim: int, clamp: float | None):
        super().__init__()
        self.clamp = clamp
        self.affine = Dense(w_dim, inputs, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.weight_gain = 1 / math.sqrt(inputs)

    def forward(self, x: Float[Tensor, "B I H W"], w: Float[Tensor, "B D"] | Modulation) -> Float[Tensor, "B C H W"]:
        """Always float32: images accumulate over the blocks."""
        with torch.autocast(x.device.type, enabled=False):
            styles = w.styles if isinstance(w, Modulation) else self.affine(w) * self.weight_gain
            y = mix(x, self.weight.float()[:, :, 0, 0] * styles[:, None])
            y = y.float() + self.bias.float()[:, None, None]
        return y if self.clamp is None else y.clamp(-self.clamp, self.clamp)


class UpSkip(nn.Module):
    """1 x 1 convolution and up-sampling around a residual block."""

    resample_filter: Tensor

    def __init__(self, inputs: int, outputs: int, taps: tuple[float, ...], gain: float):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 1, 1))
        self.weight_gain = gain / math.sqrt(inputs)
        self.register_buffer("resample_filter", ops.resample_kernel(taps))

    def forward(self, x: Float[Tensor, "B I h w"]) -> Float[Tensor, "B O H W"]:
        """Twice the size, in the type of `x`."""
        with torch.autocast(x.device.type, enabled=False):
            y = mix(x, self.weight[None, :, :, 0, 0] * self.weight_gain)
            return ops.upsample(y, self.resample_filter)
