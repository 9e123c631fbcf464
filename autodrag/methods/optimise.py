"""Adam on the edited rows of a batch of latents, shared by DragGAN, FreeDrag and the polish of AutoDrag."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from autodrag.generator import FrozenGenerator
from autodrag.latents import join, split
from autodrag.methods.base import Number

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
CPU_IMAGES = 2  # images per generator call on CPUs: the features of more do not fit the caches (1.3 times slower)


class EditedRows:
    """Latents whose edited rows are optimised by Adam. Images are independent: a batch equals single runs.

    An iteration is `features()`, a loss of the features, `step(loss)`. `keep` drops finished images, also between
    `features` and `step`.
    """

    def __init__(
        self, generator: FrozenGenerator, ws: Float[Tensor, "B L D"], lr: Number, block: int, plain: bool = False
    ) -> None:
        """block, plain: of `FrozenGenerator.features`."""
        self._generator, self._lr, self._block, self._plain = generator, lr, block, plain
        self._head, self._tail = split(ws)
        self._mean = torch.zeros_like(self._head)
        self._square = torch.zeros_like(self._head)
        self._count = 0
        self._leaf = self._head
        self._rows = torch.arange(len(ws), device=ws.device)  # unfinished images of the leaf

    @property
    def ws(self) -> Float[Tensor, "B L D"]:
        """Current latents of the unfinished images."""
        return join(self._head, self._tail)

    def features(self) -> Float[Tensor, "B C h w"]:
        """Generator features of the latents in float32, differentiable until the next `step`."""
        self._leaf = self._head.detach().requires_grad_()
        self._rows = torch.arange(len(self._leaf), device=self._leaf.device)
        size = len(self._leaf) if self._leaf.is_cuda else CPU_IMAGES
        with torch.enable_grad():
            parts = [
                self._generator.features(join(head, tail), self._block, plain=self._plain).float()
                for head, tail in zip(self._leaf.split(size), self._tail.split(size), strict=True)
            ]
            return torch.cat(parts) if len(parts) > 1 else parts[0]

    def keep(self, keep: Bool[Tensor, " B"]) -> None:
        """Continue with these images only."""
        self._rows = self._rows[keep]
        self._head, self._tail = self._head[keep], self._tail[keep]
        self._mean, self._square = self._mean[keep], self._square[keep]

    def step(self, loss: Float[Tensor, ""]) -> None:
        """One Adam step. loss: summed over images."""
        gradient = torch.autograd.grad(loss, self._leaf)[0][self._rows]
        self._count += 1
        # Same order of operations as torch.optim.Adam.
        self._mean = torch.lerp(self._mean, gradient, 1 - BETA1)
        self._square = (self._square * BETA2).addcmul(gradient, gradient, value=1 - BETA2)
        scale = self._square.sqrt() / math.sqrt(1 - BETA2**self._count) + EPSILON
        self._head = self._head.addcdiv(self._mean, scale, value=-self._lr / (1 - BETA1**self._count))
