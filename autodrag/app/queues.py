"""What waits between a page and its session: orders, coalesced; of pictures and states the newest only."""

import asyncio
from collections import deque
from typing import Any

from autodrag.app.events import Changed, Event, Look, Note
from autodrag.app.orders import Order
from autodrag.app.protocol import Picture, Pull, Release, Restyle, Show, Slid
from autodrag.errors import InputError

MAX_ORDERS = 32
MAX_NOTES = 8
IN_FLIGHT = 2  # pictures sent and not yet drawn
TIRED = "The page asks for more than the server can do: some of it was dropped."


class Inbox:
    """Orders in the order they came; what a newer one makes pointless is replaced by it."""

    def __init__(self) -> None:
        self._orders: deque[Order] = deque()
        self._came = asyncio.Event()

    def __bool__(self) -> bool:
        return bool(self._orders)

    async def begun(self) -> Order:
        """The oldest order, once there is one; it stays, and a newer one may still take its place."""
        while not self._orders:
            self._came.clear()
            await self._came.wait()
        return self._orders[0]

    def put(self, order: Order) -> None:
        """Raises InputError where too many are waiting."""
        if self._orders and (merged := _merge(self._orders[-1], order)) is not None:
            self._orders[-1] = merged
        elif len(self._orders) >= MAX_ORDERS:
            raise InputError(TIRED)
        else:
            self._orders.append(order)
        self._came.set()

    async def get(self) -> Order:
        """The oldest order, once there is one."""
        await self.begun()
        return self._orders.popleft()


def _merge(old: Order, new: Order) -> Order | None:
    """One order for both where the newer one says it all."""
    if isinstance(old, Pull) and isinstance(new, Pull | Release) and old.gesture == new.gesture:
        return new
    if isinstance(old, Show) and isinstance(new, Show):
        return new
    if isinstance(old, Slid) and type(old) is type(new) and isinstance(new, Picture | Restyle) and new.amend:
        return new.model_copy(update={"amend": old.amend})
    return None


class Outbox:
    """What is to be sent: of session, work and each lane's picture the newest, of notes the last few."""

    def __init__(self) -> None:
        self._notes: deque[dict[str, Any]] = deque(maxlen=MAX_NOTES)
        self._latest: dict[str, dict[str, Any]] = {}
        self._looks: dict[str, Look] = {}
        self._in_flight = 0
        self._changed, self._taken = asyncio.Event(), asyncio.Event()

    def put(self, event: Event) -> None:
        """Take an event of a job."""
        if isinstance(event, Look):
            self._looks.pop(event.lane, None)
            self._looks[event.lane] = event
        elif isinstance(event, Note):
            self._notes.append({"type": "note", "text": event.text, "lane": event.lane})
        elif isinstance(event, Changed):
            self._tell({"type": "session", **event.session})
        else:
            self._tell({"type": "work", "what": event.what, "step": event.step, "steps": event.steps})
        self._changed.set()

    def _tell(self, message: dict[str, Any]) -> None:
        """Instead of an older one of its type, and after all that came before it."""
        self._latest.pop(message["type"], None)
        self._latest[message["type"]] = message

    def renew(self) -> None:
        """Another page is there: what was sent to the one before it does not count."""
        self._in_flight = 0
        self._changed.set()

    def shown(self) -> None:
        """The page has drawn a picture."""
        self._in_flight = max(0, self._in_flight - 1)
        self._changed.set()

    async def get(self) -> dict[str, Any] | Look:
        """The next thing to send; pictures wait until the page has drawn those before them."""
        while True:
            if self._notes:
                return self._notes.popleft()
            if self._latest:
                return self._latest.pop(next(iter(self._latest)))
            if self._looks and self._in_flight < IN_FLIGHT:
                self._in_flight += 1
                self._taken.set()
                return self._looks.pop(next(iter(self._looks)))
            self._changed.clear()
            await self._changed.wait()

    async def drained(self) -> None:
        """Once no picture waits to be sent."""
        while self._looks:
            self._taken.clear()
            await self._taken.wait()
