"""Per-channel arithmetic around a convolution, with explicit gradients that make as few passes over memory as possible:
on a CPU these passes, not the convolutions, are most of the cost at large sizes.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

LRELU_SLOPE = 0.2
ROW_LENGTH = 512  # elements; shorter rows leave vector registers empty


def lies_last(x: Float[Tensor, "B C H W"]) -> bool:
    """Whether a map is channels-last in memory, and not in both orders at once, as with one pixel or channel."""
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


class _Rows:
    """A view of maps as rows with a factor for every element of a row.

    Channels-last maps become [B, rows, r C], where a row holds r pixels; others [B, C, H W].
    """

    def __init__(self, x: Tensor):
        _, self.channels, self.height, self.width = x.shape
        self.last = lies_last(x)
        pixels = self.height * self.width
        self.pixels_per_row = math.gcd(pixels, 2 ** math.ceil(math.log2(max(1, ROW_LENGTH // self.channels))))

    def flat(self, x: Tensor) -> Tensor:
        if self.last:
            return x.permute(0, 2, 3, 1).reshape(len(x), -1, self.pixels_per_row * self.channels)
        return x.reshape(len(x), self.channels, -1)

    def maps(self, rows: Tensor) -> Tensor:
        if self.last:
            return rows.reshape(len(rows), self.height, self.width, self.channels).permute(0, 3, 1, 2)
        return rows.reshape(len(rows), self.channels, self.height, self.width)

    def factors(self, values: Tensor) -> Tensor:
        """[B, C] to the shape that multiplies `flat`."""
        return values.repeat(1, self.pixels_per_row)[:, None] if self.last else values[:, :, None]

    def totals(self, rows: Tensor) -> Tensor:
        """Sum over the pixels of `flat`: [B, C]."""
        if not self.last:
            return rows.sum(2)
        return rows.sum(1).reshape(len(rows), self.pixels_per_row, self.channels).sum(1)

    def shift(self, bias: Tensor, noise: Tensor | None) -> Tensor:
        """bias [C] plus noise [1 or B, H W], in the shape that is added to `flat`."""
        if noise is None:
            return self.factors(bias[None])
        one = torch.ones_like
        if self.last:  # an outer sum as a matrix product, the fastest way
            map_ = torch.stack([noise, one(noise)], 2) @ torch.stack([one(bias), bias])
            return map_.reshape(len(noise), -1, self.pixels_per_row * self.channels)
        return bias[:, None] + noise[:, None]


def _lrelu_clamp_(x: Tensor, clamp: float | None) -> Tensor:
    x = F.leaky_relu_(x, LRELU_SLOPE)
    return x if clamp is None else x.clamp_(-clamp, clamp)


class _Modulate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, styles: Tensor) -> Tensor:
        rows = _Rows(x)
        ctx.save_for_backward(x, styles)
        return rows.maps(rows.flat(x) * rows.factors(styles))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        x, styles = ctx.saved_tensors
        rows = _Rows(x)
        flat = rows.flat(grad)
        grad_x = rows.maps(flat * rows.factors(styles)) if ctx.needs_input_grad[0] else None
        return grad_x, rows.totals(flat * rows.flat(x)) if ctx.needs_input_grad[1] else None


class _ScaleShiftLrelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, bias: Tensor, noise: Tensor | None, clamp: float | None) -> Tensor:
        rows = _Rows(x)
        y = rows.flat(x) * rows.factors(scale)
        y = rows.maps(_lrelu_clamp_(y.add_(rows.shift(bias, noise)), clamp))
        ctx.save_for_backward(x, scale, y)
        ctx.clamp, ctx.noise_batch = clamp, None if noise is None else len(noise)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, scale, y = ctx.saved_tensors
        rows = _Rows(x)
        flat = rows.flat(grad)
        if ctx.clamp is not None:
            flat = torch.ops.aten.hardtanh_backward(flat, rows.flat(y), -ctx.clamp, ctx.clamp)
        # The output has the sign of the input, which determines the slope.
        flat = torch.ops.aten.leaky_relu_backward(flat, rows.flat(y), LRELU_SLOPE, True)
        grad_x = rows.maps(flat * rows.factors(scale)) if ctx.needs_input_grad[0] else None
        grad_bias = rows.totals(flat).sum(0) if ctx.needs_input_grad[2] else None
        grad_noise = None
        if ctx.needs_input_grad[3]:
            grad_noise = rows.maps(flat).sum(1).flatten(1)
            grad_noise = grad_noise.sum(0, keepdim=True) if ctx.noise_batch == 1 else grad_noise
        # Unless the gradient itself is differentiated, the product may overwrite its factor.
        product = flat * rows.flat(x) if torch.is_grad_enabled() else flat.mul_(rows.flat(x))
        return grad_x, rows.totals(product), grad_bias, grad_noise, None


def recording(*tensors: Tensor | None) -> bool:
    """Whether a gradient to any of these is being recorded."""
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)


def modulate(x: Float[Tensor, "B C H W"], styles: Float[Tensor, "B C"]) -> Float[Tensor, "B C H W"]:
    """Scale every sample's channels, in the type of `x`."""
    styles = styles.to(x.dtype)
    if recording(x, styles):
        result: Tensor = _Modulate.apply(x, styles)
        return result
    if not x.is_cpu:
        return x * styles[:, :, None, None]
    rows = _Rows(x)
    return rows.maps(rows.flat(x) * rows.factors(styles))


