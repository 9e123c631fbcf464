"""One client's editing, independent of the web: orders in, jobs out."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any

from autodrag.app import protocol, views
from autodrag.app.comparison import Comparison
from autodrag.app.events import Changed, Event, Look, Note, Work
from autodrag.app.orders import GeneratorFile, Hello, Job, MaskFile, Order, OwnImage, Restored, SessionFile
from autodrag.app.preparation import Preparation
from autodrag.app.session_json import describe, outcome
from autodrag.editor.drag import Drag
from autodrag.editor.masks import paint
from autodrag.editor.model_cache import METHODS, ModelCache
from autodrag.editor.session import Editor
from autodrag.editor.session_file import is_session
from autodrag.editor.state import Arrows
from autodrag.editor.tuning import Tuning
from autodrag.errors import InputError

BUSY = "Your picture is being prepared: wait for it, take it as it is, or cancel."
CLEARED = "The mask is gone: what it kept of earlier pictures may jump at the next drag."


class Controller:
    """Turns orders into jobs, which are processed one at a time and in order.

    A job must yield its first event before the next order is taken. When another order comes, the current result of a
    drag is kept. An inversion is ended only by "stop", which keeps its result, and by "cancel".
    """

    def __init__(self, models: ModelCache, editor: Editor) -> None:
        self._models, self.editor = models, editor
        self._edit: Drag | None = None
        self._gesture = self._ended = -1  # the last pull; the last one that was released or is over
        self._compared = Comparison()
        self._own = Preparation(models)
        self._planned = 0  # revision of the page's arrows
        self._copy: str | None = None  # the page's key of the copy that was brought back
        self._motion, self._motions = (editor.scene, editor.state.motion), 0

    def take(self, order: Order) -> Job | None:
        """The job of an order; None if there is nothing to do. Raises InputError if it is impossible."""
        if isinstance(order, Hello):
            return self._greet(order)
        if isinstance(order, protocol.Show | protocol.Glance):
            return None if self._edit is not None or self._own else Job(self._glimpse(order), aside=True)
        if self._own:
            return self._meanwhile(order)
        if isinstance(order, protocol.Command | protocol.Drop):
            return Job(self._command(order))
        if isinstance(order, protocol.Pull | protocol.Release):
            if order.gesture <= self._ended:  # ended by another order: the page returns to what there is
                return Job(iter([self._changed()]), aside=True) if isinstance(order, protocol.Release) else None
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
            protocol.Plan: self._plan,
            protocol.Grow: self._grow,
            protocol.Detail: self._detail,
            protocol.Go: self._go,
            MaskFile: self._masked,
            OwnImage: self._invert,
            SessionFile: self._load,
            Restored: self._restore,
            GeneratorFile: self._open,
        }
        return Job(jobs[type(order)](order), long=isinstance(order, protocol.Compare | OwnImage), first=first)

    def welcome(self) -> Iterator[Event]:
        """Everything a page shows, for a new page and after larger changes."""
        yield from self._told()
        yield self._current()

    def _told(self) -> Iterator[Event]:
        """The state and its mask, which takes the place of the page's stroke of the brush, also of one refused."""
        yield self._changed()
        if self.editor.mask is not None:
            yield views.of_mask(self.editor)

    def _current(self, final: bool = True, **header: Any) -> Look:
        """The image of the session. Its header names the motion whose end it shows, as `_changed` does."""
        return views.of_frame(self.editor, self.editor.state.frame, final, motion=self._motions, **header)

    def _greet(self, order: Hello) -> Job:
        """Everything a returning page shows. A pull without a page ends with its current result; a release goes on."""
        left = order.fresh and self._edit is not None and self._gesture > self._ended
        if left:
            self._settle()
        return Job(self.welcome(), aside=not left)

    def _meanwhile(self, order: Order) -> Job:
        """What an order does during an inversion: end it, or nothing, and then the page returns to what there is."""
        if isinstance(order, protocol.Command) and order.type in ("stop", "cancel"):
            return Job(chain(self._own.end(self.editor, take=order.type == "stop"), self._refreshed()))
        if isinstance(order, protocol.Plan):
            self._planned = order.revision
        refused = () if isinstance(order, protocol.Drop) else (Note(BUSY),)
        return Job(chain(refused, self._told()), aside=True)

    # --- commands ------------------------------------------------------------------------------------------------

    def _command(self, order: protocol.Command | protocol.Drop) -> Iterator[Event]:
        if isinstance(order, protocol.Drop) and order.gesture == self._gesture > self._ended:
            self._edit = None
        self._settle()
        self._compared.running = False
        name = order.type
        moves = {"undo": self.editor.undo, "redo": self.editor.redo, "reset": self.editor.reset}
        if name in moves:
            moves[name]()
        elif name == "clear_mask":
            kept, self.editor.mask = self.editor.state.frame.layers > 0, None
            return chain([Note(CLEARED)] if kept else [], self._refreshed())
        elif name == "invert_mask" and self.editor.mask is not None:
            self.editor.mask = 1 - self.editor.mask
        return self._refreshed()

    def _settle(self) -> None:
        """Keep the current result of a drag."""
        if self._edit is not None:
            self.editor.keep(self._edit)
        self._edit, self._ended = None, max(self._ended, self._gesture)

    def _settled(self) -> tuple[Event, ...]:
        """Keep the current result of a drag. Returns the messages on it and on a comparison that ends."""
        under_way = self._edit is not None or self._compared.running
        self._settle()
        self._compared.running = False
        return tuple(self._refreshed()) if under_way else ()

    def failed(self) -> tuple[Event, ...]:
        """After an order that failed: keep what a drag has reached, and tell the page what there is."""
        return self._settled() or tuple(self._told())

    def _refreshed(self) -> Iterator[Event]:
        yield Work("")
        yield from self.welcome()

    def _picture(self, order: protocol.Picture) -> Iterator[Event]:
        origin = self.editor.state.origin
        given = order.model_dump(include={"seed", "psi", "style", "c"}, exclude_unset=True)
        self.editor.choose(**{**vars(origin), "seed": origin.seed or 0, **given}, amend=order.amend)
        yield from self._seen(order.settled)

    def _restyle(self, order: protocol.Restyle) -> Iterator[Event]:
        self.editor.restyle(order.style, amend=order.amend)
        yield from self._seen(order.settled)

    def _seen(self, settled: bool) -> Iterator[Event]:
        yield self._changed()
        yield self._current(final=settled)

    def _dataset(self, order: protocol.Dataset) -> Iterator[Event]:
        self._compared = Comparison()
        method = self._models.usable(self.editor.method, order.name)
        self.editor.adopt(Editor(order.name, method=method, models=self._models))
        yield from self.welcome()

    def _method(self, order: protocol.Method) -> Iterator[Event]:
        self.editor.choose_method(order.name, order.steps, Tuning(order.lr, order.mask_weight))
        yield self._changed()

    def _glimpse(self, order: protocol.Show | protocol.Glance) -> Iterator[Event]:
        if isinstance(order, protocol.Show):
            yield views.of_motion(self.editor, order.index, self._motions)
        else:
            yield views.of_history(self.editor, order.index)

    def _brush(self, order: protocol.Brush) -> Iterator[Event]:
        resolution = self.editor.scene.generator.resolution
        before = self.editor.mask
        grow = self.editor.state.grow if before is not None else order.paint == "change"
        self.editor.protect(paint(before, order.points, order.radius, order.paint, resolution), grow)
        yield from self._told()

    def _masked(self, order: MaskFile) -> Iterator[Event]:
        self.editor.protect(order.data, grow=False)
        yield from self._told()

    def _grow(self, order: protocol.Grow) -> Iterator[Event]:
        self.editor.protect(self.editor.mask, order.on)
        yield self._changed()

    def _detail(self, order: protocol.Detail) -> Iterator[Event]:
        self.editor.detail = order.on
        yield from self._seen(settled=True)

    def _go(self, order: protocol.Go) -> Iterator[Event]:
        self.editor.go(order.index)
        yield from self.welcome()

    def _plan(self, order: protocol.Plan) -> Iterator[Event]:
        self._planned = order.revision
        self.editor.plan(Arrows(order.handles, order.targets, order.pins))
        yield self._changed()

    # --- drags ---------------------------------------------------------------------------------------------------

    def _pull(self, order: protocol.Pull | protocol.Release) -> Iterator[Event]:
        edit = self._edit
        if edit is None:
            edit = self._edit = self.editor.begin(order.handles, order.pins, again=order.again, at=order.at)
            self._gesture, self._compared = order.gesture, Comparison()
        quick = isinstance(order, protocol.Pull)
        for progress in edit.toward(order.targets, quick=quick):
            look = self._reached(edit, "main", step=progress.step, gesture=order.gesture, time=order.time)
            draft = partial(self.editor.scene.renderer.draft, edit.reached)
            yield replace(look, draft=draft) if quick and edit.live else look

    def _release(self, order: protocol.Release) -> Iterator[Event]:
        steps = self._total(self.editor.method)
        numbers: dict[str, Any] = {}
        self._ended = order.gesture
        for index, event in enumerate(self._pull(order)):
            if self._edit is not None:
                numbers = self._numbers(self._edit, "main")
            yield event
            yield Work("drag", index + 1, steps)
        self._settle()
        yield Work("")
        yield self._changed()
        yield self._current(**numbers, gesture=order.gesture, time=order.time)

    def _reached(self, edit: Drag, lane: str, final: bool = False, **header: Any) -> Look:
        """The current image of a drag."""
        return views.of_frame(self.editor, edit.reached, final, lane, **self._numbers(edit, lane), **header)

    def _numbers(self, edit: Drag, lane: str) -> dict[str, Any]:
        """The largest number of steps of a drag, and its outcome so far."""
        return {"steps": self._total(self.editor.method if lane == "main" else lane), **outcome(edit)}

    def _total(self, method: str) -> int:
        """The largest number of steps of a drag of this method."""
        chosen = self.editor.steps if method == self.editor.method else None
        return chosen or METHODS[method].steps or 1

    def _compare(self, order: protocol.Compare) -> Iterator[Event]:
        compared = self._compared = Comparison()
        for name, why in compared.begin(self.editor, order).items():
            yield Note(why, lane=name)
        if compared.edits:
            yield views.of_frame(self.editor, next(iter(compared.edits.values())).start, final=True, lane="original")
        total = sum(self._total(name) for name in compared.edits)
        for taken, (name, step) in enumerate(compared.run(self.editor, order)):
            yield Work("compare", taken, total)
            yield self._reached(compared.edits[name], name, final=not step, step=step, done=not step)
        yield Work("")

    def _take(self, order: protocol.Take) -> Iterator[Event]:
        if order.method not in self._compared.edits:
            raise InputError("There is no such result any more: compare again.")
        self.editor.keep(self._compared.edits[order.method])
        self._compared = Comparison()
        yield from self.welcome()

    # --- what comes from outside ---------------------------------------------------------------------------------

    def _invert(self, order: OwnImage) -> Iterator[Event]:
        yield from chain(self._own.run(self.editor, order), self._refreshed())

    def _load(self, order: SessionFile) -> Iterator[Event]:
        if not is_session(order.data):
            self.editor.open_latent(order.data)
        else:
            self.editor.adopt(Editor.load(order.data, models=self._models))
        self._compared = Comparison()
        yield from self.welcome()

    def _restore(self, order: Restored) -> Iterator[Event]:
        """Continue with what the page had before. Undo leaves it only for what was done in the meantime."""
        if self.editor.version:
            self.editor.adopt(order.editor)
        else:
            self.editor = order.editor
        self._copy, self._compared = order.copy, Comparison()
        yield from self.welcome()

    def _open(self, order: GeneratorFile) -> Iterator[Event]:
        yield Work("open", 0, 1)
        name = self._models.open(order.data, order.name)
        yield Work("")
        yield from self._dataset(protocol.Dataset(type="dataset", name=name))

    # --- what the page is told -----------------------------------------------------------------------------------

    def _changed(self) -> Changed:
        motion = self.editor.scene, self.editor.state.motion  # another scene draws other pictures of the same frames
        if motion != self._motion:
            self._motion, self._motions = motion, self._motions + 1
        told = {"gesture": max(self._gesture, self._ended), "revision": self._planned, "copy": self._copy}
        return Changed(describe(self.editor, self._motions) | told)
