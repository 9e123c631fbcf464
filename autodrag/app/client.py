"""A session and its page. The jobs of all sessions are computed in short turns."""

import asyncio
import json
import logging
import secrets
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import Any, TypeVar

from autodrag.app.controller import Controller
from autodrag.app.downloads import export
from autodrag.app.events import Event, Look, Note, Work
from autodrag.app.orders import Job, Order, Restored
from autodrag.app.pace import Pace
from autodrag.app.protocol import Pull, picture_message
from autodrag.app.queues import Inbox, Outbox
from autodrag.app.turns import Turns
from autodrag.editor.model_cache import METHODS
from autodrag.editor.session import Editor
from autodrag.errors import InputError
from autodrag.images import encode

T = TypeVar("T")

log = logging.getLogger(__name__)

PATIENCE = 0.5  # seconds that a pull waits at most for the picture before it to be taken
REST = 0.15  # seconds without news after which a pointer rests, and its picture is made whole
BUSY = 0.25  # seconds that a page waits for its turn from which on it is told so
FAILED = "This failed because of an error in the program; the server's log has it. Your session is still here."


class Client:
    """One session and the page that shows it. The page may disconnect and reconnect.

    Everything that computes runs in short turns, so that sessions alternate.
    """

    def __init__(self, turns: Turns) -> None:
        self.token = secrets.token_urlsafe(16)
        self.inbox, self.outbox = Inbox(), Outbox()
        self._turns = turns
        self._controller: Controller | None = None
        self.visit: asyncio.Event | None = None  # set when another page takes the place of the one that is there
        self.left = 0.0  # when the last page went, by the loop's clock
        self._pace = Pace()
        self._pulled = self._waited = 0.0  # when the last pull was taken; seconds that the last turn was waited for
        self._worked = 0.0  # seconds of the last picture of a pull
        self._at_work = False

    async def open(self, make: Callable[[], Controller]) -> None:
        """Create the session and start to process its orders."""
        self._controller = await self.run(make)
        self.working = asyncio.ensure_future(self._work())

    def arrive(self) -> asyncio.Event:
        """Connect a page in place of any other. Returns an event that is set when another page replaces it."""
        if self.visit is not None:
            self.visit.set()
        self.visit = asyncio.Event()
        self.outbox.renew()
        return self.visit

    def leave(self, visit: asyncio.Event) -> bool:
        """Disconnect the page of this event. Returns whether the session has no page now."""
        if self.visit is visit:
            self.visit, self.left = None, asyncio.get_running_loop().time()
        return self.visit is None

    def close(self) -> None:
        """End the session."""
        self.working.cancel()

    @property
    def controller(self) -> Controller:
        """The session. Raises InputError until it is open."""
        if self._controller is None:
            raise InputError("The session is not open yet: wait a moment.")
        return self._controller

    async def run(self, function: Callable[..., T], *arguments: Any, draft: bool = False) -> T:
        """Compute a function in a turn. draft: see `Turns.run`."""
        asked = perf_counter()

        def turn() -> T:
            self._waited = perf_counter() - asked
            return function(*arguments)

        return await self._turns.run(self.token, turn, draft=draft)

    async def _work(self) -> None:
        """Process orders until cancelled."""
        job: Job | None = Job(self.controller.welcome())
        while True:
            if job is None or (job.long and self.inbox):
                new, events = await self._next(await self._order())
                job = new or job
            else:
                events = await self.run(self._moment, job)
                job = job if events else None
            for event in events:
                self.outbox.put(event)
                if isinstance(event, Look) and event.encoded is not None:
                    self._keep_pace()

    def _keep_pace(self) -> None:
        """Adapt the resolution of the next draft to the time that the last one took."""
        if self._turns.took(self._worked, (self.token, self._pace.less)):
            self._pace.took(perf_counter() - self._pulled)

    async def _order(self) -> Order:
        """The next order. A pull waits until the last image is delivered; until then a newer pull replaces it."""
        self._at_work = bool(self.inbox)
        if isinstance(await self.inbox.begun(), Pull):
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self.outbox.drained(), PATIENCE)
        self._at_work, self._pulled = True, perf_counter()
        return await self.inbox.get()

    async def _next(self, order: Order) -> tuple[Job | None, tuple[Event, ...]]:
        """The job of an order and its first events; None if there is nothing to do or the current job continues."""
        try:
            return await self.run(self._begun, order, draft=isinstance(order, Pull))
        except Exception as error:  # noqa: BLE001 (whatever an order raises, the page and its session live on)
            return None, (Note(_sentence(error)),)

    def _begun(self, order: Order) -> tuple[Job | None, tuple[Event, ...]]:
        job = self.controller.take(order)
        if job is None:
            return None, ()
        if job.aside:
            return None, (*job.first, *job.events)
        return job, (*job.first, *self._moment(job))

    def _moment(self, job: Job) -> tuple[Event, ...]:
        """The next event of a job; none at its end. The draft of a pull is rendered and encoded in the same turn."""
        begin = perf_counter()
        try:
            event = next(job.events, None)
            if isinstance(event, Look) and event.draft is not None:
                event = replace(event, encoded=self._encoded(event))
                self._worked = perf_counter() - begin
        except Exception as error:  # noqa: BLE001 (as above)
            return Note(_sentence(error)), Work(""), *self._after_failure()
        return () if event is None else (event,)

    def _after_failure(self) -> tuple[Event, ...]:
        try:
            return self.controller.failed()
        except Exception as error:  # noqa: BLE001 (as above: what failed once may fail again)
            return (Note(_sentence(error)),)

    async def tell(
        self, send_text: Callable[[str], Awaitable[None]], send_bytes: Callable[[bytes], Awaitable[None]]
    ) -> None:
        """Send messages until cancelled."""
        rough: Look | None = None  # what the page shows, if it is a draft
        while True:
            try:
                message = await asyncio.wait_for(self.outbox.get(), None if rough is None else REST)
            except asyncio.TimeoutError:
                rough = self._settle(rough)
                continue
            if isinstance(message, Look):
                try:
                    encoded = message.encoded
                    data = await self.run(self._encoded, message) if encoded is None else encoded
                except Exception as error:  # noqa: BLE001 (as above)
                    self.outbox.shown()  # the page will not say so of a picture that it never gets
                    self.outbox.put(Note(_sentence(error), lane=message.lane if message.lane in METHODS else None))
                    continue
                await send_bytes(data)
                if message.lane == "main":
                    rough = None if message.draft is None else message
            else:
                await send_text(json.dumps(message, allow_nan=False))

    def _settle(self, rough: Look | None) -> Look | None:
        """Render the whole image when the pointer rests. Returns the draft that still has to be replaced."""
        if rough is None or self._at_work or self.inbox:
            return rough
        header = {key: value for key, value in rough.header.items() if key != "time"}  # no delay of the pointer's
        self.outbox.put(replace(rough, draft=None, encoded=None, header=header))
        return None

    def _encoded(self, look: Look) -> bytes:
        picture = look.make() if look.draft is None else look.draft(self._pace.less)
        about = {"lane": look.lane, "final": look.final, "format": "png" if look.final else "jpeg"}
        header = {**about, "busy": self._waited > BUSY, **look.header}
        return picture_message(header, encode(picture, lossless=look.final))

    async def restore(self, data: bytes, copy: str) -> None:
        """Continue with the page's copy of its session. Raises InputError if it cannot be opened here."""
        try:
            editor = await self.run(partial(Editor.load, data, models=self.controller.editor.models))
        except Exception as error:  # as above
            raise InputError(_sentence(error)) from error
        self.inbox.put(Restored(editor, copy))

    async def export(self, kind: str, frame: int | None = None) -> bytes:
        """The bytes of a file of the session; the page gets the progress of films. Raises InputError on any failure."""
        data, made, total = b"", 0, 0
        try:
            parts, total = await self.run(export, self.controller.editor, kind, frame)
            while (part := await self.run(next, parts, None)) is not None:
                data, made = part, made + 1
                if total:
                    self.outbox.put(Work("film", made, total, beside=True))
        except Exception as error:  # as above: the page gets one sentence, the log the traceback
            raise InputError(_sentence(error)) from error
        finally:
            if total:
                self.outbox.put(Work("", beside=True))
        return data


def _sentence(error: Exception) -> str:
    """The message for the page. Errors that are not the user's are logged with their traceback."""
    if isinstance(error, InputError):
        return str(error)
    log.error("A job of the editor failed.", exc_info=error)
    return FAILED
