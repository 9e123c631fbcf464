"""What a session edits: a generator, perhaps fine-tuned, and perhaps the photograph that its picture came from."""

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from autodrag.editor.inversion import tuned_generator
from autodrag.editor.model_cache import ModelCache
from autodrag.editor.photo import Photo
from autodrag.editor.photo_detail import PhotoDetail
from autodrag.editor.renderer import Renderer
from autodrag.editor.session_file import Saved
from autodrag.editor.state import Frame
from autodrag.errors import InputError
from autodrag.generator import FrozenGenerator
from autodrag.images import to_tensor


@dataclass(frozen=True, eq=False)
class Scene:
    """dataset: whose generator it is. tuned: weights that a fine-tuned one has instead of the dataset's, or empty.

    inverted: latents that were found for the photograph's picture.
    """

    dataset: str
    renderer: Renderer
    photo: Photo | None = None
    tuned: dict[str, Tensor] = field(default_factory=dict)
    inverted: Float[Tensor, "1 L D"] | None = None

    @property
    def generator(self) -> FrozenGenerator:
        """The generator of the pictures."""
        return self.renderer.generator

    @property
    def own(self) -> bool:
        """Whether it belongs to a picture of the user's own."""
        return self.photo is not None or bool(self.tuned)

    @property
    def detailed(self) -> bool:
        """Whether what the photograph shows and its inversion lacks is carried along."""
        return self.renderer.detail is not None

    def paste(self, frame: Frame) -> UInt8[np.ndarray, "H W 3"]:
        """The frame as a picture to keep: pasted back into the photograph, where there is one."""
        picture = self.renderer(frame)
        return picture if self.photo is None else self.photo.with_picture(picture)


def with_detail(models: ModelCache, held: Scene, on: bool) -> Scene:
    """The scene with, or without, the photograph's own detail in its pictures. Raises InputError without photograph."""
    if held.photo is None or held.inverted is None:
        raise InputError("Only a photograph has detail of its own: invert one first.")
    generator, detail = held.generator, None
    if on:
        picture = to_tensor(held.photo.picture(generator.resolution))
        detail = PhotoDetail(generator, held.inverted, picture, models.point_motion(held.dataset))
    return replace(held, renderer=Renderer(generator, detail))


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
    fits = fits and (saved.inverted is None or saved.inverted.shape[1:] == rows)
    fits = fits and all(mask is None or mask.shape == generator.resolution for mask in masks)
    if not fits or not torch.equal(saved.w_avg, generator.w_avg.float().cpu()):
        raise InputError(
            f"The session was made with another generator of {dataset!r} than the one here; use that file."
        )
    if saved.tuned:
        generator = tuned_generator(generator, saved.tuned)
    held = Scene(dataset, Renderer(generator), saved.photo, saved.tuned, saved.inverted)
    return with_detail(models, held, True) if saved.about.detail else held
