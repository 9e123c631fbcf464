"""Strict conversion of nested mappings to nested frozen dataclasses, with one-sentence errors."""

import difflib
import math
import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import dacite
from dacite.exceptions import DaciteFieldError, MissingValueError, WrongTypeError

from autodrag.errors import InputError

T = TypeVar("T")


def build(cls: type[T], data: Mapping[Any, Any], prefix: str = "", what: str = "Config key") -> T:
    """Convert `data` to the dataclass `cls`. Sequences become tuples, and integers become floats for float fields.

    In a union of dataclasses, the fields that are Literals in all of them determine which one is built. prefix, what:
    name keys in error messages. Raises InputError for an unknown key (with similar ones), a missing key, or a wrong
    type.
    """
    data = _chosen(cls, data, prefix)
    unknown = list(_unknown(cls, data, prefix))
    if unknown:
        key, known = unknown[0]
        raise InputError(f"Unknown {what[0].lower()}{what[1:]} {key!r}{near(key, known)}.")
    hooks: dict[Any, Any] = {float: _float, int: _int}
    try:
        return dacite.from_dict(cls, _tuples(data), dacite.Config(strict=True, type_hooks=hooks))
    except MissingValueError as error:
        raise InputError(f"{what} {prefix + str(error.field_path)!r} is missing: give it a value.") from None
    except DaciteFieldError as error:
        path, kind = str(error.field_path), getattr(error, "field_type", None)
        value: Any = data
        for key in path.split("."):  # the original value: the error holds a partly converted one
            value = value[key]
        raise InputError(f"{what} {prefix + path!r} is {value!r}, expected {describe(kind)}.") from None


def check_bounds(section: str, config: object, **bounds: tuple[int | float, int | float]) -> None:
    """Raises InputError for config values outside their (lowest, highest); None is skipped.

    section: of the config; "": the values are at its top.
    """
    for name, (low, high) in bounds.items():
        value = getattr(config, name)
        if value is not None and not low <= value <= high:
            expected = f"at least {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
            key = f"{section}.{name}" if section else name
            raise InputError(f"Config key '{key}' is {value}, expected a number {expected}.")


def check_multiple(section: str, config: object, name: str, of: int) -> None:
    """Raises InputError if a config value is not a positive multiple of `of`."""
    value = getattr(config, name)
    if value < 1 or value % of:
        raise InputError(f"Config key '{section}.{name}' is {value}, expected a multiple of {of}.")


def near(key: str, known: Iterable[str]) -> str:
    """ " (near: ...)" with up to three of the dotted keys in `known` that are similar to `key`, or ""."""

    def similarity(other: str) -> tuple[float, float]:
        pairs = ((key.rpartition(".")[2], other.rpartition(".")[2]), (key, other))
        last, whole = (difflib.SequenceMatcher(None, a, b).ratio() for a, b in pairs)
        return last, whole

    ranked = sorted(((*similarity(other), other) for other in known), reverse=True)[:3]
    names = [other for last, _, other in ranked if last >= 0.6]
    return f" (near: {', '.join(names)})" if names else ""


def leaf_keys(data: Any, prefix: str = "") -> Iterator[str]:
    """Dotted paths of all leaves of nested mappings."""
    for key, value in data.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from leaf_keys(value, f"{path}.")
        else:
            yield path


def describe(kind: Any) -> str:
    """A type in words: "one of 'away', 'toward'", "a number or null", "a list of 2 integers"."""
    simple = {
        int: "an integer",
        float: "a number",
        bool: "true or false",
        str: "text",
        Path: "a path",
        type(None): "null",
        Any: "anything",
    }
    if kind in simple:
        return simple[kind]
    origin, args = get_origin(kind), get_args(kind)
    if origin is Literal:
        return "one of " + ", ".join(map(repr, args))
    if origin in (Union, types.UnionType):
        return " or ".join(map(describe, args))
    if origin is tuple and args[-1] is Ellipsis:
        return f"a list, each entry {describe(args[0])}"
    if origin is tuple:
        return f"a list of {len(args)}: {', '.join(map(describe, args))}"
    return "a mapping" if origin is dict or is_dataclass(kind) else str(kind)


def _unknown(cls: type, data: Mapping[Any, Any], prefix: str) -> Iterator[tuple[str, list[str]]]:
    """(dotted key, known keys at that level) of all keys in `data` that are not fields, at all levels."""
    hints = get_type_hints(cls)
    known = [field.name for field in fields(cls)]
    for key, value in data.items():
        if key not in known:
            yield f"{prefix}{key}", [f"{prefix}{name}" for name in known]
        elif isinstance(value, Mapping) and (nested := _dataclass_in(hints[key])):
            yield from _unknown(nested, value, f"{prefix}{key}.")


def _chosen(cls: type, data: Mapping[Any, Any], prefix: str) -> dict[Any, Any]:
    """`data`, with the mappings for unions of dataclasses already built."""
    hints = get_type_hints(cls)
    built = dict(data)
    for key, value in data.items():
        options = [o for o in get_args(hints.get(key)) if isinstance(o, type) and is_dataclass(o)]
        if len(options) > 1 and isinstance(value, Mapping):
            kinds = [_literals(option) for option in options]
            telling = set.intersection(*map(set, kinds))
            fitting = [
                option
                for option, kind in zip(options, kinds, strict=True)
                if all(value.get(name) in kind[name] for name in telling)
            ]
            if len(fitting) == 1:
                built[key] = build(fitting[0], value, f"{prefix}{key}.")
    return built


def _literals(cls: type) -> dict[str, tuple[Any, ...]]:
    """Fields that are Literals, with their values."""
    return {key: get_args(hint) for key, hint in get_type_hints(cls).items() if get_origin(hint) is Literal}


def _dataclass_in(hint: Any) -> type | None:
    """The only dataclass in `hint` or its union; None if there are none or several, which dacite resolves."""
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    found = [option for option in options if isinstance(option, type) and is_dataclass(option)]
    return found[0] if len(found) == 1 else None


def _tuples(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _float(value: Any) -> Any:
    try:
        return float(value) if isinstance(_int(value, float), int) else value
    except OverflowError:  # an integer too large for a float
        raise WrongTypeError(float, value) from None


def _int(value: Any, kind: type = int) -> Any:
    if isinstance(value, bool):  # bool is a subclass of int, but not an integer in a config
        raise WrongTypeError(kind, value)
    return value
