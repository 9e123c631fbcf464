"""One editing session in Python. The page in the browser shows such a session."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from autodrag.editor import export, scene, session_file
from autodrag.editor.drag import Drag, as_points
from autodrag.editor.first_frame import Seed, latents_of, of_latent, of_seed
from autodrag.editor.history import Moment
from autodrag.editor.inversion import InvertConfig
from autodrag.editor.model_cache import ModelCache, find_kind
from autodrag.editor.scene import Scene
from autodrag.editor.state import Arrows, Frame, State
from autodrag.editor.tuning import AS_IS, Tuning
from autodrag.editor.undoable import Undoable
from autodrag.editor.user_photo import OwnPicture
from autodrag.errors import InputError
from autodrag.files import read_whole, write_whole
from autodrag.generator import Class, FrozenGenerator
from autodrag.latents import EDITED_ROWS
from autodrag.masks import read_mask
from autodrag.methods.base import DragMethod, Points


class Editor(Undoable):
    """Drag pictures of a generator.

    dataset: name of a dataset, path of a generator file, or a FrozenGenerator. seed: of the picture. psi: truncation;
    None: the dataset's. style: seed whose rows 6.. (colours, light) replace the picture's own. method: drag method by
    name; None: the first that can be used. steps: of a drag; None: the method's own number. device: "auto" is a GPU
    where there is one. mask: anything that `read_mask` takes, white where the picture may change. weights: a file of
    AutoDrag's; None: those that ship with the dataset. models: shares generators between editors, instead of device
    and weights. c: class of a generator that has some: its number from 0, or its label; None: none of them. latent: a
    file of latents, its bytes, or an array [1, L, D], instead of a seed. Raises InputError, one sentence, for what
    cannot be.
    """

    def __init__(
        self,
        dataset: str | FrozenGenerator = "synthface",
        *,
        seed: Seed = 0,
        psi: float | None = None,
        style: Seed | None = None,
        method: str | None = None,
        steps: int | None = None,
        device: str = "auto",
        mask: Any = None,
        weights: str | Path | None = None,
        models: ModelCache | None = None,
        c: Class | None = None,
        latent: Any = None,
    ) -> None:
        self.models = models or ModelCache(device, weights=weights)
        name = dataset if isinstance(dataset, str) else self.models.add(dataset)
        held = scene.plain(self.models, name)
        values = None if mask is None else read_mask(mask, held.generator.resolution)
        state = self._picture(held, seed, psi, style, c) if latent is None else of_latent(held.generator, latent)
        super().__init__(Moment(held, replace(state, mask=values)))
        self.choose_method(method or self.models.usable(None, name), steps)

    # --- what there is -------------------------------------------------------------------------------------------

    @property
    def image(self) -> UInt8[np.ndarray, "H W 3"]:
        """The current image, RGB."""
        return self.render(self.state.frame)

    @property
    def photo(self) -> UInt8[np.ndarray, "H W 3"] | None:
        """The user's photograph with the current image pasted in; None for the image of a seed."""
        return None if self.scene.photo is None else self.scene.paster()(self.state.frame)

    @property
    def detail(self) -> bool:
        """Whether details that the inversion lacks are kept. Setting it can be undone."""
        return self.scene.detailed

    @detail.setter
    def detail(self, on: bool) -> None:
        if on != self.detail:
            self._history.push(Moment(scene.with_detail(self.models, self.scene, on), self.state))

    @property
    def ws(self) -> Float[Tensor, "1 L D"]:
        """Latents of the current image, without what a mask keeps of earlier images."""
        return self.state.frame.ws.clone()

    @property
    def points(self) -> Float[Tensor, "N 2"]:
        """Current positions of the last drag's handles, (x, y) pixels."""
        return torch.tensor(self.state.frame.points[: len(self.state.arrows.handles)]).reshape(-1, 2)

    @property
    def mask(self) -> Float[Tensor, "H W"] | None:
        """1 where the image may change; None: everywhere. Can be set to an array, an image file or None.

        Without a mask the next drag shows what the latents make everywhere, so what masks had kept until then may jump.
        """
        return self.state.mask

    @mask.setter
    def mask(self, mask: Any) -> None:
        self.protect(mask, self.state.grow)

    def protect(self, mask: Any, grow: bool) -> None:
        """Set the mask. grow: the editable region follows what a drag moves out of it; otherwise it stays."""
        values = None if mask is None else read_mask(mask, self.scene.generator.resolution)
        self._push(replace(self.state, mask=values, grow=grow))

    def render(self, frame: Frame) -> UInt8[np.ndarray, "H W 3"]:
        """Any frame of `state.motion` as RGB bytes."""
        return self.scene.renderer(frame)

    # --- choosing ------------------------------------------------------------------------------------------------

    def choose(
        self,
        seed: Seed,
        psi: float | None = None,
        style: Seed | None = None,
        *,
        c: Class | None = None,
        amend: bool = False,
    ) -> None:
        """Another image of the generator. amend: replace the choice before this one in the history."""
        held = self._plain()
        self._history.push(Moment(held, self._picture(held, seed, psi, style, c)), amend)

    def open_latent(self, latent: Any) -> None:
        """The image of a latent: an array, or a file that `latent_files.read_latent` reads. Raises InputError."""
        held = self._plain()
        self._history.push(Moment(held, of_latent(held.generator, latent)))

    def restyle(self, style: Seed | None, *, amend: bool = False) -> None:
        """Take rows 6.. from another seed (None: from the image's own seed) and keep all drags."""
        origin = self.state.origin
        seed = origin.seed if style is None else style
        if seed is None:
            raise InputError("A picture of your own has no seed to go back to; use undo, or give style a seed.")
        tail = latents_of(self.scene.generator, seed, origin.psi, origin.c)[:, EDITED_ROWS:]
        self._push(self.state.restyled(replace(origin, style=None if style is None else int(style)), tail), amend)

    def choose_method(self, name: str, steps: int | None = None, tuning: Tuning = AS_IS) -> None:
        """The method of the next drags. Raises InputError, and changes nothing, where it cannot be used here."""
        tuning.on(self.models.method(name, self.scene.generator, self.scene.dataset, steps))
        self.method, self.steps, self.tuning = name, steps, tuning

    def loaded(self, name: str | None = None) -> DragMethod:
        """The chosen method with its steps and tuning, or another one with its defaults."""
        chosen = name is None or name == self.method
        steps, tuning = (self.steps, self.tuning) if chosen else (None, AS_IS)
        return tuning.on(self.models.method(name or self.method, self.scene.generator, self.scene.dataset, steps))

    def adopt(self, other: "Editor") -> None:
        """Continue with the state of another editor of the same models, as a step that can be undone."""
        self._history.push(Moment(other.scene, other.state))
        self.choose_method(other.method, other.steps, other.tuning)

    def _arrived(self) -> None:
        """Replace a method that cannot be used with the generator of this state."""
        usable = self.models.usable(self.method, self.scene.dataset)
        if usable != self.method:
            self.choose_method(usable)

    def _plain(self) -> Scene:
        """The current scene, or for a user's own image that of its dataset."""
        return scene.plain(self.models, self.scene.dataset) if self.scene.own else self.scene

    def _picture(self, held: Scene, seed: Seed, psi: float | None, style: Seed | None, c: Class | None) -> State:
        psi = self.models.dataset(held.dataset).psi if psi is None else psi
        return of_seed(held.generator, seed, psi, style, c)

    # --- dragging ------------------------------------------------------------------------------------------------

    def drag(self, handles: Points, targets: Points, *, pins: Points = (), mask: Any = None) -> None:
        """Move what is under the handles to the targets: [N, 2] (x, y) pixels each. Pins stay in place."""
        if mask is not None:
            self.mask = mask
        edit = self.begin(handles, pins)
        for _ in edit.toward(as_points(targets)):
            pass
        self.keep(edit)

    def begin(
        self,
        handles: Points,
        pins: Points = (),
        *,
        again: bool = False,
        at: int | None = None,
        method: str | None = None,
    ) -> Drag:
        """A drag from the picture now, or `again` from the one that the last drag started from, to be pulled and kept.

        at: index of another frame of the motion to start from. method: another one for this drag alone, with its own
        number of steps.
        """
        state, name = self.state, method or self.method
        last = len(state.motion) - 1
        base = state.base if again else last if at is None else min(at, last)
        start = state.motion[base]
        points = as_points(handles), as_points(pins)
        return Drag(
            self.loaded(name), find_kind(name), self.scene.renderer, start, base, *points, state.mask, state.grow
        )

    def keep(self, edit: Drag) -> None:
        """Make the result of a drag the current image. A drag without a result changes nothing."""
        if edit.frames:
            self._push(self.state.dragged(edit.base, tuple(edit.frames), edit.arrows))

    def plan(self, arrows: Arrows) -> None:
        """Set arrows and pins for a later drag. Can be undone."""
        self._push(replace(self.state, plan=arrows))

    def reset(self) -> None:
        """Return to the image before all drags; the mask stays. Can be undone."""
        self._push(replace(self.state, motion=self.state.motion[:1], base=0, arrows=Arrows(), plan=None))

    # --- keeping -------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write by suffix: .png or .jpg the picture, .gif or .mp4 the motion, .safetensors a session for `Editor.load`.

        A picture that came from a photograph is written pasted back into it.
        """
        path = Path(path)
        kind = path.suffix.lower().lstrip(".")
        for data in self.export("jpg" if kind == "jpeg" else kind):
            if data:
                write_whole(path, data)

    def export(self, kind: str, frame: int | None = None) -> Iterator[bytes]:
        """Yield b"" after each rendered image, then the bytes of a file of one of `export.KINDS`.

        frame: index of the frame of a still; None: the last.
        """
        if kind == "safetensors":
            return map(session_file.dump, [self.scene.saved(self.state, self.method, self.steps, self.tuning)])
        return export.film(kind, self.state.motion, self.scene.paster, frame)

    @classmethod
    def load(cls, source: str | Path | bytes, *, device: str = "auto", models: ModelCache | None = None) -> "Editor":
        """The session in a .safetensors file or its bytes. Raises InputError if there is none."""
        saved = session_file.parse(source if isinstance(source, bytes) else read_whole(Path(source)))
        models = models or ModelCache(device)
        about, first = saved.about, Moment(scene.restored(models, saved), saved.state)
        return cls._of(models, first, about.method, about.steps, about.tuning)

    @classmethod
    def invert(
        cls,
        image: Any,
        dataset: str | FrozenGenerator = "synthface",
        *,
        method: str | None = None,
        config: InvertConfig | None = None,
        device: str = "auto",
        models: ModelCache | None = None,
    ) -> "Editor":
        """An editor of your own image: anything that `read_picture` takes. `config` determines how long it takes.

        Raises InputError if it is not an image, or if no face is found for a generator of aligned photographs.
        """
        models = models or ModelCache(device)
        name = dataset if isinstance(dataset, str) else models.add(dataset)
        picture = OwnPicture(image, name, models, config or InvertConfig())
        for _ in picture.run():
            pass
        return cls.of_picture(picture, models, method)

    @classmethod
    def of_picture(
        cls, picture: OwnPicture, models: ModelCache, method: str | None = None, steps: int | None = None
    ) -> "Editor":
        """An editor of an image that was inverted step by step."""
        return cls._of(models, Moment(picture.scene(), picture.state()), method, steps)

    @classmethod
    def _of(
        cls, models: ModelCache, first: Moment, method: str | None, steps: int | None, tuning: Tuning = AS_IS
    ) -> "Editor":
        """An editor with an initial state. An unusable method is replaced by another with its defaults."""
        editor = cls.__new__(cls)
        Undoable.__init__(editor, first)
        editor.models = models
        usable = models.usable(method, first.scene.dataset)
        if usable == method:  # sessions of earlier versions may have more steps
            editor.choose_method(method, steps and min(steps, find_kind(method).most), tuning)
        else:
            editor.choose_method(usable)
        return editor
