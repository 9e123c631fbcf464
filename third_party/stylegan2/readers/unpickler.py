"""Reads pickles without executing them.

Python's own unpickler calls whatever a file names. This one interprets the same instructions, but looks names
up in a table given by the caller and calls only functions of that table; other names become inert stubs. Sizes are
checked against the available bytes before anything is allocated, bytes are views of the file instead of copies, and the
number of instructions is bounded, so a small file cannot take much time or memory.
"""

import struct
from collections.abc import Callable
from typing import Any

from .machine import Budget, Known, Machine, MalformedError, Stub, key, refuse_persistent

_MAX_INTEGER_BYTES = 64  # states of random number generators are that long


def unpickle(
    data: memoryview,
    find: Callable[[str, str], Known],
    persistent: Callable[[Any], Any] = refuse_persistent,
    budget: Budget | None = None,
    start: int = 0,
) -> tuple[Any, int]:
    """The object pickled at offset `start` of `data`, and the offset behind it.

    find: (module, name) to its entry in the allow-list. persistent: an id to data outside the pickle. budget: shared by
    nested pickles. Raises MalformedError for bytes that are no pickle, UnreadableError for truncated ones.
    """
    machine = Machine(data, find, persistent, budget, start)
    try:
        while (code := machine.instruction()) != _STOP:
            _INSTRUCTIONS[code](machine)
        return machine.stack.pop(), machine.at
    # What an unknown instruction, a wrong operand or an empty stack come down to.
    except (IndexError, KeyError, TypeError, ValueError, AttributeError, OverflowError, struct.error) as error:
        raise MalformedError("bytes that are no instructions of a pickle") from error


def _dict(items: list[Any]) -> dict[Any, Any]:
    return {key(k): v for k, v in zip(items[::2], items[1::2], strict=True)}


def _set_items(machine: Machine, items: list[Any]) -> None:
    target = machine.stack[-1].items if isinstance(machine.stack[-1], Stub) else machine.stack[-1]
    if not isinstance(target, dict):
        raise MalformedError("items for something that is no dictionary")
    target.update(_dict(items))


def _append(machine: Machine, items: list[Any]) -> None:
    target = machine.stack[-1]
    if isinstance(target, set):
        target.update(key(item) for item in items)
    elif isinstance(target, list):
        target.extend(items)
    elif not isinstance(target, Stub):  # what a stub lists is of no use
        raise MalformedError("items for something that is no list")


def _build(machine: Machine) -> None:
    state, target = machine.stack.pop(), machine.stack[-1]
    if hasattr(type(target), "set_state"):
        target.set_state(state)
    elif isinstance(target, Stub):
        target.state = state
    elif not isinstance(target, dict | Known):
        raise MalformedError("a state for something that has none")


def _reduce(machine: Machine) -> None:
    args = machine.stack.pop()
    machine.call(machine.stack.pop(), args)


def _new_with_keywords(machine: Machine) -> None:
    keywords = machine.stack.pop()
    known = machine.stack[-2]
    if keywords and not isinstance(known, Stub) and not known.inert:
        raise MalformedError("a construction by keywords")
    _reduce(machine)


def _instance(machine: Machine) -> None:
    first, *args = machine.marked()
    machine.call(first, tuple(args))


def _named(machine: Machine) -> None:
    name, module = machine.stack.pop(), machine.stack.pop()
    if not isinstance(name, str) or not isinstance(module, str):
        raise MalformedError("a name that is no text")
    machine.stack.append(machine.find(module, name))


def _protocol(machine: Machine) -> None:
    if machine.take(1)[0] > 5:
        raise MalformedError("a pickle protocol above 5")


def _frame(machine: Machine) -> None:
    machine.take(8)  # its length matters only to readers of streams


def _pop_marked(machine: Machine) -> None:
    machine.marked()


def _mark(machine: Machine) -> None:
    machine.marks.append(machine.stack)
    machine.stack = []


def _pop(machine: Machine) -> None:
    if machine.stack:
        machine.stack.pop()
    else:
        machine.marked()


def _integer(data: memoryview) -> int:
    if len(data) > _MAX_INTEGER_BYTES:
        raise MalformedError("an integer of absurd length")
    return int.from_bytes(data, "little", signed=True)


def _decimal(text: str) -> int:
    if len(text) > 3 * _MAX_INTEGER_BYTES:
        raise MalformedError("an integer of absurd length")
    return bool(int(text)) if text in ("00", "01") else int(text.removesuffix("L"))


def _quoted(text: str) -> str:
    if len(text) < 2 or text[0] != text[-1] or text[0] not in "'\"":
        raise MalformedError("a string without quotes")
    return text[1:-1].encode("latin-1").decode("unicode_escape")


