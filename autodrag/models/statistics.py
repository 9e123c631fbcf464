"""Statistics of a generator's latents and features: measured by `training.latent_statistics`, stored with the model."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of W per dimension [D] and of the feature map per channel [C]."""

    w_mean: Float[Tensor, " D"]
    w_std: Float[Tensor, " D"]
    feature_mean: Float[Tensor, " C"]
    feature_std: Float[Tensor, " C"]

    @staticmethod
    def identity(w_dim: int, channels: int) -> "Statistics":
        """Zero means and unit standard deviations."""
        return Statistics(torch.zeros(w_dim), torch.ones(w_dim), torch.zeros(channels), torch.ones(channels))


class Standardise(nn.Module):
    """(x - mean) / std along one axis, with mean and std as buffers.

    Inputs have unit scale for every generator; otherwise the few dimensions with a large variance dominate.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Float[Tensor, " D"], std: Float[Tensor, " D"], axis: int = -1) -> None:
        super().__init__()
        self.axis = axis
        self.register_buffer("mean", mean.clone())
        self.register_buffer("std", std.clone())

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Standardised x, of the same shape."""
        shape = [1] * x.ndim
        shape[self.axis] = -1
        return (x - self.mean.view(shape)) / self.std.view(shape)
