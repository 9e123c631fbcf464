"""Drag methods, all with the one call of `base.DragMethod`."""

import inspect
from collections.abc import Callable

from autodrag.errors import InputError
from autodrag.generator import FrozenGenerator
from autodrag.methods.autodrag import AutoDragMethod
from autodrag.methods.base import DragMethod, Points, Step
from autodrag.methods.draggan import DragGAN
from autodrag.methods.freedrag import FreeDrag
from autodrag.methods.latent_transformer import LatentTransformerMethod
from autodrag.methods.none import NoEdit

__all__ = ["METHODS", "DragMethod", "Points", "Step", "load_method"]

METHODS: dict[str, Callable[..., DragMethod]] = {
    "autodrag": AutoDragMethod,
    "draggan": DragGAN,
    "freedrag": FreeDrag,
    "latent_transformer": LatentTransformerMethod,
    "none": NoEdit,
}


def load_method(name: str, generator: FrozenGenerator, **options: object) -> DragMethod:
    """The drag method of that name on a generator; `options` are the fields of its class (`METHODS`).

    Raises InputError for an unknown name or option, or for a value that makes no sense.
    """
    if name not in METHODS:
        raise InputError(f"There is no method {name!r}; choose one of {', '.join(sorted(METHODS))}.")
    method = METHODS[name]
    known = [key for key in inspect.signature(method).parameters if key != "generator"]
    for key in options:
        if key not in known:
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise InputError(f"The method {name!r} has no option {key!r}; {has}.")
    return method(generator, **options)
