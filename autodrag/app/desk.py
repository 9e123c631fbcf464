"""One client's editing, without any web: orders in, jobs out."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from autodrag.app import protocol
from autodrag.app.edit import Edit
from autodrag.app.events import Changed, Event, Look, Note, Work
from autodrag.app.invert import InvertConfig
from autodrag.app.masks import paint
from autodrag.app.own import OwnPicture
from autodrag.app.session import Editor
from autodrag.app.state import Frame
from autodrag.app.stored import is_session
from autodrag.app.studio import METHODS, Studio
from autodrag.app.telling import describe, mask_picture, mean_distance
from autodrag.errors import InputError

BUSY = "Your picture is being prepared: wait for it, take it as it is, or cancel."
PREVIEW = 8  # steps of an inversion between two pictures of it


@dataclass(frozen=True)
class OwnImage:
    """A picture of the user's own was uploaded."""

    data: bytes
    config: InvertConfig


@dataclass(frozen=True)
class SessionFile:
    """A saved session was uploaded, or the latent of a picture in any form that `latent_files` reads."""

    data: bytes


Order = protocol.Request | OwnImage | SessionFile


@dataclass(frozen=True)
class Job:
    """What an order sets off: a moment's work for every event.

    long: another order may end it before it is through. first: what is told at once, of the job that this order ends.
    """

    events: Iterator[Event]
    long: bool = False
    first: tuple[Event, ...] = ()


