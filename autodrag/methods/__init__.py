"""Drag methods, all with the one call of `base.DragMethod`."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import field, is_dataclass, make_dataclass
from typing import Any, get_type_hints

import numpy as np

from autodrag.errors import InputError
from autodrag.generator import FrozenGenerator
from autodrag.methods.autodrag import AutoDragMethod
from autodrag.methods.base import DragMethod, Points, Step
from autodrag.methods.draggan import DragGAN
from autodrag.methods.freedrag import FreeDrag
from autodrag.methods.landing import LandingMethod
from autodrag.methods.latent_transformer import LatentTransformerMethod
from autodrag.methods.none import NoEdit
from autodrag.typed import build

__all__ = ["METHODS", "DragMethod", "Points", "Step", "check_options", "load_method"]

METHODS: dict[str, Callable[..., DragMethod]] = {
    "autodrag": AutoDragMethod,
    "draggan": DragGAN,
    "freedrag": FreeDrag,
    "landing": LandingMethod,
    "latent_transformer": LatentTransformerMethod,
    "none": NoEdit,
}


def load_method(name: str, generator: FrozenGenerator, **options: object) -> DragMethod:
    """The drag method of that name on a generator; `options` are the fields of its class (`METHODS`), None: its own.

    Raises InputError for an unknown name or option, or for a value of another type or that makes no sense.
    """
    checked = check_options(name, options, what="The option")
    return METHODS[name](generator, **checked)


def check_options(
    name: str, options: Mapping[str, object], prefix: str = "", what: str = "Config key"
) -> dict[str, object]:
    """The options that are not None, as the method's own signature types them.

    prefix, what: of the options in errors. Raises InputError for an unknown method or option, or another type.
    """
    if name not in METHODS:
        raise InputError(f"There is no method {name!r}; choose one of {', '.join(sorted(METHODS))}.")
    method: Any = METHODS[name]
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
