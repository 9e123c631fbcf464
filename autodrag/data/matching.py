"""Matched points of two images: ORB -> Hamming -> GMS -> filters (section 3.2).

GMS alone, as in the paper, returns many-to-one matches, and most of its long motions are wrong. Our filters keep the
best match of each target if it passes a forward-backward check, moves like its neighbours and not too far, and has
similar generator features at both ends. Pixel thresholds are given for an image height of 512 and scaled.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int, UInt8
from scipy.spatial import cKDTree
from torch import Tensor

from autodrag import geometry
from autodrag.data.gms import gms_inliers
from autodrag.data.hamming import Route, nearest
from autodrag.images import to_uint8

REFERENCE_HEIGHT = 512
LEVEL_SCALE = 1.2  # scale factor of ORB's pyramid


@dataclass(frozen=True)
class MatchingConfig:
    """Settings of the matcher. `*_px` are pixels at an image height of 512, except `edge_px`."""

    resolution: int  # height that images are resized to before ORB
    features: int  # maximum number of ORB keypoints per image
    levels: int  # of ORB's pyramid
    edge_px: int  # width of the border without keypoints, at `resolution`
    route: Route  # implementation of the Hamming search; does not change the result
    gms_factor: float  # threshold factor of GMS
    return_px: float  # maximum forward-backward error
    consistency_px: float  # maximum difference between the displacements of consistent neighbours
    consistency_count: int  # minimum number of consistent ones among the eight nearest neighbours
    max_px: float  # maximum motion; longer ones are regarded as errors
    feature_ratio: float  # maximum ratio of feature distances: handle to target / handle to its unmoved position


@dataclass(frozen=True)
class View:
    """Keypoints of an image. Points are pixels at the matching resolution."""

    points: Float32[np.ndarray, "N 2"]
    descriptors: UInt8[np.ndarray, "N 32"]
    hw: tuple[int, int]  # the matching resolution
    features: Float[Tensor, "C h w"] | None  # of the generator, for the feature filter


@dataclass(frozen=True)
class Matches:
    """handles[i] in the first image matches targets[i] in the second; (x, y) pixels of the images."""

    handles: Float32[np.ndarray, "M 2"]
    targets: Float32[np.ndarray, "M 2"]


def view(
    image: Float[Tensor, "3 H W"],
    cfg: MatchingConfig,
    content: tuple[float, float, float, float] | None = None,
    features: Float[Tensor, "C h w"] | None = None,
) -> View:
    """The view of an image in [-1, 1]. content: (x0, y0, x1, y1), region for keypoints as fractions of the canvas."""
    points, descriptors, hw = describe(to_levels(image[None])[0].cpu().numpy(), cfg, content)
    return View(points, descriptors, hw, features)


def to_levels(images: Float[Tensor, "B 3 H W"]) -> UInt8[Tensor, "B H W 3"]:
    """Images in [-1, 1] as uint8, channels last."""
    return to_uint8(images).movedim(1, -1)


def describe(
    levels: UInt8[np.ndarray, "H W 3"], cfg: MatchingConfig, content: tuple[float, float, float, float] | None
) -> tuple[Float32[np.ndarray, "N 2"], UInt8[np.ndarray, "N 32"], tuple[int, int]]:
    """Keypoints and descriptors of an image, and its size (h, w) at the matching resolution."""
    grey = _grey(levels, cfg.resolution)
    orb = cv2.ORB.create(
        cfg.features, LEVEL_SCALE, cfg.levels, edgeThreshold=cfg.edge_px, patchSize=31, fastThreshold=0
    )
    keypoints, descriptors = orb.detectAndCompute(grey, None)
    hw = (grey.shape[0], grey.shape[1])
    if not keypoints:
        return np.zeros((0, 2), np.float32), np.zeros((0, 32), np.uint8), hw
    points = np.array(cv2.KeyPoint.convert(keypoints), dtype=np.float32)
    octaves = np.fromiter((k.octave for k in keypoints), np.int64, len(keypoints))
    points += ((LEVEL_SCALE**octaves - 1) / 2)[:, None].astype(np.float32)  # ORB scales pixel corners, not centres
    if content is not None:
        x0, y0, x1, y1 = content
        centres = (points + 0.5) / (hw[1], hw[0])
        kept = ((centres >= (x0, y0)) & (centres <= (x1, y1))).all(axis=1)
        points, descriptors = points[kept], descriptors[kept]
    return points, descriptors, hw


def _grey(levels: UInt8[np.ndarray, "H W 3"], height: int) -> UInt8[np.ndarray, "h w"]:
    grey = cv2.cvtColor(np.ascontiguousarray(levels), cv2.COLOR_RGB2GRAY)
    if grey.shape[0] == height:
        return grey
    width = round(grey.shape[1] * height / grey.shape[0])
    method = cv2.INTER_AREA if height < grey.shape[0] else cv2.INTER_CUBIC
    return cv2.resize(grey, (width, height), interpolation=method)


def match(
    a: View, b: View, min_px: float, cfg: MatchingConfig, image_hw: tuple[int, int], device: torch.device
) -> Matches:
    """Matches from a to b that move by more than `min_px` (at a height of 512), in pixels of an image of `image_hw`."""
    if len(a.points) == 0 or len(b.points) == 0:
        return in_image_pixels(a.points[:0], b.points[:0], a.hw, image_hw)
    target, bits = nearest(a.descriptors, b.descriptors, cfg.route, device)

    def back(found: Int[np.ndarray, " K"]) -> Int[np.ndarray, " K"]:
        return nearest(b.descriptors[found], a.descriptors, cfg.route, device)[0]

    handles, targets = moved_alike(a.points, b.points, a.hw, target, bits, back, min_px, cfg)
    kept = _alike(a, b, handles, targets, cfg)
    return in_image_pixels(handles[kept], targets[kept], a.hw, image_hw)


def moved_alike(
    a: Float32[np.ndarray, "N 2"],
    b: Float32[np.ndarray, "M 2"],
    hw: tuple[int, int],
    target: Int[np.ndarray, " N"],
    bits: Int[np.ndarray, " N"],
    back: Callable[[Int[np.ndarray, " K"]], Int[np.ndarray, " K"]],
    min_px: float,
    cfg: MatchingConfig,
) -> tuple[Float32[np.ndarray, "K 2"], Float32[np.ndarray, "K 2"]]:
    """Points in both images of the nearest neighbours that pass GMS and the motion filters.

    a, b: keypoints, in pixels at the matching resolution `hw`. target, bits: for each keypoint of a, the index of its
    nearest neighbour in b and their distance. back: maps indices of b to those of their nearest neighbours in a.
    """
    size = (hw[1], hw[0])
    moved = b[target]
    supported = gms_inliers(a, size, moved, size, cfg.gms_factor)
    chosen = _best_of_each_target(np.flatnonzero(supported), target, bits)

    unit = hw[0] / REFERENCE_HEIGHT
    motion = moved - a
    length = np.linalg.norm(motion, axis=1)
    candidate = chosen[(length[chosen] > min_px * unit) & (length[chosen] <= cfg.max_px * unit)]
    candidate = candidate[_agreeing(candidate, chosen, a, motion, cfg, unit)]
    returned = a[back(target[candidate])]
    candidate = candidate[np.linalg.norm(returned - a[candidate], axis=1) <= cfg.return_px * unit]
    return a[candidate], moved[candidate]


def in_image_pixels(
    handles: np.ndarray, targets: np.ndarray, match_hw: tuple[int, int], image_hw: tuple[int, int]
) -> Matches:
    """Convert matches from pixels of the matching resolution to image pixels."""
    both = (geometry.rescale(torch.from_numpy(p), match_hw, image_hw).numpy() for p in (handles, targets))
    return Matches(*both)


def _best_of_each_target(
    matches: Int[np.ndarray, " M"], target: Int[np.ndarray, " N"], bits: Int[np.ndarray, " N"]
) -> Int[np.ndarray, " K"]:
    """For each target, the match with the smallest Hamming distance (the first of ties)."""
    order = matches[np.argsort(bits[matches], kind="stable")]
    _, first = np.unique(target[order], return_index=True)
    return np.sort(order[first])


def _agreeing(
    candidate: Int[np.ndarray, " K"],
    chosen: Int[np.ndarray, " M"],
    points: Float32[np.ndarray, "N 2"],
    motion: Float32[np.ndarray, "N 2"],
    cfg: MatchingConfig,
    unit: float,
) -> Bool[np.ndarray, " K"]:
    """True for matches with enough consistent motions among their eight nearest matches."""
    neighbours = min(9, len(chosen))  # with the match itself
    if neighbours < 2 or len(candidate) == 0:
        return np.zeros(len(candidate), dtype=bool)
    near = chosen[cKDTree(points[chosen]).query(points[candidate], k=neighbours)[1]]  # [K, 9]
    difference = np.linalg.norm(motion[near] - motion[candidate, None], axis=2)
    return (difference <= cfg.consistency_px * unit).sum(axis=1) > cfg.consistency_count


def _alike(
    a: View, b: View, handles: Float32[np.ndarray, "K 2"], targets: Float32[np.ndarray, "K 2"], cfg: MatchingConfig
) -> Bool[np.ndarray, " K"]:
    """True where the feature at the handle is nearer to that at the target than to that at the same position in b.

    A ratio (our choice) needs no threshold per generator and block.
    """
    if a.features is None or b.features is None or len(handles) == 0:
        return np.ones(len(handles), dtype=bool)

    def at(points: np.ndarray, features: Float[Tensor, "C h w"]) -> Float[Tensor, "K C"]:
        return geometry.sample_at(features[None], torch.from_numpy(points).to(features.device)[None], a.hw)[0]

    start = at(handles, a.features)
    along = (start - at(targets, b.features)).norm(dim=1)
    staying = (start - at(handles, b.features)).norm(dim=1)
    return (along <= cfg.feature_ratio * staying).cpu().numpy()
