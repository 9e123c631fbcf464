"""The state of a pickle machine that only builds data; its instructions are in `unpickler.py`."""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .errors import TruncatedError, UnreadableError

MAX_INSTRUCTIONS = 250_000  # a 1024 px snapshot with its discriminator needs about a quarter of it
_MAX_LINE = 1 << 20
_PLAIN = (str, int, float, bool, type(None))


@dataclass(frozen=True, eq=False)
class Known:
    """A name in a file, and our function that replaces it. inert: it only makes stubs."""

    name: str
    build: Callable[..., Any]
    inert: bool = False


@dataclass(eq=False)
class Stub:
    """An object of a class that is not rebuilt, with its data in the file.

    items: entries, where it is a kind of dictionary.
    """

    name: str
    args: tuple[Any, ...] = ()
    state: Any = None
    items: dict[Any, Any] = field(default_factory=dict)


class MalformedError(Exception):
    """The bytes are not a pickle, or not one of a checkpoint."""


@dataclass
class Budget:
    """Remaining instructions for a file, including the pickles nested in it."""

    left: int = MAX_INSTRUCTIONS


def key(value: Any) -> Any:
    """A dictionary key or set member. Nested ones are refused because hashing them would recurse without bound."""
    if not _is_flat(value) and not (isinstance(value, tuple) and all(map(_is_flat, value))):
        raise MalformedError(f"a key of type {type(value).__name__}")
    return value


def _is_flat(value: Any) -> bool:
    """Whether it is a plain value, or one of our stand-ins, which are hashed by their identity."""
    return isinstance(value, (*_PLAIN, Known, Stub)) or getattr(type(value), "is_stand_in", False)


def refuse_persistent(_: object) -> Any:
    """For pickles that may not refer to data outside themselves."""
    raise MalformedError("a reference to data outside the pickle")


class Machine:
    """Bytes, stack, marks and memo. `find` resolves names, `persistent` the ids of data outside the pickle."""

    def __init__(
        self,
        data: memoryview,
        find: Callable[[str, str], Known],
        persistent: Callable[[Any], Any] = refuse_persistent,
        budget: Budget | None = None,
        start: int = 0,
    ):
        self.data, self.find, self.persistent, self.at = data, find, persistent, start
        self.budget = budget or Budget()
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def take(self, count: int) -> memoryview:
        """The next `count` bytes, without copying them."""
        end = self.at + count
        if end > len(self.data):
            raise TruncatedError
        view, self.at = self.data[self.at : end], end
        return view

    def number(self, layout: str) -> Any:
        """The next number, laid out as `struct` writes it."""
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def line(self) -> str:
        """The text up to the next newline."""
        size, end = 128, -1
        while end < 0:
            window = bytes(self.data[self.at : self.at + size])
            end = window.find(b"\n")
            if end < 0 and len(window) < size:
                raise TruncatedError
            if size > _MAX_LINE:
                raise MalformedError("a line without an end")
            size *= 4
        self.at += end + 1
        return window[:end].decode("utf-8")

    def instruction(self) -> int:
        """The next instruction, counted against the budget."""
        if self.at >= len(self.data):
            raise TruncatedError
        self.budget.left -= 1
        if self.budget.left < 0:
            raise UnreadableError(f"is a pickle of over {MAX_INSTRUCTIONS:,} instructions, more than a generator needs")
        self.at += 1
        return self.data[self.at - 1]

    def marked(self) -> list[Any]:
        """What was pushed since the last mark."""
        items, self.stack = self.stack, self.marks.pop()
        return items

    def call(self, function: Any, args: Any) -> None:
        """Pushes the result of calling a replaced name with `args`; calling a stub makes another stub."""
        if not isinstance(function, Known | Stub) or not isinstance(args, tuple):
            raise MalformedError("a call of something that is no function")
        made = Stub(function.name, args) if isinstance(function, Stub) else function.build(*args)
        self.stack.append(made)
