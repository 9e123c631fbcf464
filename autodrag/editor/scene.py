"""What a session edits: a generator, perhaps fine-tuned, and perhaps the photograph that its picture came from."""

from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from autodrag.editor.inversion import tuned_generator
from autodrag.editor.model_cache import ModelCache
from autodrag.editor.photo import Photo
from autodrag.editor.renderer import Renderer
from autodrag.editor.session_file import Saved
from autodrag.editor.state import Frame
from autodrag.errors import InputError
from autodrag.generator import FrozenGenerator


@dataclass(frozen=True, eq=False)
class Scene:
    """dataset: whose generator it is. tuned: weights that a fine-tuned one has instead of the dataset's, or empty."""

    dataset: str
    renderer: Renderer
    photo: Photo | None = None
    tuned: dict[str, Tensor] = field(default_factory=dict)

    @property
    def generator(self) -> FrozenGenerator:
        """The generator of the pictures."""
        return self.renderer.generator

    @property
    def own(self) -> bool:
        """Whether it belongs to a picture of the user's own."""
        return self.photo is not None or bool(self.tuned)

    def paste(self, frame: Frame) -> UInt8[np.ndarray, "H W 3"]:
        """The frame as a picture to keep: pasted back into the photograph, where there is one."""
        picture = self.renderer(frame)
        return picture if self.photo is None else self.photo.with_picture(picture)


def plain(models: ModelCache, dataset: str) -> Scene:
    """The dataset's own generator. Raises InputError where there is none."""
    return Scene(dataset, Renderer(models.generator(dataset)))


def restored(models: ModelCache, saved: Saved) -> Scene:
    """The scene of a saved session. Raises InputError where its generator is another one than the dataset's here."""
    dataset = saved.about.dataset
    generator = models.generator(dataset)
    rows = saved.state.frame.ws.shape[1:]
    masks = [saved.state.mask, *(frame.mask for frame in saved.state.motion)]
    fits = rows == (generator.num_ws, generator.w_dim) and saved.w_avg.shape == generator.w_avg.shape
    fits = fits and all(mask is None or mask.shape == generator.resolution for mask in masks)
    if not fits or not torch.equal(saved.w_avg, generator.w_avg.float().cpu()):
        raise InputError(
            f"The session was made with another generator of {dataset!r} than the one here; use that file."
        )
    if saved.tuned:
        generator = tuned_generator(generator, saved.tuned)
    return Scene(dataset, Renderer(generator), saved.photo, saved.tuned)
