"""What a checkpoint that cannot be read raises."""

EXPECTED = "a StyleGAN2 generator"
GET_AGAIN = "download or copy it again"
OTHER_FILE = "give an NVIDIA .pkl, a rosinality .pt or a .safetensors of this project"


class CheckpointError(ValueError):
    """A file that cannot be read or written: one sentence that says what it is, what was expected and what to do."""


class UnreadableError(Exception):
    """Why a file is refused, without its name; `read_checkpoint` puts the name in front and raises `CheckpointError`.

    what: a predicate about the file ("is empty", "holds only a discriminator"). todo: advice in the imperative.
    expected: what should have been there.
    """

    def __init__(self, what: str, todo: str = OTHER_FILE, expected: str = EXPECTED):
        super().__init__(f"{printable(what, 300)}; {expected} was expected: {todo}")


class TruncatedError(UnreadableError):
    """A file that promises more bytes than it has."""

    def __init__(self) -> None:
        what = "is cut short or damaged: it ends inside its own data"
        super().__init__(what, GET_AGAIN, "a complete StyleGAN2 file")


def printable(text: str, limit: int = 80) -> str:
    """`text`, which may come from a hostile file, on one line and cut to `limit` characters."""
    line = "".join(c if c.isprintable() else "?" for c in text)
    return line if len(line) <= limit else line[: limit - 3] + "..."
