"""The synthesis network as the paper's formulas read: every sample is convolved with its own modulated kernels.

Slower than `synthesis` and equal to it up to rounding. In float32 it rounds as the published programs do on a CPU,
which matters where the sign of the difference of two nearly equal features steers an optimisation.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from . import ops
from .layers import Dense, StyledConv
from .network import Generator
from .pointwise import LRELU_SLOPE
from .synthesis import Block


def plain_synthesis(
    generator: Generator, ws: Float[Tensor, "B L D"], stop: int | None = None, dtype: torch.dtype = torch.float32
) -> tuple[Tensor | None, Float[Tensor, "B C h w"]]:
    """The image, float32 (None with `stop`), and the output of the last block computed: number `stop`, from 1.

    Uses the generator's own noise. dtype: type of the convolutions. Differentiable with respect to `ws`.
    """
    image: Tensor | None = None
    x = torch.empty(0)
    row = 0
    with torch.autocast(ws.device.type, enabled=False):
        for block in generator.synthesis.stack()[:stop]:
            x = _block(block, x.to(dtype), ws[:, row : row + block.num_convs])
            row += block.num_convs
            if stop is None:
                image = block.image(x, ws[:, row], image)
    return image, x


def _block(block: Block, x: Tensor, ws: Float[Tensor, "B n D"]) -> Float[Tensor, "B C H W"]:
    if block.first:
        return styled_conv(block.conv1, block.const.to(x.dtype).expand(len(ws), -1, -1, -1), ws[:, 0])
    y = styled_conv(block.conv1, styled_conv(block.conv0, x, ws[:, 0]), ws[:, 1])
    if not block.residual:
        return y
    weight = (block.skip.weight.float() * block.skip.weight_gain).to(x.dtype)
    return ops.upsample(F.conv2d(x, weight), block.skip.resample_filter) + y


def styled_conv(
    layer: StyledConv, x: Float[Tensor, "B I h w"], w: Float[Tensor, "B D"], eps: float = 1e-8
) -> Float[Tensor, "B O H W"]:
    """StyleGAN2, Eq. 1-3, then noise, bias, leaky ReLU and clamp, with the parameters of a layer."""
    batch, inputs = x.shape[:2]
    weight = layer.weight.float()[None] * _affine(layer.affine, w).reshape(batch, 1, inputs, 1, 1)
    weight = (weight * (weight.square().sum(dim=(2, 3, 4)) + eps).rsqrt().reshape(batch, -1, 1, 1, 1)).to(x.dtype)
    x = x.reshape(1, batch * inputs, *x.shape[2:])
    if layer.up:
        kernels = weight.transpose(1, 2).flatten(0, 1)  # [B I, O, 3, 3]
        y = F.conv_transpose2d(x, kernels, stride=2, groups=batch)
        y = ops.filter_upsampled(y, layer.resample_filter)
    else:
        y = F.conv2d(x, weight.flatten(0, 1), padding=1, groups=batch)
    y = y.reshape(batch, -1, *y.shape[2:])
    if layer.use_noise:
        y = y + (layer.noise_const * layer.noise_strength).to(y.dtype)
    y = F.leaky_relu(y + layer.bias.to(y.dtype)[:, None, None], LRELU_SLOPE) * layer.gain
    return y if layer.clamp is None else y.clamp(-layer.clamp, layer.clamp)


def _affine(layer: Dense, w: Float[Tensor, "B D"]) -> Float[Tensor, "B I"]:
    return torch.addmm(layer.bias[None] * layer.bias_gain, w, (layer.weight * layer.weight_gain).t())