def _push(make: Callable[[Machine], Any]) -> Callable[[Machine], None]:
    def push(machine: Machine) -> None:
        made = make(machine)  # first, because it may replace the stack
        machine.stack.append(made)

    return push


def _top(count: int) -> Callable[[Machine], Any]:
    return lambda machine: tuple([machine.stack.pop() for _ in range(count)][::-1])


def _store(index: Callable[[Machine], int]) -> Callable[[Machine], None]:
    return lambda machine: machine.memo.__setitem__(index(machine), machine.stack[-1])


def _fetch(index: Callable[[Machine], int]) -> Callable[[Machine], None]:
    return lambda machine: machine.stack.append(machine.memo[index(machine)])


def _number(layout: str) -> Callable[[Machine], Any]:
    return lambda machine: machine.number(layout)


def _sized(layout: str) -> Callable[[Machine], memoryview]:
    return lambda machine: machine.take(machine.number(layout))


def _text(layout: str, encoding: str = "utf-8") -> Callable[[Machine], str]:
    errors = "surrogatepass" if encoding == "utf-8" else "strict"
    return lambda machine: bytes(machine.take(machine.number(layout))).decode(encoding, errors)


_STOP = ord(".")
_INSTRUCTIONS: dict[int, Callable[[Machine], None]] = {
    0x80: _protocol,
    0x95: _frame,
    # Constants and numbers
    ord("N"): _push(lambda m: None),
    0x88: _push(lambda m: True),
    0x89: _push(lambda m: False),
    ord("K"): _push(_number("<B")),
    ord("M"): _push(_number("<H")),
    ord("J"): _push(_number("<i")),
    ord("G"): _push(_number(">d")),
    0x8A: _push(lambda m: _integer(m.take(m.number("<B")))),
    0x8B: _push(lambda m: _integer(m.take(m.number("<I")))),
    ord("I"): _push(lambda m: _decimal(m.line())),
    ord("L"): _push(lambda m: _decimal(m.line())),
    ord("F"): _push(lambda m: float(m.line())),
    # Text and bytes; strings of Python 2 are text in Latin-1
    ord("X"): _push(_text("<I")),
    0x8C: _push(_text("<B")),
    0x8D: _push(_text("<Q")),
    ord("T"): _push(_text("<I", "latin-1")),
    ord("U"): _push(_text("<B", "latin-1")),
    ord("V"): _push(lambda m: m.line().encode("latin-1").decode("raw_unicode_escape")),
    ord("S"): _push(lambda m: _quoted(m.line())),
    ord("B"): _push(_sized("<I")),
    ord("C"): _push(_sized("<B")),
    0x8E: _push(_sized("<Q")),
    0x96: _push(_sized("<Q")),
    # Containers
    ord("]"): _push(lambda m: []),
    ord("}"): _push(lambda m: {}),
    ord(")"): _push(lambda m: ()),
    0x8F: _push(lambda m: set()),
    ord("l"): _push(lambda m: m.marked()),
    ord("t"): _push(lambda m: tuple(m.marked())),
    ord("d"): _push(lambda m: _dict(m.marked())),
    0x91: _push(lambda m: frozenset(key(item) for item in m.marked())),
    0x85: _push(_top(1)),
    0x86: _push(_top(2)),
    0x87: _push(_top(3)),
    ord("a"): lambda m: _append(m, [m.stack.pop()]),
    ord("e"): lambda m: _append(m, m.marked()),
    0x90: lambda m: _append(m, m.marked()),
    ord("s"): lambda m: _set_items(m, list(_top(2)(m))),
    ord("u"): lambda m: _set_items(m, m.marked()),
    # Stack and memo
    ord("("): _mark,
    ord("0"): _pop,
    ord("1"): _pop_marked,
    ord("2"): _push(lambda m: m.stack[-1]),
    ord("p"): _store(lambda m: int(m.line())),
    ord("q"): _store(_number("<B")),
    ord("r"): _store(_number("<I")),
    0x94: _store(lambda m: len(m.memo)),
    ord("g"): _fetch(lambda m: int(m.line())),
    ord("h"): _fetch(_number("<B")),
    ord("j"): _fetch(_number("<I")),
    # Names and objects
    ord("c"): _push(lambda m: m.find(m.line(), m.line())),
    0x93: _named,
    ord("R"): _reduce,
    0x81: _reduce,  # NEWOBJ: a class and a tuple of arguments, as for a function
    0x92: _new_with_keywords,
    ord("o"): _instance,
    ord("i"): lambda m: m.call(m.find(m.line(), m.line()), tuple(m.marked())),
    ord("b"): _build,
    ord("P"): _push(lambda m: m.persistent(m.line())),
    ord("Q"): _push(lambda m: m.persistent(m.stack.pop())),
}
