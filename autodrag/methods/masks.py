"""The mask term of DragGAN: a penalty on changes of the features outside the mask."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

CHUNK = 1 << 24  # maximum elements of the resized map in memory


def fixed_loss(change: Float[Tensor, "B C h w"], fixed: Float[Tensor, "B H W"]) -> Float[Tensor, ""]:
    """Sum over images of the mean of |change * fixed|, with the change resized to the image (bilinear).

    The mean is over channels and the whole image. fixed: 1 where the image must not change. Loss and gradient are
    computed in chunks, so that the resized map (1 GB at 1024 px) is never in memory.
    """
    return _FixedLoss.apply(change, fixed)


class _FixedLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, change: Tensor, fixed: Tensor) -> Tensor:
        size = fixed.shape[-2:]
        channels = max(1, CHUNK // fixed[0].numel())
        loss = change.new_zeros(())
        gradient = torch.empty_like(change)
        for image, weight in enumerate(fixed / (change.shape[1] * fixed[0].numel())):
            for part in range(0, change.shape[1], channels):
                where = (slice(image, image + 1), slice(part, part + channels))
                with torch.enable_grad():
                    piece = change[where].detach().requires_grad_()
                    resized = F.interpolate(piece, size, mode="bilinear", align_corners=False)
                    term = (resized.abs() * weight).sum()
                    (gradient[where],) = torch.autograd.grad(term, piece)
                loss += term.detach()
        ctx.save_for_backward(gradient)
        return loss

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return grad * gradient, None
