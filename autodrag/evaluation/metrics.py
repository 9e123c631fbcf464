"""Metrics as pure functions of predictions and references, with one value for each item (averaged in `bootstrap`)."""

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor


def mean_distance(found: Float[Tensor, "N P 2"], wanted: Float[Tensor, "N P 2"]) -> Float[Tensor, " N"]:
    """MD (section 4.3.1): mean Euclidean distance of corresponding points, in their pixels."""
    return (found - wanted).norm(dim=2).mean(dim=1)


def distance_decay(
    found: Float[Tensor, "N P 2"], start: Float[Tensor, "N P 2"], wanted: Float[Tensor, "N P 2"]
) -> Float[Tensor, " N"]:
    """MDD (Eq. 15): MD now over MD at the start; 0 where nothing had to move."""
    before = mean_distance(start, wanted)
    return torch.where(before > 0, mean_distance(found, wanted) / before.clamp(min=1e-12), 0)


def squared_error(image: Float[Tensor, "N C H W"], wanted: Float[Tensor, "N C H W"]) -> Float[Tensor, " N"]:
    """MSE of images in [-1, 1], over pixels and channels (four times that of images in [0, 1])."""
    return (image - wanted).square().mean(dim=(1, 2, 3))


def change_outside(
    image: Float[Tensor, "N C H W"], source: Float[Tensor, "N C H W"], moved: Bool[Tensor, "N H W"]
) -> Float[Tensor, " N"]:
    """Mean absolute change outside the moved region, relative to the range from black to white."""
    outside = (~moved)[:, None]
    total = ((image - source).abs() * outside).sum(dim=(1, 2, 3)) / 2
    return total / (outside.sum(dim=(1, 2, 3)) * image.shape[1]).clamp(min=1)


def moved_region(points: Float[Tensor, "P 2"], image_hw: tuple[int, int], margin: float = 0.05) -> Bool[Tensor, "H W"]:
    """The convex hull of points (handles and targets together) widened by `margin` of the image's height."""
    height, width = image_hw
    hull = cv2.convexHull(points.detach().cpu().numpy().astype(np.float32)).round().astype(np.int32)
    region = np.zeros((height, width), np.uint8)
    cv2.fillConvexPoly(region, hull, 1)
    cv2.polylines(region, [hull], True, 1)
    radius = round(margin * height)
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return torch.from_numpy(cv2.dilate(region, disk)).bool()


def mean_difference(values: Float[Tensor, "N D"], wanted: Float[Tensor, "N D"]) -> Float[Tensor, " N"]:
    """Mean absolute difference of parameter vectors, such as the appearance read from two images."""
    return (values - wanted).abs().mean(dim=1)


def frechet_distance(first: Float[Tensor, "N D"], second: Float[Tensor, "M D"]) -> float:
    """Frechet distance between Gaussians fitted to two sets of features, in float64.

    With the features of torch-fidelity's InceptionV3 this is the FID. It is biased upwards for few items, so results
    state N. Each set needs two or more items.
    """
    mean1, covariance1 = _gaussian(first)
    mean2, covariance2 = _gaussian(second)
    # tr (S1 S2)^(1/2) = tr (S1^(1/2) S2 S1^(1/2))^(1/2), of a symmetric matrix
    root = _square_root(covariance1)
    eigenvalues = torch.linalg.eigvalsh(root @ covariance2 @ root).clamp(min=0)
    distance = (mean1 - mean2).square().sum() + covariance1.trace() + covariance2.trace() - 2 * eigenvalues.sqrt().sum()
    return max(0.0, distance.item())


def _gaussian(features: Float[Tensor, "N D"]) -> tuple[Float[Tensor, " D"], Float[Tensor, "D D"]]:
    values = features.double().cpu()
    mean = values.mean(dim=0)
    centred = values - mean
    return mean, centred.T @ centred / (len(values) - 1)


def _square_root(matrix: Float[Tensor, "D D"]) -> Float[Tensor, "D D"]:
    eigenvalues, vectors = torch.linalg.eigh(matrix)
    return (vectors * eigenvalues.clamp(min=0).sqrt()) @ vectors.T
