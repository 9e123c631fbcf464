"""The styles and demodulation factors of all layers at once: seven operations in total instead of six for each layer.

On a GPU an operation on a few hundred numbers costs as much as its launch, and a network of 16 rows has 23 layers. The
matrices of the layers are padded to one size with zeros, which do not change the results.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from .layers import Modulation, StyledConv, ToRGB
from .ops import EPSILON


class Modulations:
    """The modulations of frozen layers, in the order of their computation, each with the index of its row of `ws`."""

    def __init__(self, layers: Sequence[tuple[int, StyledConv | ToRGB]]):
        kernels = [layer.affine.kernel() for _, layer in layers]
        self._sizes = [(layer.weight.shape[1], layer.weight.shape[0]) for _, layer in layers]  # (inputs, outputs)
        inputs, outputs = (max(size[axis] for size in self._sizes) for axis in (0, 1))
        gains = [layer.weight_gain if isinstance(layer, ToRGB) else 1.0 for _, layer in layers]
        self._weight = torch.stack(  # [N, D, I]
            [
                _padded(gain * weight, inputs, weight.shape[1]).T
                for gain, (weight, _) in zip(gains, kernels, strict=True)
            ]
        )
        self._bias = torch.stack(  # [N, 1, I]
            [F.pad(gain * bias, (0, inputs - len(bias)))[None] for gain, (_, bias) in zip(gains, kernels, strict=True)]
        )
        self._rows = torch.tensor([row for row, _ in layers], device=self._weight.device)
        convolutions = [layer if isinstance(layer, StyledConv) else None for _, layer in layers]
        energies = [_energy(layer, self._weight) for layer in convolutions]
        self._energy = torch.stack([_padded(energy, outputs, inputs).T for energy in energies])  # [N, I, O]
        self._eps = self._energy.new_full((1, 1, 1), EPSILON)
        scales = [_scale(layer, self._weight) for layer in convolutions]
        self._scale = torch.stack([F.pad(scale, (0, outputs - len(scale)))[None] for scale in scales])  # [N, 1, O]
        narrow = [layer is not None and layer.fixed_kernel().gain is not None for layer in convolutions]
        self._narrow = torch.tensor(narrow, device=self._weight.device)[:, None, None] if any(narrow) else None

    def __call__(self, ws: Float[Tensor, "B L D"], count: int) -> list[Modulation]:
        """The modulations of the first `count` layers."""
        w = ws.transpose(0, 1).index_select(0, self._rows[:count])  # [N, B, D]
        styles = torch.baddbmm(self._bias[:count], w, self._weight[:count])  # [N, B, I]
        norm = torch.baddbmm(self._eps, styles.square(), self._energy[:count])
        scale = norm.rsqrt() * self._scale[:count]  # [N, B, O]
        if self._narrow is not None:  # see `StyledConv.modulation`
            peak = styles.detach().abs().amax(dim=2, keepdim=True).clamp_min(1e-8)
            peak = torch.where(self._narrow[:count], peak, 1.0)
            styles, scale = styles / peak, scale * peak
        parts = zip(styles.unbind(), scale.unbind(), self._sizes[:count], strict=True)
        return [Modulation(style[:, :inputs], factor[:, :outputs]) for style, factor, (inputs, outputs) in parts]


def _padded(matrix: Float[Tensor, "r c"], rows: int, columns: int) -> Float[Tensor, "R C"]:
    return F.pad(matrix, (0, columns - matrix.shape[1], 0, rows - matrix.shape[0]))


def _energy(layer: StyledConv | None, like: Tensor) -> Float[Tensor, "O I"]:
    """Squared norms of a layer's kernels; zero for a conversion to colours, which is not demodulated."""
    return like.new_zeros(1, 1) if layer is None else layer.fixed_kernel().energy


def _scale(layer: StyledConv | None, like: Tensor) -> Float[Tensor, " O"]:
    """The factor of a layer's demodulation."""
    if layer is None:
        return like.new_zeros(1)
    gain = layer.fixed_kernel().gain
    return like.new_full((len(layer.weight),), layer.gain) * (1 if gain is None else gain)
