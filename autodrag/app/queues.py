"""Queues between a page and its session: orders are merged, and only the newest images and states are kept."""

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
TIRED = "The server is still busy with what was asked before: wait a moment, then try again."


class Inbox:
    """Orders, oldest first. A newer order replaces those that it makes pointless."""

    def __init__(self) -> None:
        self._orders: deque[Order] = deque()
        self._came, self._went = asyncio.Event(), asyncio.Event()

    def __bool__(self) -> bool:
        return bool(self._orders)

    async def begun(self) -> Order:
        """Wait for the oldest order. It stays in the queue, where a newer one may replace it."""
        while not self._orders:
            self._came.clear()
            await self._came.wait()
        return self._orders[0]

    def put(self, order: Order) -> None:
        """Add an order. Raises InputError if too many are waiting."""
        merged = self._merged(order)
        if merged is not None:
            self._orders[-1] = merged
        elif len(self._orders) >= MAX_ORDERS:
            raise InputError(TIRED)
        else:
            self._orders.append(order)
        self._came.set()

    def _merged(self, order: Order) -> Order | None:
        """One order in place of the newest and this one, if that is possible."""
        return _merge(self._orders[-1], order) if self._orders else None

    async def room(self, order: Order) -> None:
        """Wait until an order can be added. Messages of the page after it stay unread meanwhile."""
        while len(self._orders) >= MAX_ORDERS and self._merged(order) is None:
            self._went.clear()
            await self._went.wait()

    async def get(self) -> Order:
        """Wait for the oldest order and remove it."""
        await self.begun()
        self._went.set()
        return self._orders.popleft()


def _merge(old: Order, new: Order) -> Order | None:
    """One order in place of two, if the newer one contains the older one."""
    if isinstance(old, Pull) and isinstance(new, Pull | Release) and old.gesture == new.gesture:
        return new
    if isinstance(old, Show) and isinstance(new, Show):
        return new
    if isinstance(old, Slid) and type(old) is type(new) and isinstance(new, Picture | Restyle) and new.amend:
        if not old.model_fields_set <= new.model_fields_set:
            return None
        return new.model_copy(update={"amend": old.amend})
    return None


class Outbox:
    """Messages to send: the newest state, progress and image of each lane, and the last few notes."""

    def __init__(self) -> None:
        self._notes: deque[dict[str, Any]] = deque(maxlen=MAX_NOTES)
        self._latest: dict[str, dict[str, Any]] = {}
        self._looks: dict[str, Look] = {}
        self._in_flight = 0
        self._changed, self._taken = asyncio.Event(), asyncio.Event()

    def put(self, event: Event) -> None:
        """Add an event of a job."""
        if isinstance(event, Look):
            self._looks.pop(event.lane, None)
            self._looks[event.lane] = event
        elif isinstance(event, Note):
            self._notes.append({"type": "note", "text": event.text, "lane": event.lane})
        elif isinstance(event, Changed):
            self._tell({"type": "session", **event.session})
        else:
            kind = "file" if event.beside else "work"
            self._tell({"type": kind, "what": event.what, "step": event.step, "steps": event.steps})
        self._changed.set()

    def _tell(self, message: dict[str, Any]) -> None:
        """Add a message in place of an older one of its type, after all earlier ones."""
        self._latest.pop(message["type"], None)
        self._latest[message["type"]] = message

    def renew(self) -> None:
        """Start over for a new page."""
        self._in_flight = 0
        self._changed.set()

    def shown(self) -> None:
        """The page has drawn an image."""
        self._in_flight = max(0, self._in_flight - 1)
        self._changed.set()

    async def get(self) -> dict[str, Any] | Look:
        """Wait for the next message. Images wait until the page has drawn the earlier ones."""
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
        """Wait until no image is waiting to be sent."""
        while self._looks:
            self._taken.clear()
            await self._taken.wait()
