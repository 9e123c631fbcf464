"""Our GMS against OpenCV's."""

import cv2
import numpy as np
import pytest

from autodrag.data.gms import gms_inliers

pytestmark = pytest.mark.skipif(
    not hasattr(cv2, "xfeatures2d"), reason="this OpenCV has no contrib modules to compare with"
)


def opencv_inliers(
    points1: np.ndarray, size1: tuple[int, int], points2: np.ndarray, size2: tuple[int, int], factor: float
) -> np.ndarray:
    keypoints1 = [cv2.KeyPoint(float(x), float(y), 1) for x, y in points1]
    keypoints2 = [cv2.KeyPoint(float(x), float(y), 1) for x, y in points2]
    matches = [cv2.DMatch(i, i, 0.0) for i in range(len(points1))]
    kept = cv2.xfeatures2d.matchGMS(size1, size2, keypoints1, keypoints2, matches, thresholdFactor=factor)
    inliers = np.zeros(len(points1), dtype=bool)
    inliers[[m.queryIdx for m in kept]] = True
    return inliers


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("count", [1, 60, 700, 5000])
def test_same_inliers_as_opencv(seed: int, count: int) -> None:
    """Partly coherent matches, on whole pixels and between them, in images of unequal size."""
    draw = np.random.default_rng((seed, count))
    size1, size2 = [((512, 512), (512, 512)), ((512, 384), (256, 512))][seed % 2]
    points1 = (draw.random((count, 2)) * size1).astype(np.float32)
    points2 = (draw.random((count, 2)) * size2).astype(np.float32)
    coherent = draw.random(count) < draw.random()
    moved = points1 / size1 * size2 + draw.normal(size=(count, 2)) * 4 + 12
    points2[coherent] = moved.clip(0, np.subtract(size2, 0.1))[coherent]
    if seed >= 4:
        points1, points2 = np.floor(points1), np.floor(points2)
    factor = [6.0, 2.5][seed // 2 % 2]
    ours = gms_inliers(points1, size1, points2, size2, factor)
    assert np.array_equal(ours, opencv_inliers(points1, size1, points2, size2, factor))


def test_a_coherent_shift_is_kept_and_noise_is_not() -> None:
    draw = np.random.default_rng(1)
    points = (draw.random((4000, 2)) * 400).astype(np.float32)
    shifted = points + np.float32(20)
    wrong = draw.random(4000) < 0.3
    shifted[wrong] = draw.random((wrong.sum(), 2)) * 512
    inliers = gms_inliers(points, (512, 512), shifted, (512, 512))
    assert inliers[~wrong].mean() > 0.95
    assert inliers[wrong].mean() < 0.05


def test_no_matches() -> None:
    nothing = np.zeros((0, 2), np.float32)
    assert gms_inliers(nothing, (64, 64), nothing, (64, 64)).shape == (0,)
