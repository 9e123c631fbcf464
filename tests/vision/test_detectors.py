"""The landmark path as users run it: dlib's face detector and a predictor trained here on drawn faces."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from autodrag.errors import InputError
from autodrag.vision import detectors
from autodrag.vision.detectors import LandmarkDetector, find_face, load_detector, train_predictor

RING = np.stack([np.cos(np.linspace(0, 2 * np.pi, 69))[:-1] * 55, np.sin(np.linspace(0, 2 * np.pi, 69))[:-1] * 70], 1)


def draw_face(x: float, y: float, size: float) -> tuple[np.ndarray, np.ndarray]:
    """A 256 px cartoon that dlib takes for a face, centred at (x, y), and 68 points on an ellipse around it."""
    image = np.full((256, 256, 3), (70, 90, 110), np.uint8)

    def ellipse(dx: float, dy: float, a: float, b: float, colour: tuple[int, int, int]) -> None:
        centre = (round((x + dx * size) * 16), round((y + dy * size) * 16))
        axes = (round(a * size * 16), round(b * size * 16))
        cv2.ellipse(image, centre, axes, 0, 0, 360, colour, -1, cv2.LINE_AA, 4)

    ellipse(0, -12, 72, 88, (40, 30, 25))
    ellipse(0, 0, 60, 76, (205, 165, 140))
    for side in (-24, 24):
        ellipse(side, -32, 15, 4, (60, 40, 30))
        ellipse(side, -16, 13, 6, (120, 80, 70))
        ellipse(side, -16, 11, 5, (245, 245, 245))
        ellipse(side, -16, 5, 5, (40, 30, 30))
    ellipse(0, 14, 10, 7, (165, 120, 100))
    ellipse(0, 5, 5, 20, (225, 185, 160))
    ellipse(0, 40, 24, 9, (150, 60, 60))
    return cv2.GaussianBlur(image, (0, 0), 1.2), RING * size + (x, y)


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small predictor trained on a grid of drawn faces."""
    path = tmp_path_factory.mktemp("dlib") / "landmarks.dat"
    drawn = [draw_face(128 + dx, 138 + dy, size) for dx in (-9, 0, 9) for dy in (-6, 6) for size in (0.9, 1.0, 1.1)]
    images = [image for image, _ in drawn]
    boxes = [find_face(image) for image in images]
    assert None not in boxes
    train_predictor(
        images, boxes, [points for _, points in drawn], path,
        tree_depth=2, cascade_depth=6, num_trees_per_cascade_level=40, oversampling_amount=10, feature_pool_size=100,
    )  # fmt: skip
    return path


def test_finds_the_landmarks_of_faces_it_has_not_seen(predictor: Path) -> None:
    detector = LandmarkDetector(predictor, scale=4)
    for x, y, size in ((132, 140, 0.95), (122, 135, 1.05)):
        image, truth = draw_face(x, y, size)
        (found,) = detector(image[None])
        assert found is not None
        assert found.shape == (68, 2) and found.dtype == torch.float32
        error = (found - torch.from_numpy(truth).float()).norm(dim=1).mean()
        assert error < 3


def test_scale_gives_fractions_of_a_pixel(predictor: Path) -> None:
    image, _ = draw_face(128, 138, 1.0)
    (whole,) = LandmarkDetector(predictor)(image[None])
    (fine,) = LandmarkDetector(predictor, scale=4)(image[None])
    assert whole is not None and fine is not None
    assert torch.equal(whole, whole.round())
    assert torch.equal(fine * 4 + 1.5, (fine * 4 + 1.5).round()) and not torch.equal(fine, fine.round())
    assert (whole - fine).norm(dim=1).mean() < 2


def test_an_image_without_a_face_gives_none_and_does_not_disturb_the_others(predictor: Path) -> None:
    image, _ = draw_face(128, 138, 1.0)
    detector = LandmarkDetector(predictor)
    empty, face = detector(np.stack([np.full_like(image, 128), image]))
    assert empty is None
    assert face is not None and torch.equal(face, detector(image[None])[0])


def test_the_largest_face_counts() -> None:
    big, _ = draw_face(128, 138, 1.1)
    small, _ = draw_face(128, 138, 0.9)
    box = find_face(np.concatenate([small, big], axis=1))
    assert box is not None and box.left > 256


def test_missing_and_damaged_files_give_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detectors, "find_spec", lambda _: None)  # whether or not the extra `faces` is installed
    with pytest.raises(InputError, match=r"does not exist; install the extra faces"):
        load_detector("ffhq", tmp_path)
    bad = tmp_path / "bad.dat"
    bad.write_bytes(b"no predictor")
    with pytest.raises(InputError, match="not a dlib shape predictor"):
        LandmarkDetector(bad)


def test_an_unknown_training_option_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="depth"):
        train_predictor([], [], [], tmp_path / "x.dat", depth=3)
