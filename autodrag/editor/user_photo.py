"""From a user's photograph to an image that can be edited: crop, inversion, optional fine-tuning."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import UInt8

from autodrag.config import MODEL_DIR
from autodrag.editor.inversion import Inversion, InversionProgress, InvertConfig
from autodrag.editor.model_cache import ModelCache
from autodrag.editor.photo import MAX_SIDE, Crop, Photo, centred, cropped, face
from autodrag.editor.renderer import Renderer
from autodrag.editor.scene import Scene, with_detail
from autodrag.editor.state import Frame, Origin, State
from autodrag.errors import InputError
from autodrag.images import fitted, to_tensor
from autodrag.pictures import read_picture
from autodrag.vision.detectors import load_detector, photo_predictor

# Mean absolute error from which an inversion counts as poor. On synthface with the encoder: 0.015 for renders, 0.021 in
# other colours, 0.025 to 0.034 with glasses painted on, 0.039 turned by 25 degrees, 0.047 to 0.058 off the
# middle, 0.079 and more for other things.
POOR = 0.036
ALIGNED = ("ffhq",)  # datasets of photographs that were rotated and cropped by the landmarks of a face


class OwnPicture:
    """Iterate `run`; afterwards, or when stopped early, `scene` and `state` hold the result so far.

    image: anything that `read_picture` takes. crop: the part to use; None: see `find_photo`. Raises InputError if it is
    not an image, or if no face is found for a dataset of aligned faces.
    """

    def __init__(
        self, image: Any, dataset: str, models: ModelCache, config: InvertConfig, crop: Crop | None = None
    ) -> None:
        pixels = read_picture(image)
        generator = models.generator(dataset)
        self._dataset, self._models = dataset, models
        if crop is None:
            self.photo = find_photo(pixels, dataset, generator.resolution, config.align)
        else:
            self.photo = cropped(fitted(pixels, MAX_SIDE), generator.resolution, crop)
        picture = to_tensor(self.photo.picture(generator.resolution))
        self._inversion = Inversion(generator, picture, config, models.encoder(dataset))

    def run(self) -> Iterator[InversionProgress]:
        """See `Inversion.run`."""
        return self._inversion.run()

    @property
    def unlike(self) -> float:
        """Mean absolute error of the inversion, in [0, 1]."""
        wanted = self.photo.picture(self._inversion.generator.resolution)
        found = self.render(self.frame())
        return float(np.abs(found.astype(np.float32) - wanted).mean() / 255)

    def render(self, frame: Frame) -> UInt8[np.ndarray, "H W 3"]:
        """The image of a frame, without the photograph's detail."""
        return Renderer(self._inversion.generator)(frame)

    def scene(self) -> Scene:
        """The generator (fine-tuned if requested and finished), the photograph, and its detail if requested."""
        work = self._inversion
        held = Scene(self._dataset, Renderer(work.generator), self.photo, work.tuned, work.ws.cpu())
        return with_detail(self._models, held, True) if work.config.detail else held

    def frame(self) -> Frame:
        """The current latents."""
        return Frame(self._inversion.ws.cpu())

    def state(self) -> State:
        """The first state of a session."""
        return State(Origin(None, 1.0), (self.frame(),))


def alignable(dataset: str) -> bool:
    """Whether photographs can be aligned for this dataset of aligned faces: the landmark predictor is here."""
    return dataset in ALIGNED and photo_predictor(MODEL_DIR).is_file()


def find_photo(
    image: UInt8[np.ndarray, "H W 3"], dataset: str, resolution: tuple[int, int], align: bool = True
) -> Photo:
    """The part of a photograph that a dataset's generator can make.

    For a dataset of aligned faces it is aligned in the same way, if dlib's landmark predictor is on this machine;
    otherwise it is the centre. Very large photographs are stored at a reduced size. Raises InputError if the predictor
    finds no face.
    """
    image = fitted(image, MAX_SIDE)
    if not align or not alignable(dataset):
        return centred(image, resolution)
    (landmarks,) = load_detector(dataset, MODEL_DIR)(image[None])
    if landmarks is None:
        raise InputError("No face was found in the picture: give a larger, frontal one, or turn alignment off.")
    return face(image, landmarks.numpy().astype(np.float64), resolution[0])