class Desk:
    """Turns orders into jobs, to be worked on one at a time, in their order.

    A job must have come to its first event before the next order is taken. What a drag under way has reached is kept
    when another order comes. An inversion is only ended by "stop", which takes it as it is, and "cancel".
    """

    def __init__(self, studio: Studio, editor: Editor) -> None:
        self._studio, self.editor = studio, editor
        self._edit: Edit | None = None
        self._gesture = self._ended = -1  # the pull under way; the last one that is over
        self._lanes: dict[str, Edit] = {}
        self._comparing = False
        self._own: OwnPicture | None = None
        self._motion, self._motions = editor.state.motion, 0

    def take(self, order: Order) -> Job | None:
        """The job of an order; None where there is nothing to do. Raises InputError where it cannot be."""
        if isinstance(order, protocol.Shown):
            return None
        if isinstance(order, protocol.Command):
            return Job(self._command(order.type))
        if self._own is not None:
            raise InputError(BUSY)
        if isinstance(order, protocol.Show):
            return None if self._edit is not None else Job(self._show(order))
        if isinstance(order, protocol.Pull | protocol.Release):
            if order.gesture <= self._ended:
                return None
            first = self._settled() if order.gesture != self._gesture else ()
            pulled = self._pull(order) if isinstance(order, protocol.Pull) else self._release(order)
            return Job(pulled, long=True, first=first)
        first = self._settled()
        jobs: dict[type, Callable[[Any], Iterator[Event]]] = {
            protocol.Picture: self._picture,
            protocol.Restyle: self._restyle,
            protocol.Dataset: self._dataset,
            protocol.Method: self._method,
            protocol.Compare: self._compare,
            protocol.Take: self._take,
            protocol.Brush: self._brush,
            OwnImage: self._invert,
            SessionFile: self._load,
        }
        return Job(jobs[type(order)](order), long=isinstance(order, protocol.Compare | OwnImage), first=first)

    def welcome(self) -> Iterator[Event]:
        """What a page is shown first, and whenever everything may have changed."""
        yield self._changed()
        if self.editor.mask is not None:
            yield self._mask_look()
        yield self._look(self.editor.state.frame, final=True)

    # --- commands ------------------------------------------------------------------------------------------------

    def _command(self, name: str) -> Iterator[Event]:
        if self._own is not None:
            if name not in ("stop", "cancel"):
                raise InputError(BUSY)
            own, self._own = self._own, None
            return self._inverted(own if name == "stop" else None)
        if name == "cancel":
            self._edit, self._lanes = None, {}
        self._settle()
        self._comparing = False
        if name == "undo":
            self.editor.undo()
        elif name == "redo":
            self.editor.redo()
        elif name == "reset":
            self.editor.reset()
        elif name == "clear_mask":
            self.editor.mask = None
        elif name == "invert_mask" and self.editor.mask is not None:
            self.editor.mask = 1 - self.editor.mask
        return self._refreshed()

    def _settle(self) -> None:
        """Keep what the drag under way has reached."""
        if self._edit is not None:
            self.editor.keep(self._edit)
        self._edit, self._ended = None, max(self._ended, self._gesture)

    def _settled(self) -> tuple[Event, ...]:
        """Keep what the drag under way has reached; what the page is told of it, and of a comparison that ends."""
        under_way = self._edit is not None or self._comparing
        self._settle()
        self._comparing = False
        return tuple(self._refreshed()) if under_way else ()

    def _refreshed(self) -> Iterator[Event]:
        yield Work("")
        yield from self.welcome()

    def _picture(self, order: protocol.Picture) -> Iterator[Event]:
        self.editor.choose(order.seed, order.psi, order.style, c=order.c, amend=order.amend)
        yield from self._seen(order.settled)

    def _restyle(self, order: protocol.Restyle) -> Iterator[Event]:
        self.editor.restyle(order.style, amend=order.amend)
        yield from self._seen(order.settled)

    def _seen(self, settled: bool) -> Iterator[Event]:
        yield self._changed()
        yield self._look(self.editor.state.frame, final=settled)

    def _dataset(self, order: protocol.Dataset) -> Iterator[Event]:
        self._lanes = {}
        method = self._studio.usable(self.editor.method, order.name)
        self.editor = Editor(order.name, method=method, studio=self._studio)
        yield from self.welcome()

    def _method(self, order: protocol.Method) -> Iterator[Event]:
        self.editor.choose_method(order.name, order.steps)
        yield self._changed()

    def _show(self, order: protocol.Show) -> Iterator[Event]:
        motion = self.editor.state.motion
        index = min(order.index, len(motion) - 1)
        yield self._look(motion[index], final=True, lane="scrub", index=index, motion=self._motions)

    def _brush(self, order: protocol.Brush) -> Iterator[Event]:
        resolution = self.editor.scene.generator.resolution
        self.editor.mask = paint(self.editor.mask, order.points, order.radius, order.paint, resolution)
        yield self._changed()
        yield self._mask_look()

    # --- drags ---------------------------------------------------------------------------------------------------

    def _pull(self, order: protocol.Pull | protocol.Release) -> Iterator[Event]:
        edit = self._edit
        if edit is None:
            edit = self._edit = self.editor.begin(order.handles, order.pins, again=order.again)
            self._gesture, self._lanes = order.gesture, {}
        for progress in edit.toward(order.targets, quick=isinstance(order, protocol.Pull)):
            yield self._reached(edit, "main", step=progress.step, gesture=order.gesture, time=order.time)

    def _release(self, order: protocol.Release) -> Iterator[Event]:
        steps = self._total(self.editor.method)
        numbers: dict[str, Any] = {}
        for index, event in enumerate(self._pull(order)):
            if self._edit is not None:
                numbers = self._numbers(self._edit, "main")
            yield event
            yield Work("drag", index + 1, steps)
        self._settle()
        yield Work("")
        yield self._changed()
        header = {**numbers, "gesture": order.gesture, "time": order.time}
        yield self._look(self.editor.state.frame, final=True, **header)

    def _reached(self, edit: Edit, lane: str, final: bool = False, **header: Any) -> Look:
        """The picture that a drag has come to."""
        return self._look(edit.reached, final, lane, **self._numbers(edit, lane), **header)

    def _numbers(self, edit: Edit, lane: str) -> dict[str, Any]:
        """Steps that the drag takes, seconds it took, and pixels between its handles and their targets."""
        points = edit.frames[-1].points if edit.frames else edit.arrows.handles
        steps = self._total(self.editor.method if lane == "main" else lane)
        distance = mean_distance(points[: len(edit.arrows.handles)], edit.arrows.targets)
        return {"steps": steps, "seconds": round(edit.seconds, 3), "distance": distance}

    def _total(self, method: str) -> int:
        """Steps that a drag of this method takes at most."""
        chosen = self.editor.steps if method == self.editor.method else None
        return chosen or METHODS[method].steps or 1

    def _compare(self, order: protocol.Compare) -> Iterator[Event]:
        self._lanes = {}
        runs = {}
        for name in dict.fromkeys(order.methods):
            try:
                edit = self.editor.begin(order.handles, order.pins, again=order.again, method=name)
            except InputError as error:
                yield Note(str(error), lane=name)
                continue
            self._lanes[name], runs[name] = edit, edit.toward(order.targets)
        taken, total = 0, sum(self._total(name) for name in runs)
        self._comparing = True
        while runs:
            yield Work("compare", taken, total)
            for name in list(runs):
                progress = next(runs[name], None)
                taken += 1
                if progress is not None:
                    yield self._reached(self._lanes[name], name, step=progress.step)
                    continue
                del runs[name]
                edit = self._lanes[name]
                yield self._reached(edit, name, final=True, done=True)
        self._comparing = False
        yield Work("")

    def _take(self, order: protocol.Take) -> Iterator[Event]:
        if order.method not in self._lanes:
            raise InputError("There is no such result any more: compare again.")
        self.editor.keep(self._lanes[order.method])
        self._lanes = {}
        yield from self.welcome()

    # --- what comes from outside ---------------------------------------------------------------------------------

    def _invert(self, order: OwnImage) -> Iterator[Event]:
        own = self._own = OwnPicture(order.data, self.editor.scene.dataset, self._studio, order.config)
        try:
            for progress in own.run():
                yield Work(progress.phase, progress.step, progress.steps)
                if progress.phase == "invert" and progress.step % PREVIEW == 1:
                    yield self._look_with(own.scene().renderer, own.frame(), final=False)
        finally:
            self._own = None
        yield from self._inverted(own)

    def _inverted(self, own: OwnPicture | None) -> Iterator[Event]:
        if own is not None:
            self.editor = Editor.of_picture(own, self._studio, self.editor.method, self.editor.steps)
        yield from self._refreshed()

    def _load(self, order: SessionFile) -> Iterator[Event]:
        if is_session(order.data):
            self.editor = Editor.load(order.data, studio=self._studio)
        else:
            self.editor.open_latent(order.data)
        self._lanes = {}
        yield from self.welcome()

    def export(self, kind: str) -> Iterator[bytes]:
        """See `Editor.export`."""
        return self.editor.export(kind)

    # --- what the page is told -----------------------------------------------------------------------------------

    def _look(self, frame: Frame, final: bool, lane: str = "main", **header: Any) -> Look:
        return self._look_with(self.editor.render, frame, final, lane, **header)

    def _look_with(
        self, render: Callable[[Frame], Any], frame: Frame, final: bool, lane: str = "main", **header: Any
    ) -> Look:
        return Look(lane, partial(render, frame), final, {"points": protocol.points(frame.points), **header})

    def _mask_look(self) -> Look:
        assert self.editor.mask is not None  # callers know
        return Look("mask", partial(mask_picture, self.editor.mask), True)

    def _changed(self) -> Changed:
        if self.editor.state.motion is not self._motion:
            self._motion, self._motions = self.editor.state.motion, self._motions + 1
        return Changed(describe(self.editor, self._motions))
