"""The distribution of a generator's mapped latents in W, and the limits it sets for drags.

Ours; whitening before the last activation of the mapping is from Zhu et al., "Improved StyleGAN Embedding: Where are
the Good Latents?" (2020). There W is close to normally distributed, so a norm measures how unusual a latent is. A
single norm would still allow ten deviations along one direction, so coordinates are sorted by how much they change the
image, and split into groups of 1, 1, 1, 1, 2, 2, 4, 4, 8, ... The norm of each group is limited, and so is the norm of
all coordinates up to the end of each group.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

SLOPE = 0.2  # negative slope of the leaky ReLU that ends the mapping; its gain only scales the latents
LEFT_OUT = 1e-4  # fraction of the variance dropped by the coordinates: directions that never vary
SAME, CUT = 1e-3, 0.1  # fractions of an offset lost in `guarded`: up to which rows are kept, above which they are cut
UNMOVED = 1e-8  # squared offset up to which coordinates count as unmoved: limits do not shorten rounding errors
INSIDE = 0.99  # fraction of the mapped latents within each limit
ENDS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384)  # of the groups


class Manifold(nn.Module):
    """Whitened coordinates y [Y] of latents w [D], sorted by how much they change the image, and their limits."""

    mean: Tensor
    basis: Tensor
    inverse: Tensor
    limits: Tensor
    last: Tensor
    group: Tensor

    def __init__(self, w_dim: int, size: int) -> None:
        """Buffers to be loaded; `measure` computes them from latents. size: Y."""
        super().__init__()
        ends = [*(end for end in ENDS if end < size), size]
        sizes = torch.tensor(ends).diff(prepend=torch.tensor([0]))
        self.register_buffer("last", torch.tensor(ends) - 1, persistent=False)  # coordinate of each group
        self.register_buffer("group", torch.arange(len(ends)).repeat_interleave(sizes), persistent=False)
        self.register_buffer("mean", torch.zeros(w_dim))
        self.register_buffer("basis", torch.zeros(w_dim, size))
        self.register_buffer("inverse", torch.zeros(size, w_dim))
        self.register_buffer("limits", torch.ones(2, len(ends)))  # of each group, and of all up to its end

    @classmethod
    @torch.no_grad()
    def measure(cls, ws: Float[Tensor, "N D"], metric: Float[Tensor, "D D"]) -> "Manifold":
        """Estimate from mapped latents, N well above D.

        metric: M, such that dw^T M dw is the squared change of the image caused by an offset dw.
        """
        x, metric = _before_activation(ws.double().cpu()), metric.double().cpu()
        values, vectors = (part.flip(-1) for part in torch.linalg.eigh(torch.cov(x.T)))
        size = int((values.cumsum(0) / values.sum() < 1 - LEFT_OUT).sum()) + 1
        scales = values[:size].sqrt()
        basis, inverse = vectors[:, :size] * scales, vectors[:, :size].T / scales[:, None]
        derivatives = _activation_derivative(x[:: max(1, len(x) // 500)])
        seen = derivatives.T @ derivatives / len(derivatives) * metric  # E[diag(s) metric diag(s)]
        turn = torch.linalg.eigh(basis.T @ seen @ basis).eigenvectors.flip(-1)
        manifold = cls(ws.shape[1], size)
        manifold.mean.copy_(x.mean(dim=0))
        manifold.basis.copy_(basis @ turn)
        manifold.inverse.copy_(turn.T @ inverse)
        norms = manifold._norms(manifold.coordinates(ws.cpu().float()))
        manifold.limits.copy_(norms.quantile(INSIDE, dim=0))
        return manifold.to(ws.device)

    @property
    def size(self) -> int:
        """Y, the number of coordinates."""
        return self.basis.shape[1]

    def coordinates(self, w: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch Y"]:
        """y of latents, close to N(0, I) for mapped ones."""
        return (_before_activation(w) - self.mean) @ self.inverse.T

    def moved(self, w: Float[Tensor, "*batch D"], by: Float[Tensor, "*batch Y"]) -> Float[Tensor, "*batch D"]:
        """Latents offset by `by` in coordinates; components outside their span do not change."""
        return _activation(_before_activation(w) + by @ self.basis.T)

    def derivative(self, w: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D Y"]:
        """Jacobian dw / dy."""
        return _activation_derivative(_before_activation(w))[..., None] * self.basis

    def allowed(self, start: Float[Tensor, "*batch Y"], within: float = 1.0) -> Float[Tensor, "*batch 2 M"]:
        """Limits for edits of the latents `start`: a fraction of the manifold's, or their own norms where these are
        larger.
        """
        return torch.maximum(self._norms(start), within * self.limits)

    def inside(
        self, y: Float[Tensor, "*batch Y"], start: Float[Tensor, "*batch Y"], allowed: Float[Tensor, "*batch 2 M"]
    ) -> Float[Tensor, "*batch Y"]:
        """Project y into the limits `allowed`, which `start` satisfies.

        Groups beyond their limits are scaled; then the offset from `start` is shortened until all cumulative norms are
        within theirs.
        """
        scale = (allowed[..., 0, :] / self._norms(y)[..., 0, :].clamp(min=1e-9)).clamp(max=1)
        way = y * scale[..., self.group] - start
        # |start + s way| <= allowed, for all coordinates up to the end of a group: quadratic in s
        a, b, c = (self._sums(part) for part in (way.square(), way * start, start.square()))
        root = (b.square() + a * (allowed[..., 1, :].square() - c).clamp(min=0)).sqrt()
        share = torch.where(a > UNMOVED, (root - b) / a.clamp(min=UNMOVED), 1.0)
        return start + share.clamp(max=1).amin(dim=-1, keepdim=True) * way

    def guarded(
        self, rows: Float[Tensor, "B K D"], source: Float[Tensor, "B K D"]
    ) -> tuple[Float[Tensor, "B K D"], Bool[Tensor, " B"]]:
        """Rows of edits, brought within the limits of their sources, and which edits were cut short.

        Rows within the limits are returned unchanged.
        """
        y, start = self.coordinates(rows), self.coordinates(source)
        kept = self.inside(y, start, self.allowed(start))
        lost = (y - kept).norm(dim=-1) / (y - start).norm(dim=-1).clamp(min=1e-9)  # [B, K]
        ends = torch.where((lost > SAME)[..., None], self.moved(source, kept - start), rows)
        return ends, (lost > CUT).any(dim=1)

    def walls(
        self, y: Float[Tensor, "B Y"], allowed: Float[Tensor, "B 2 M"]
    ) -> tuple[Float[Tensor, "B W Y"], Float[Tensor, "B W"]]:
        """The limits that y violates, linearised as normals @ y <= bounds; both are 0 for limits that hold.

        Returns normals and bounds.
        """
        norms = self._norms(y)
        number = torch.arange(len(self.last), device=y.device)[:, None]
        spans = torch.stack([self.group == number, self.group <= number]).to(y)  # [2, M, Y]
        broken = (norms > allowed)[..., None]
        normals = torch.where(broken, spans * y[:, None, None] / norms.clamp(min=1e-9)[..., None], 0.0)
        return normals.flatten(1, 2), torch.where(broken[..., 0], allowed, 0.0).flatten(1)

    def excess(self, w: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch"]:
        """Largest ratio of a norm to its limit; above 1, a limit is violated. 99 % of mapped latents satisfy each."""
        return (self._norms(self.coordinates(w)) / self.limits).amax(dim=(-2, -1))

    def _norms(self, y: Float[Tensor, "*batch Y"]) -> Float[Tensor, "*batch 2 M"]:
        sums = self._sums(y.square())
        groups = torch.diff(sums, dim=-1, prepend=torch.zeros_like(sums[..., :1]))
        return torch.stack([groups, sums], dim=-2).clamp(min=0).sqrt()

    def _sums(self, values: Float[Tensor, "*batch Y"]) -> Float[Tensor, "*batch M"]:
        """Sums of all values up to the end of each group."""
        return values.cumsum(dim=-1)[..., self.last]


def _activation(x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
    return F.leaky_relu(x, SLOPE)


def _before_activation(w: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
    return F.leaky_relu(w, 1 / SLOPE)


def _activation_derivative(x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
    """Derivative of the activation at x."""
    return torch.where(x > 0, 1.0, SLOPE).to(x)
