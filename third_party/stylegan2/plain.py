"""The synthesis network as its formulas are printed: every sample convolved with its own kernels, in float32.

Slower than `synthesis`, and equal to it but for rounding. It rounds as published programs do on a CPU, which matters
where the sign of a difference of two almost equal features steers an optimisation.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from third_party.stylegan2 import ops
from third_party.stylegan2.layers import Dense, StyledConv
from third_party.stylegan2.network import Generator
from third_party.stylegan2.pointwise import LRELU_SLOPE
from third_party.stylegan2.synthesis import Block


def features(generator: Generator, ws: Float[Tensor, "B L D"], stop: int) -> Float[Tensor, "B C H W"]:
    """Output of block `stop`, counted from 1, with the generator's own noise. Differentiable with respect to `ws`."""
    x: Tensor | None = None
    row = 0
    with torch.autocast(ws.device.type, enabled=False):
        for name in generator.synthesis.blocks[:stop]:
            block = generator.synthesis.get_submodule(f"b{name}")
            assert isinstance(block, Block)
            x = _block(block, x, ws[:, row : row + block.num_convs])
            row += block.num_convs
    assert x is not None
    return x


def _block(block: Block, x: Tensor | None, ws: Float[Tensor, "B n D"]) -> Float[Tensor, "B C H W"]:
    if x is None:
        return styled_conv(block.conv1, block.const.float().expand(len(ws), -1, -1, -1), ws[:, 0])
    y = styled_conv(block.conv1, styled_conv(block.conv0, x, ws[:, 0]), ws[:, 1])
    if not block.residual:
        return y
    weight = block.skip.weight.float() * block.skip.weight_gain
    return ops.upsample(F.conv2d(x, weight), block.skip.resample_filter) + y


def styled_conv(
    layer: StyledConv, x: Float[Tensor, "B I h w"], w: Float[Tensor, "B D"], eps: float = 1e-8
) -> Float[Tensor, "B O H W"]:
    """StyleGAN2, Eq. 1-3, then noise, bias, leaky ReLU and clamp, with the parameters of a layer."""
    batch, inputs = x.shape[:2]
    weight = layer.weight.float()[None] * _affine(layer.affine, w).reshape(batch, 1, inputs, 1, 1)
    weight = weight * (weight.square().sum(dim=(2, 3, 4)) + eps).rsqrt().reshape(batch, -1, 1, 1, 1)
    x = x.reshape(1, batch * inputs, *x.shape[2:])
    if layer.up:
        kernels = weight.transpose(1, 2).flatten(0, 1)  # [B I, O, 3, 3]
        y = F.conv_transpose2d(x, kernels, stride=2, groups=batch)
        y = ops.filter_upsampled(y, layer.resample_filter)
    else:
        y = F.conv2d(x, weight.flatten(0, 1), padding=1, groups=batch)
    y = y.reshape(batch, -1, *y.shape[2:])
    if layer.use_noise:
        y = y + layer.noise_const * layer.noise_strength
    y = F.leaky_relu(y + layer.bias[:, None, None], LRELU_SLOPE) * layer.gain
    return y if layer.clamp is None else y.clamp(-layer.clamp, layer.clamp)


def _affine(layer: Dense, w: Float[Tensor, "B D"]) -> Float[Tensor, "B I"]:
    return torch.addmm(layer.bias[None] * layer.bias_gain, w, (layer.weight * layer.weight_gain).t())
