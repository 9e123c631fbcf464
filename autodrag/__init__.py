"""Drag editing on StyleGAN2 by regression: `Editor`, `load_generator`, `load_method`, and `InputError`.

Public names are imported lazily, so that `--help` does not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from autodrag.errors import InputError

if TYPE_CHECKING:
    from autodrag.editor.session import Editor
    from autodrag.generator import FrozenGenerator
    from autodrag.loading import load_generator
    from autodrag.methods import load_method

__version__ = "0.1.0"
__all__ = ["Editor", "FrozenGenerator", "InputError", "__version__", "load_generator", "load_method"]

_HOMES = {
    "Editor": "autodrag.editor.session",
    "FrozenGenerator": "autodrag.generator",
    "load_generator": "autodrag.loading",
    "load_method": "autodrag.methods",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'autodrag' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
