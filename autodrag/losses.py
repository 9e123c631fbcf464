"""The losses of both stages (Eq. 6, 12, 13, 14), one value per item of the batch.

Norms and sums of the paper are means over elements, pixels, channels and points here, summed over the n steps. This is
our choice: it makes alpha and beta independent of generator, number of points and resolution.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from autodrag.geometry import patches, rescale, to_unit
from autodrag.latents import split

EDGE_STAYS = 1 / 128  # motion of an edge that halves its weight; an image spans [-1, 1], so a pixel at 256 px
EDGE_SLIDES = 0.1  # weight of motion beyond that of an edge, relative to motion that falls short of it


def restoration_loss(
    restored: Float[Tensor, "B L D"], ws: Float[Tensor, "B L D"], std: Float[Tensor, " D"]
) -> Float[Tensor, " B"]:
    """L1 between restored and clean edited rows, in units of the standard deviation of W."""
    # Eq. 6: || w_hat - w ||_1
    return (split(restored)[0] - split(ws)[0]).div(std).abs().mean(dim=(1, 2))


def prediction_loss(
    predicted: Float[Tensor, "B n L D"], ws: Float[Tensor, "B n L D"], units: Float[Tensor, "D U"]
) -> Float[Tensor, " B"]:
    """L1 between the edited rows of predicted and true latents w_1..w_n.

    units: matrix that latent differences are multiplied by: diag(1 / std), or `training.latent_statistics.image_units`.
    """
    # Eq. 12: || w_hat_seq - w_seq ||_1
    difference = split(predicted)[0].float() - split(ws)[0].float()
    with torch.autocast(difference.device.type, enabled=False):  # bfloat16 sums lose small errors
        return (difference @ units).abs().mean(dim=(2, 3)).sum(dim=1)


def drag_loss(
    before: Float[Tensor, "B C h w"],
    after: Float[Tensor, "B C h w"],
    handles: Float[Tensor, "B Q 2"],
    targets: Float[Tensor, "B Q 2"],
    weights: Float[Tensor, "B Q"] | Bool[Tensor, "B Q"],
    image_hw: tuple[int, int],
    patch: int = 7,
) -> Float[Tensor, " B"]:
    """L1 between feature patches around the handles before a step and around the targets after it.

    before: features F_i of the true latent, detached. after: features of the predicted latent. handles, targets: image
    pixels. weights: of the points in the mean; 0 or False at padding. patch: side of the patches, in feature pixels.
    The loss of an item without points is 0.
    """
    feature_hw = (before.shape[-2], before.shape[-1])
    source = patches(before.detach(), rescale(handles, image_hw, feature_hw), patch)  # [B, Q, 49, C]
    reached = patches(after, rescale(targets, image_hw, feature_hw), patch)
    # Eq. 13: || F_i(h) - F_hat_{i+1}(t) ||_1 over the 7 x 7 pixels of each point
    distance = (source - reached).abs().mean(dim=(2, 3))
    return torch.where(weights > 0, distance * weights, 0.0).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-6)


def total_loss(
    prediction: Float[Tensor, " B"], drag: Float[Tensor, " B"], alpha: float, beta: float
) -> Float[Tensor, " B"]:
    """The loss of stage 2."""
    # Eq. 14: alpha L_pred + beta L_drag
    return alpha * prediction + beta * drag


def landing_loss(
    moves: Float[Tensor, "B P 2"],
    handles: Float[Tensor, "B P 2"],
    targets: Float[Tensor, "B P 2"],
    mask: Bool[Tensor, "B P"],
    image_hw: tuple[int, int],
    normals: Float[Tensor, "B P 2"] | None = None,
) -> Float[Tensor, " B"]:
    """L1 between predicted and desired displacements of the handles, in hundredths of the image sides. Ours.

    moves: displacements predicted by `models.PointMotion`, in units in which the image spans [-1, 1]. handles, targets:
    image pixels. mask: False at padding. normals: unit vectors of edges in image pixels, whose differences count as
    `data.outlines` says. The loss of an item without points is 0.
    """
    desired = to_unit(targets.float(), image_hw) - to_unit(handles.float(), image_hw)
    difference = moves - desired
    if normals is not None and image_hw[0] != image_hw[1]:  # a unit is longer on one axis, which turns the edges
        share = normals.new_full((1,), image_hw[1] / image_hw[0])
        normals = F.normalize(normals * torch.cat([share, torch.ones_like(share)]), dim=2)
    along = difference.abs().mean(dim=2) if normals is None else _across_edges(difference, desired, normals)
    distance = 50 * along
    return torch.where(mask, distance, 0.0).sum(dim=1) / mask.sum(dim=1).clamp(min=1)


def _across_edges(
    difference: Float[Tensor, "B P 2"], desired: Float[Tensor, "B P 2"], normals: Float[Tensor, "B P 2"]
) -> Float[Tensor, "B P"]:
    """Differences along the normals: whole where they fall short of an edge that moves, little where they go beyond.

    Units of the inputs, in which an image spans [-1, 1], also for the normals.
    """
    way = (desired * normals).sum(dim=2)
    beyond = (difference * normals).sum(dim=2) * way.sign()
    along = (-beyond).clamp(min=0) + EDGE_SLIDES * beyond.clamp(min=0)
    return along * way.abs() / (way.abs() + EDGE_STAYS)
