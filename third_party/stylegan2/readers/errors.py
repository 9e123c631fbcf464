"""Errors about checkpoints that cannot be read."""

import warnings
from collections.abc import Collection, Mapping
from typing import Any

EXPECTED = "a StyleGAN2 generator"
GET_AGAIN = "download or copy it again"
OTHER_FILE = "give an NVIDIA .pkl, a rosinality .pt or a .safetensors of this project"


class CheckpointError(ValueError):
    """A file that cannot be read or written: one sentence that says what it is, what was expected and what to do."""


class UnreadableError(Exception):
    """Why a file is refused, without its name; `read_checkpoint` puts the name in front and raises `CheckpointError`.

    what: a predicate about the file ("is empty", "holds only a discriminator"), kept as an attribute. todo: advice in
    the imperative. expected: what should have been there.
    """

    def __init__(self, what: str, todo: str = OTHER_FILE, expected: str = EXPECTED):
        self.what = printable(what, 300)
        super().__init__(f"{self.what}; {expected} was expected: {todo}")


class TruncatedError(UnreadableError):
    """A file that has fewer bytes than it declares."""

    def __init__(self) -> None:
        what = "is truncated or damaged: it ends inside its own data"
        super().__init__(what, GET_AGAIN, "a complete StyleGAN2 file")


def warn_of_unknown(options: Mapping[Any, Any], known: Collection[str]) -> None:
    """Warns of unknown options of a generator that are on.

    Tensors that such an option adds are refused elsewhere; this is for options without tensors.
    """
    for name, value in options.items():
        if name not in known and value is not None and value is not False:
            text = (
                f"The file's generator was built with {printable(str(name))}, an option unknown here, which is ignored."
            )
            warnings.warn(text, stacklevel=2)


def printable(text: str, limit: int = 80) -> str:
    """`text`, which may come from a hostile file, on one line and cut to `limit` characters."""
    line = "".join(c if c.isprintable() else "?" for c in text)
    return line if len(line) <= limit else line[: limit - 3] + "..."
