"""Files of a session."""

from collections.abc import Iterator

from autodrag.app import views
from autodrag.editor.export import film_length
from autodrag.editor.script import script
from autodrag.editor.session import Editor
from autodrag.errors import InputError
from autodrag.images import encode


def export(editor: Editor, kind: str, frame: int | None = None) -> tuple[Iterator[bytes], int]:
    """See `Editor.export`, with the number of rendered images. Further kinds: "mask" (PNG) and "py"."""
    if kind == "mask":
        if editor.mask is None:
            raise InputError("There is no mask to save: paint one first.")
        return iter([encode(views.mask_picture(editor.mask), lossless=True)]), 0
    if kind == "py":
        return iter([script(editor).encode()]), 0
    return editor.export(kind, frame), film_length(kind, editor.state.motion)