def scale_shift_lrelu(
    x: Float[Tensor, "B C H W"],
    scale: Float[Tensor, "B C"],
    bias: Float[Tensor, " C"],
    noise: Float[Tensor, "#B H W"] | None = None,
    clamp: float | None = None,
) -> Float[Tensor, "B C H W"]:
    """Leaky ReLU of `scale` x + `bias` + `noise`, then clipped to +-`clamp`, in the type of `x`.

    Where no gradient is recorded the result may overwrite `x`, which the caller must own.
    """
    scale, bias = scale.to(x.dtype), bias.to(x.dtype)
    noise = None if noise is None else noise.to(x.dtype).flatten(1)
    if recording(x, scale, bias, noise):
        result: Tensor = _ScaleShiftLrelu.apply(x, scale, bias, noise, clamp)
        return result
    if not x.is_cpu:
        return broadcast_scale_shift_lrelu_(x, scale, bias, noise, clamp)
    rows = _Rows(x)
    flat = rows.flat(x)
    torch.addcmul(rows.shift(bias, noise), flat, rows.factors(scale), out=flat)
    return rows.maps(_lrelu_clamp_(flat, clamp))


def broadcast_scale_shift_lrelu_(
    x: Float[Tensor, "B C H W"],
    scale: Float[Tensor, "B C"],
    bias: Float[Tensor, " C"],
    noise: Float[Tensor, "#B N"] | None,
    clamp: float | None,
) -> Float[Tensor, "B C H W"]:
    """`scale_shift_lrelu` in place, without a gradient, in as few operations as possible, for a GPU."""
    shift = bias[:, None, None]
    if noise is not None:
        shift = shift + noise.unflatten(1, x.shape[2:])[:, None]
    torch.addcmul(shift.expand(len(x), -1, *x.shape[2:]), x, scale[:, :, None, None], out=x)
    return _lrelu_clamp_(x, clamp)


def shift_lrelu_(
    x: Float[Tensor, "B C H W"], noise: Float[Tensor, "#B H W"] | None, clamp: float | None
) -> Float[Tensor, "B C H W"]:
    """`scale_shift_lrelu` without scale and bias, in place and without a gradient."""
    if noise is not None:
        noise = noise.to(x.dtype).flatten(1)
        if lies_last(x) and x.is_cpu:  # an outer product is several times faster than broadcasting over channels
            pixels = x.permute(0, 2, 3, 1).flatten(1, 2)
            pixels.baddbmm_(noise[:, :, None].expand(len(x), -1, -1), x.new_ones(len(x), 1, x.shape[1]))
        else:
            x.add_(noise.unflatten(1, x.shape[2:])[:, None])
    return _lrelu_clamp_(x, clamp)


def mix(x: Float[Tensor, "B I H W"], weight: Float[Tensor, "#B O I"]) -> Float[Tensor, "B O H W"]:
    """A 1 x 1 convolution with separate weights for every sample, as matrix products in the type of `x`."""
    weight = weight.to(x.dtype)
    if lies_last(x):
        y = x.permute(0, 2, 3, 1).flatten(1, 2) @ weight.transpose(1, 2)
        return y.unflatten(1, x.shape[2:]).permute(0, 3, 1, 2)
    return (weight @ x.flatten(2)).unflatten(2, x.shape[2:])
