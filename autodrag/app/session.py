"""The editor: one editing session, in Python. The page shows nothing but such a session."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from autodrag.app import export, scene, stored
from autodrag.app.edit import Edit, as_points
from autodrag.app.invert import InvertConfig
from autodrag.app.masks import read_mask
from autodrag.app.own import OwnPicture
from autodrag.app.scene import Scene
from autodrag.app.state import Frame, History, Origin, State
from autodrag.app.studio import Studio, find_kind
from autodrag.errors import InputError
from autodrag.generator import Class, FrozenGenerator
from autodrag.latent_files import check_latent, read_latent
from autodrag.latents import EDITED_ROWS
from autodrag.methods.base import Points
from autodrag.seeding import rng


class Editor:
    """Drag pictures of a generator.

    dataset: name of a dataset, path of a generator file, or a FrozenGenerator. seed: of the picture. psi: truncation;
    None: the dataset's. style: seed whose rows 6.. (colours, light) replace the picture's own. method: drag method by
    name; None: the first that can be used. steps: of a drag; None: the method's own number. device: "auto" is a GPU
    where there is one. mask: [H, W] array or a picture file, white where the picture may change. weights: a file of
    AutoDrag's; None: those that ship with the dataset. studio: shares generators between editors, instead of device
    and weights. c: class of a generator that has some: its number from 0, or its label; None: none of them. latent: a
    file of latents, its bytes, or [1, L, D], instead of a seed. Raises InputError, one sentence, for what cannot be.
    """

    def __init__(
        self,
        dataset: str | FrozenGenerator = "synthface",
        *,
        seed: int = 0,
        psi: float | None = None,
        style: int | None = None,
        method: str | None = "autodrag",
        steps: int | None = None,
        device: str = "auto",
        mask: Any = None,
        weights: str | Path | None = None,
        studio: Studio | None = None,
        c: Class | None = None,
        latent: str | Path | bytes | Tensor | None = None,
    ) -> None:
        self.studio = studio or Studio(device, weights=weights)
        name = dataset if isinstance(dataset, str) else self.studio.add(dataset)
        self._scene = scene.plain(self.studio, name)
        values = None if mask is None else read_mask(mask, self._scene.generator.resolution)
        first = self._picture(seed, psi, style, c) if latent is None else self._found(latent)
        self._history = History(replace(first, mask=values))
        self.choose_method(method or self.studio.usable(None, name), steps)

    # --- what there is -------------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """The session as it is now; never changed, only replaced."""
        return self._history.state

    @property
    def scene(self) -> Scene:
        """Generator and photograph."""
        return self._scene

    @property
    def image(self) -> UInt8[np.ndarray, "H W 3"]:
        """The picture now, RGB."""
        return self.render(self.state.frame)

    @property
    def photo(self) -> UInt8[np.ndarray, "H W 3"] | None:
        """The user's photograph with the picture pasted back; None for a picture of a seed."""
        return None if self._scene.photo is None else self._scene.paste(self.state.frame)

    @property
    def ws(self) -> Float[Tensor, "1 L D"]:
        """Latents of the picture now. What a mask keeps of earlier pictures is not in them."""
        return self.state.frame.ws.clone()

    @property
    def points(self) -> Float[Tensor, "N 2"]:
        """Where the handles of the last drag are now, (x, y) pixels."""
        state = self.state
        return torch.tensor(state.frame.points[: len(state.arrows.handles)]).reshape(-1, 2)

    @property
    def mask(self) -> Float[Tensor, "H W"] | None:
        """1 where the picture may change; None: everywhere. Set it to an array, a picture file or None."""
        return self.state.mask

    @mask.setter
    def mask(self, mask: Any) -> None:
        values = None if mask is None else read_mask(mask, self._scene.generator.resolution)
        self._history.push(replace(self.state, mask=values))

    @property
    def can_undo(self) -> bool:
        """Whether `undo` would change anything."""
        return self._history.can_undo

    @property
    def can_redo(self) -> bool:
        """Whether `redo` would change anything."""
        return self._history.can_redo

    def render(self, frame: Frame) -> UInt8[np.ndarray, "H W 3"]:
        """Any frame of `state.motion` as RGB bytes."""
        return self._scene.renderer(frame)

    # --- choosing ------------------------------------------------------------------------------------------------

    def choose(
        self,
        seed: int,
        psi: float | None = None,
        style: int | None = None,
        *,
        c: Class | None = None,
        amend: bool = False,
    ) -> None:
        """Another picture of the generator. amend: the choice before this one is no step of its own for undo."""
        if self._scene.own:
            self._scene = scene.plain(self.studio, self._scene.dataset)
            self._history = History(self._picture(seed, psi, style, c))
        else:
            self._history.push(self._picture(seed, psi, style, c), amend)

    def open_latent(self, latent: str | Path | bytes | Tensor) -> None:
        """A picture by its latent, from whatever `latent_files.read_latent` reads, or [1, L, D]. Raises InputError."""
        if self._scene.own:
            self._scene = scene.plain(self.studio, self._scene.dataset)
        self._history.push(self._found(latent))

    def restyle(self, style: int | None, *, amend: bool = False) -> None:
        """Another seed's rows 6.. (None: the picture's own seed's) under the same drags."""
        origin = self.state.origin
        seed = origin.seed if style is None else style
        if seed is None:
            raise InputError("A picture of your own has no seed to go back to; use undo, or give style a seed.")
        tail = self._latents(seed, origin.psi, origin.c)[:, EDITED_ROWS:]
        self._history.push(self.state.restyled(replace(origin, style=style), tail), amend)

    def choose_method(self, name: str, steps: int | None = None) -> None:
        """The method of the next drags. Raises InputError, and changes nothing, where it has no weights here."""
        self.studio.method(name, self._scene.generator, self._scene.dataset, steps)
        self.method, self.steps = name, steps

    def _picture(self, seed: int, psi: float | None, style: int | None, c: Class | None) -> State:
        psi = self.studio.dataset(self._scene.dataset).psi if psi is None else psi
        ws = self._latents(seed, psi, c)
        if style is not None:
            ws = torch.cat([ws[:, :EDITED_ROWS], self._latents(style, psi, c)[:, EDITED_ROWS:]], dim=1)
        kept = c if c is None or isinstance(c, int) else tuple(float(value) for value in c)
        return State(Origin(seed, psi, style, kept), (Frame(ws),))

    def _latents(self, seed: int, psi: float, c: Class | None) -> Float[Tensor, "1 L D"]:
        generator = self._scene.generator
        z = torch.randn(1, generator.z_dim, generator=rng(seed, "editor"))
        label = None if c is None else generator.label(c)
        return generator.map(z.to(generator.device), label, psi=psi).float().cpu().contiguous()

    def _found(self, latent: str | Path | bytes | Tensor) -> State:
        """The first state of a picture that is given by its latent."""
        source = Path(latent) if isinstance(latent, str) else latent
        generator = self._scene.generator
        ws = check_latent(source, generator) if isinstance(source, Tensor) else read_latent(source, generator)
        return State(Origin(None, 1.0), (Frame(ws.float().cpu().contiguous()),))

    # --- dragging ------------------------------------------------------------------------------------------------

    def drag(self, handles: Points, targets: Points, *, pins: Points = (), mask: Any = None) -> None:
        """Move what lies under the handles to the targets: [N, 2] (x, y) pixels each. Pins stay where they are."""
        if mask is not None:
            self.mask = mask
        edit = self.begin(handles, pins)
        for _ in edit.toward(as_points(targets)):
            pass
        self.keep(edit)

    def begin(self, handles: Points, pins: Points = (), *, again: bool = False, method: str | None = None) -> Edit:
        """A drag from the picture now, or `again` from the one that the last drag started from, to be pulled and kept.

        method: another one for this drag alone, with its own number of steps.
        """
        state, name = self.state, method or self.method
        steps = self.steps if name == self.method else None
        generator = self._scene.generator
        loaded = self.studio.method(name, generator, self._scene.dataset, steps)
        base = state.base if again else len(state.motion) - 1
        start = state.motion[base]
        points = as_points(handles), as_points(pins)
        return Edit(loaded, find_kind(name), generator, start, base, *points, state.mask)

    def keep(self, edit: Edit) -> None:
        """Make what a drag has reached the picture now. A drag that reached nothing changes nothing."""
        if edit.frames:
            self._history.push(self.state.dragged(edit.base, tuple(edit.frames), edit.arrows))

    def undo(self) -> bool:
        """Back before the last change; False where there is none."""
        return self._history.undo()

    def redo(self) -> bool:
        """Bring back what was undone; False where nothing was."""
        return self._history.redo()

    def reset(self) -> None:
        """Back to the picture before all drags. Can be undone."""
        self._history.push(State(self.state.origin, self.state.motion[:1]))

    # --- keeping -------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write by suffix: .png the picture, .gif or .mp4 the motion, .safetensors the session, for `Editor.load`.

        A picture that came from a photograph is written pasted back into it.
        """
        path = Path(path)
        for data in self.export(path.suffix.lower().lstrip(".")):
            if data:
                export.write_whole(path, data)

    def export(self, kind: str) -> Iterator[bytes]:
        """Last, the bytes of a "png", "gif", "mp4" or "safetensors" file; before them b"" after every picture made."""
        if kind == "safetensors":
            state, held = self.state, self._scene
            about = stored.About(held.dataset, self.method, self.steps, state.origin, state.base, state.arrows)
            saved = stored.Saved(about, state, held.generator.w_avg, held.photo, held.tuned)
            return iter([stored.dump(saved)])
        return export.film(kind, self.state.motion, self._scene.paste)

    @classmethod
    def load(cls, source: str | Path | bytes, *, device: str = "auto", studio: Studio | None = None) -> "Editor":
        """The session that a .safetensors file, or its bytes, holds. Raises InputError where it holds none."""
        saved = stored.parse(source if isinstance(source, bytes) else export.read_whole(Path(source)))
        studio = studio or Studio(device)
        return cls._of(studio, scene.restored(studio, saved), saved.state, saved.about.method, saved.about.steps)

    @classmethod
    def invert(
        cls,
        image: str | Path | UInt8[np.ndarray, "H W 3"],
        dataset: str | FrozenGenerator = "synthface",
        *,
        method: str | None = None,
        config: InvertConfig | None = None,
        device: str = "auto",
        studio: Studio | None = None,
    ) -> "Editor":
        """An editor of your own picture: a PNG, JPEG or WebP file, or RGB bytes. Takes as long as `config` says.

        Raises InputError where it is no picture, or where no face is found for a generator of aligned photographs.
        """
        studio = studio or Studio(device)
        name = dataset if isinstance(dataset, str) else studio.add(dataset)
        picture = OwnPicture(image, name, studio, config or InvertConfig())
        for _ in picture.run():
            pass
        return cls.of_picture(picture, studio, method)

    @classmethod
    def of_picture(
        cls, picture: OwnPicture, studio: Studio, method: str | None = None, steps: int | None = None
    ) -> "Editor":
        """An editor of a picture that was inverted by steps."""
        return cls._of(studio, picture.scene(), picture.state(), method, steps)

    @classmethod
    def _of(cls, studio: Studio, held: Scene, state: State, method: str | None, steps: int | None) -> "Editor":
        """An editor that does not begin with a seed. A method that cannot be used here gives way to one that can."""
        editor = cls.__new__(cls)
        editor.studio, editor._scene, editor._history = studio, held, History(state)
        usable = studio.usable(method, held.dataset)
        editor.choose_method(usable, steps if usable == method else None)
        return editor
