"""What a session edits: a generator, which may be fine-tuned, and the photograph of an inverted image."""

from collections.abc import Callable
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
from autodrag.editor.session_file import About, Saved
from autodrag.editor.state import Frame, State
from autodrag.editor.tuning import Tuning
from autodrag.errors import InputError
from autodrag.generator import FrozenGenerator
from autodrag.images import to_tensor


@dataclass(frozen=True, eq=False)
class Scene:
    """dataset: of the generator. tuned: weights that differ from the dataset's generator, or empty.

    inverted: latents of the photograph's inversion.
    """

    dataset: str
    renderer: Renderer
    photo: Photo | None = None
    tuned: dict[str, Tensor] = field(default_factory=dict)
    inverted: Float[Tensor, "1 L D"] | None = None

    @property
    def generator(self) -> FrozenGenerator:
        """The generator of the images."""
        return self.renderer.generator

    @property
    def own(self) -> bool:
        """Whether the image is a user's own."""
        return self.photo is not None or bool(self.tuned)

    @property
    def detailed(self) -> bool:
        """Whether details that the inversion lacks are kept."""
        return self.renderer.detail is not None

    def paster(self, side: int | None = None) -> Callable[[Frame], UInt8[np.ndarray, "H W 3"]]:
        """Makes frames into images to save: pasted into the photograph, if there is one.

        side: pixels that the photograph's height and width are shrunk to, at most; None: it is as it is.
        """
        photo = self.photo
        if photo is not None and side is not None:
            photo = photo.shrunk(side, self.generator.resolution)

        def paste(frame: Frame) -> UInt8[np.ndarray, "H W 3"]:
            picture = self.renderer(frame)
            return picture if photo is None else photo.with_picture(picture)

        return paste

    def saved(self, state: State, method: str, steps: int | None, tuning: Tuning) -> Saved:
        """What a session's file holds; `restored` is the inverse."""
        about = About.of(self.dataset, method, steps, tuning, state, self.detailed)
        return Saved(about, state, self.generator.w_avg, self.photo, self.tuned, self.inverted)


def with_detail(models: ModelCache, held: Scene, on: bool) -> Scene:
    """The scene with or without the photograph's detail. Raises InputError without a photograph."""
    if held.photo is None or held.inverted is None:
        raise InputError("Only a photograph has detail of its own: invert one first.")
    generator, detail = held.generator, None
    if on:
        picture = to_tensor(held.photo.picture(generator.resolution))
        detail = PhotoDetail(generator, held.inverted, picture, models.point_motion(held.dataset))
    return replace(held, renderer=Renderer(generator, detail))


def plain(models: ModelCache, dataset: str) -> Scene:
    """The dataset's own generator. Raises InputError if there is none."""
    return Scene(dataset, Renderer(models.generator(dataset)))


def restored(models: ModelCache, saved: Saved) -> Scene:
    """The scene of a saved session. Raises InputError if its generator is not the dataset's of this machine."""
    dataset = models.name_of(saved.about.dataset, saved.w_avg)
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
