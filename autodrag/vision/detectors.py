"""Facial landmarks of photographs and synthface: dlib's frontal face detector and a 68-point shape predictor."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import dlib
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from autodrag.download import PHOTO_PREDICTOR
from autodrag.errors import InputError
from autodrag.geometry import rescale

#: Landmark predictors: bundled for synthface, in the model folder for photographs.
SYNTHFACE_PREDICTOR = Path(__file__).parent.parent / "assets" / "synthface" / "landmarks.dat"
PHOTO_PACKAGE = "face_recognition_models"  # on PyPI, installed by the extra `faces`; contains the same file

LANDMARKS = 68
SYNTHFACE_SCALE = 4  # quarter pixels: whole pixels are too coarse for measurements at 256 px
# dlib's detector was trained on photographs; at its default threshold of 0, it misses 2 % of the rendered faces.
SYNTHFACE_THRESHOLD = -0.4


@dataclass(frozen=True)
class Box:
    """The box of a face in pixels; left, top, right and bottom are inclusive."""

    left: int
    top: int
    right: int
    bottom: int


def find_face(image: UInt8[np.ndarray, "H W 3"], upsample: int = 0, threshold: float = 0.0) -> Box | None:
    """The face with the highest score of dlib's frontal face detector in an RGB image, or None.

    upsample: how often the image is doubled first. threshold: minimum score; dlib's default is 0.
    """
    faces, _, _ = _face_detector().run(image, upsample, threshold)  # highest score first
    if len(faces) == 0:
        return None
    face = faces[0]
    return Box(face.left(), face.top(), face.right(), face.bottom())


class LandmarkDetector:
    """Face detector and landmark predictor.

    path: a dlib shape predictor (.dat) with 68 points in iBUG order. scale: factor by which images are enlarged for the
    predictor; dlib returns whole pixels, so points are multiples of 1 / scale pixels (usually 1). upsample, threshold:
    as in `find_face`; the detector finds faces from about 80 px. Raises InputError if the file is missing or not such a
    model.
    """

    def __init__(self, path: Path | str, scale: int = 1, upsample: int = 0, threshold: float = 0.0) -> None:
        path = Path(path)
        if not path.is_file():
            raise InputError(f"The landmark predictor {path} does not exist; {_how_to_get(path)}.")
        try:
            self._predictor: Any = dlib.shape_predictor(str(path))
        except RuntimeError:
            raise InputError(f"{path} is not a dlib shape predictor, or it is damaged; {_how_to_get(path)}.") from None
        self.path = path
        self.scale = scale
        self.upsample = upsample
        self.threshold = threshold

    @property
    def fingerprint(self) -> str:
        """sha256 of the predictor's file, and the settings."""
        digest = hashlib.sha256(self.path.read_bytes()).hexdigest()
        return (
            f"{self.path.name} {digest[:16]}, scale {self.scale}, upsample {self.upsample}, threshold {self.threshold}"
        )

    def __call__(self, images: UInt8[np.ndarray, "N H W 3"]) -> list[Float[Tensor, "68 2"] | None]:
        """Landmarks (x, y) in pixels of the face with the highest score in each RGB image; None if none is found."""
        return [self._one(np.ascontiguousarray(image)) for image in images]

    def _one(self, image: UInt8[np.ndarray, "H W 3"]) -> Float[Tensor, "68 2"] | None:
        box = find_face(image, self.upsample, self.threshold)
        if box is None:
            return None
        shape = self._predictor(_enlarge(image, self.scale), _rectangle(box, self.scale))
        if shape.num_parts != LANDMARKS:
            raise InputError(
                f"{self.path} places {shape.num_parts} points, but {LANDMARKS} are expected; use a 68-point model."
            )
        points = torch.tensor([(point.x, point.y) for point in shape.parts()], dtype=torch.float32)
        return rescale(points, (self.scale, self.scale), (1, 1))


def load_detector(dataset: str, model_dir: Path) -> LandmarkDetector:
    """The detector for a dataset: with the bundled predictor for synthface, otherwise with `photo_predictor`."""
    if dataset == "synthface":
        return LandmarkDetector(SYNTHFACE_PREDICTOR, SYNTHFACE_SCALE, threshold=SYNTHFACE_THRESHOLD)
    return LandmarkDetector(photo_predictor(model_dir))


def photo_predictor(model_dir: Path) -> Path:
    """The path of dlib's predictor for photographs: in `model_dir`, or else from the extra `faces`.

    If neither exists, the expected path in `model_dir`. The package of the extra is never imported.
    """
    own = model_dir / PHOTO_PREDICTOR.file
    package = find_spec(PHOTO_PACKAGE)
    for folder in () if own.is_file() or package is None else package.submodule_search_locations or ():
        carried = Path(folder) / "models" / PHOTO_PREDICTOR.file
        if carried.is_file():
            return carried
    return own


def train_predictor(
    images: Sequence[UInt8[np.ndarray, "H W 3"]],
    boxes: Sequence[Box],
    landmarks: Sequence[Float[np.ndarray, "68 2"]],
    path: Path | str,
    scale: int = SYNTHFACE_SCALE,
    **options: int | float | str,
) -> None:
    """Train a predictor with dlib's `train_shape_predictor` and write it to `path`.

    boxes: face of each image from `find_face`, as at inference. scale: as in `LandmarkDetector`. options: attributes of
    dlib's `shape_predictor_training_options`, e.g. `tree_depth=4`. Raises InputError for an unknown option.
    """
    settings: Any = dlib.shape_predictor_training_options()
    for name, value in options.items():
        if not hasattr(settings, name):
            raise InputError(f"dlib's shape predictor has no training option named {name}; see its documentation.")
        setattr(settings, name, value)
    shapes = []
    for box, points in zip(boxes, landmarks, strict=True):
        enlarged = rescale(torch.from_numpy(points), (1, 1), (scale, scale))
        parts = [dlib.point(round(x), round(y)) for x, y in enlarged.tolist()]
        shapes.append([dlib.full_object_detection(_rectangle(box, scale), parts)])
    # dlib trains on grey levels, the mean of red, green and blue; converting first takes a third of the memory.
    grey = [(_enlarge(image, scale).sum(axis=2, dtype=np.uint16) // 3).astype(np.uint8) for image in images]
    predictor = dlib.train_shape_predictor(grey, shapes, settings)
    part = Path(f"{path}.part")
    predictor.save(str(part))
    part.replace(path)


@cache
def _face_detector() -> Any:
    return dlib.get_frontal_face_detector()


def _enlarge(image: UInt8[np.ndarray, "H W 3"], scale: int) -> UInt8[np.ndarray, "H2 W2 3"]:
    return image if scale == 1 else cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)


def _rectangle(box: Box, scale: int) -> Any:
    return dlib.rectangle(box.left * scale, box.top * scale, (box.right + 1) * scale - 1, (box.bottom + 1) * scale - 1)


def _how_to_get(path: Path) -> str:
    if path == SYNTHFACE_PREDICTOR:
        return "restore it from the repository or make it with scripts/make_synthface.py"
    return "install the extra faces (pip install 'autodrag[faces]'), or run python scripts/download.py landmarks=true"
