"""Whitened coordinates of W: in them mapped latents have mean 0 and covariance I.

Most generators' latents vary along far fewer directions than they have numbers. Whatever is solved for in these
coordinates stays among them, and a squared norm is a Mahalanobis distance, so "one deviation" means the same along all.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

LEFT_OUT = 1e-4  # share of the variance that the coordinates may leave out: directions that hardly vary


class Whitening(nn.Module):
    """y = inverse (w - mean), w = mean + basis y, for any number of rows."""

    mean: Tensor
    basis: Tensor
    inverse: Tensor

    def __init__(self, w_dim: int, size: int) -> None:
        """Without content, to be loaded; `measure` makes one from latents. size: Y."""
        super().__init__()
        self.register_buffer("mean", torch.zeros(w_dim))
        self.register_buffer("basis", torch.zeros(w_dim, size))
        self.register_buffer("inverse", torch.zeros(size, w_dim))

    @classmethod
    @torch.no_grad()
    def measure(cls, ws: Float[Tensor, "N D"]) -> "Whitening":
        """From mapped latents, N well above D; on the CPU."""
        rows = ws.double().cpu()
        values, vectors = (part.flip(-1) for part in torch.linalg.eigh(torch.cov(rows.T)))
        size = int((values.cumsum(0) / values.sum() < 1 - LEFT_OUT).sum()) + 1
        scales = values[:size].sqrt()
        whitening = cls(rows.shape[1], size)
        whitening.mean.copy_(rows.mean(dim=0))
        whitening.basis.copy_(vectors[:, :size] * scales)
        whitening.inverse.copy_(vectors[:, :size].T / scales[:, None])
        return whitening

    @property
    def size(self) -> int:
        """Y."""
        return self.basis.shape[1]

    def coordinates(self, ws: Float[Tensor, "*rows D"]) -> Float[Tensor, "*rows Y"]:
        """y of latents; what no coordinate describes is left out."""
        return (ws - self.mean) @ self.inverse.T

    def latents(self, y: Float[Tensor, "*rows Y"]) -> Float[Tensor, "*rows D"]:
        """w of coordinates."""
        return self.mean + y @ self.basis.T
