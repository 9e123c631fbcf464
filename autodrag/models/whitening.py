"""Whitened coordinates of W, in which mapped latents have mean 0 and covariance I.

Most generators' latents vary along far fewer directions than they have dimensions. Solutions in these coordinates stay
in that subspace, and their squared norm is a Mahalanobis distance.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

LEFT_OUT = 1e-4  # fraction of the variance dropped by the coordinates: directions that hardly vary


class Whitening(nn.Module):
    """y = inverse (w - mean), w = mean + basis y, for any number of rows."""

    mean: Tensor
    basis: Tensor
    inverse: Tensor

    def __init__(self, w_dim: int, size: int) -> None:
        """Buffers to be loaded; `measure` computes them from latents. size: Y."""
        super().__init__()
        self.register_buffer("mean", torch.zeros(w_dim))
        self.register_buffer("basis", torch.zeros(w_dim, size))
        self.register_buffer("inverse", torch.zeros(size, w_dim))

    @classmethod
    @torch.no_grad()
    def measure(cls, ws: Float[Tensor, "N D"]) -> "Whitening":
        """Estimate from mapped latents, N well above D. Computed and returned on the CPU."""
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
        """Y, the number of coordinates."""
        return self.basis.shape[1]

    def coordinates(self, ws: Float[Tensor, "*rows D"]) -> Float[Tensor, "*rows Y"]:
        """y of latents in float32; components outside the span of the coordinates are dropped."""
        with torch.autocast(ws.device.type, enabled=False):
            return (ws.float() - self.mean) @ self.inverse.T

    def latents(self, y: Float[Tensor, "*rows Y"]) -> Float[Tensor, "*rows D"]:
        """Latents w of coordinates y, in float32."""
        with torch.autocast(y.device.type, enabled=False):
            return self.mean + y.float() @ self.basis.T
