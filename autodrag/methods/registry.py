"""The drag methods by name, with how to build them and what an editor offers for them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from autodrag.config import DatasetConfig
from autodrag.methods.autodrag import AutoDragMethod
from autodrag.methods.base import DragMethod
from autodrag.methods.draggan import DragGAN
from autodrag.methods.freedrag import FreeDrag
from autodrag.methods.landing import LandingMethod
from autodrag.methods.latent_transformer import LatentTransformerMethod
from autodrag.methods.none import NoEdit


@dataclass(frozen=True)
class Kind:
    """A drag method as users see it."""

    build: Callable[..., DragMethod]  # called with the generator and the options
    label: str  # name in the user interface
    live: bool  # fast enough to restart at every move of the pointer; otherwise runs step by step
    tracks: bool  # its points are positions of the handles, not moving targets
    option: str | None  # option that sets the number of steps
    steps: int | None  # default number of steps in an editor; None: the method's own
    most: int  # maximum number of steps in an editor
    constants: Callable[[DatasetConfig], dict[str, Any]] = lambda dataset: {}  # options that depend on the dataset
    editor: bool = True  # whether editors offer it


METHODS: dict[str, Kind] = {
    "landing": Kind(LandingMethod, "Landing", True, True, "n", None, 20),
    "autodrag": Kind(AutoDragMethod, "AutoDrag", True, True, "n", None, 20),
    "draggan": Kind(
        *(DragGAN, "DragGAN", False, True, "max_steps", 100, 500),
        lambda d: {"lr": d.draggan_lr, "stop_distance": d.draggan_stop},
    ),
    "freedrag": Kind(
        *(FreeDrag, "FreeDrag", False, False, "max_steps", 100, 500),
        lambda d: {"l": d.freedrag_l, "d": d.freedrag_d, "lr": d.freedrag_lr},
    ),
    "latent_transformer": Kind(LatentTransformerMethod, "UserControllableLT", True, True, None, None, 1),
    "none": Kind(NoEdit, "No edit", True, False, None, None, 1, editor=False),
}
