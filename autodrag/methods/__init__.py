"""Drag methods, all with the interface `base.DragMethod`."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field, is_dataclass, make_dataclass
from typing import Any, get_type_hints

import numpy as np

from autodrag.errors import InputError
from autodrag.generator import FrozenGenerator
from autodrag.methods.base import DragMethod, Points, Step
from autodrag.methods.registry import METHODS, Kind
from autodrag.typed import build

__all__ = ["METHODS", "DragMethod", "Kind", "MethodConfig", "Points", "Step", "check_options", "load_method"]


@dataclass(frozen=True)
class MethodConfig:
    """`configs/method/`."""

    name: str  # one of `METHODS`, or "oracle" in evaluations
    label: str  # name in tables and folders
    options: dict[str, bool | int | float | str | None]  # of `load_method`; None: the method's default

    def __post_init__(self) -> None:
        if self.name in METHODS:
            check_options(self.name, self.options, "method.options.")


def load_method(name: str, generator: FrozenGenerator, **options: object) -> DragMethod:
    """Build a drag method by name. options: arguments of its class; None: the default.

    Raises InputError for an unknown method or option, or an invalid value.
    """
    checked = check_options(name, options, what="The option")
    return METHODS[name].build(generator, **checked)


def check_options(
    name: str, options: Mapping[str, object], prefix: str = "", what: str = "Config key"
) -> dict[str, object]:
    """The options that are not None, converted to the types in the method's signature.

    prefix, what: name options in error messages. Raises InputError for an unknown method or option, or a wrong type.
    """
    if name not in METHODS:
        raise InputError(f"There is no method {name!r}; choose one of {', '.join(sorted(METHODS))}.")
    method: Any = METHODS[name].build
    known = [key for key in inspect.signature(method).parameters if key != "generator"]
    for key in options:
        if key not in known:
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise InputError(f"The method {name!r} has no option {key!r}; {has}.")
    given = {key: _plain(value) for key, value in options.items() if value is not None}
    hints = get_type_hints(method if is_dataclass(method) else method.__init__)
    shape = make_dataclass(name, [(key, hints[key], field(default=None)) for key in known])
    built: Any = build(shape, given, prefix, what)
    return {key: getattr(built, key) for key in given}


def _plain(value: object) -> object:
    return value.item() if isinstance(value, np.generic) else value
