"""The arithmetic of StyleGAN2 on tensors, without parameters: FIR resampling, demodulation, convolutions."""

from collections.abc import Sequence
from typing import TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

#: Successive convolutions: taps [kh, kw], and whether they act on rows and on columns.
Passes: TypeAlias = Sequence[tuple[Tensor, tuple[bool, bool]]]
EPSILON = 1e-8  # added to squared norms


def resample_kernel(taps: tuple[float, ...]) -> Tensor:
    """FIR filter of unit sum as checkpoints store it: [k, k], or from 8 taps on [k], for one axis after the other."""
    kernel = torch.tensor(taps, dtype=torch.float32)
    kernel = kernel / kernel.sum()
    return kernel if len(taps) >= 8 else torch.outer(kernel, kernel)


def _passes(kernel: Tensor) -> list[tuple[Tensor, tuple[bool, bool]]]:
    """The passes of a filter. A gain of 2 for each axis compensates for the inserted zeros."""
    if kernel.ndim == 2:
        return [(kernel * 4, (True, True))]
    return [(kernel[:, None] * 2, (True, False)), (kernel[None, :] * 2, (False, True))]


def low_pass(kernel: Tensor, dtype: torch.dtype) -> Passes:
    """A FIR filter as `filter_upsampled` applies it, in the type of the maps."""
    return [(taps.flip(0, 1).to(dtype), axes) for taps, axes in _passes(kernel)]


def interpolation(kernel: Tensor, dtype: torch.dtype) -> Passes:
    """A FIR filter as `upsample` applies it, in the type of the maps."""
    return [(taps.to(dtype), axes) for taps, axes in _passes(kernel)]


def filter_upsampled(x: Tensor, kernel: Tensor | Passes, bias: Tensor | None = None) -> Tensor:
    """Low-pass the output of a 3 x 3 transposed convolution of stride 2; 2n + 1 rows and columns become 2n.

    kernel: FIR filter, or the result of `low_pass`.
    """
    passes = low_pass(kernel, x.dtype) if isinstance(kernel, Tensor) else kernel
    size, channels = passes[0][0].shape[0], x.shape[1]
    before, after = (size + 1) // 2 - 1, (size - 2) // 2
    for i, (taps, (rows, columns)) in enumerate(passes, start=1):
        weight = taps.expand(channels, 1, *taps.shape)
        shift = bias if i == len(passes) else None
        if before == after:
            x = F.conv2d(x, weight, shift, padding=(before * rows, before * columns), groups=channels)
        else:
            x = F.pad(x, (before * columns, after * columns, before * rows, after * rows))
            x = F.conv2d(x, weight, shift, groups=channels)
    return x


def upsample(x: Float[Tensor, "B C h w"], kernel: Tensor | Passes) -> Float[Tensor, "B C H W"]:
    """Twice the size: a zero after every pixel, then the FIR filter.

    kernel: FIR filter, or the result of `interpolation`.
    """
    passes = interpolation(kernel, x.dtype) if isinstance(kernel, Tensor) else kernel
    size, channels = passes[0][0].shape[0], x.shape[1]
    begin = size - 1 - (size + 1) // 2  # of the full transposed convolution, the first row that is kept
    for taps, axes in passes:
        stride = tuple(2 if axis else 1 for axis in axes)
        wanted = [n * s for n, s in zip(x.shape[2:], stride, strict=True)]
        x = F.conv_transpose2d(x, taps.expand(channels, 1, *taps.shape), stride=stride, groups=channels)
        first = [begin if axis else 0 for axis in axes]
        rows, columns = ((-b, n - (have - b)) for b, n, have in zip(first, wanted, x.shape[2:], strict=True))
        x = F.pad(x, (*columns, *rows))
    return x


def demodulation(energy: Float[Tensor, "O I"], styles: Float[Tensor, "B I"]) -> Float[Tensor, "B O"]:
    """One over the norm of every sample's modulated kernels (StyleGAN2, Eq. 3), from the kernels' squared norms."""
    return torch.rsqrt(styles.square() @ energy.T + EPSILON)


def conv(
    x: Float[Tensor, "B I h w"], weight: Tensor, fir: Tensor | Passes | None, bias: Tensor | None = None
) -> Tensor:
    """3 x 3 convolution that keeps the size (weight [O, I, 3, 3]), or doubles it with a FIR filter ([I, O, 3, 3])."""
    if fir is None:
        return F.conv2d(x, weight, bias, padding=1)
    # A transposed convolution combines zero insertion and convolution, without the products with zeros.
    return filter_upsampled(F.conv_transpose2d(x, weight, stride=2), fir, bias)
