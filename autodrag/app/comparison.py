"""The same drag by several methods, one after the other, so that their times can be compared."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from autodrag.app import protocol
from autodrag.editor.drag import Drag
from autodrag.editor.session import Editor
from autodrag.errors import InputError


@dataclass
class Comparison:
    """edits: the drag of each method so far. running: whether methods remain."""

    edits: dict[str, Drag] = field(default_factory=dict)
    running: bool = False

    def begin(self, editor: Editor, order: protocol.Compare) -> dict[str, str]:
        """Prepare the drag for every method. Returns the reasons of those that cannot do it, by name."""
        made = {name: _edit(editor, order, name) for name in dict.fromkeys(order.methods)}
        self.edits = {name: edit for name, edit in made.items() if isinstance(edit, Drag)}
        self.running = True
        return {name: why for name, why in made.items() if isinstance(why, str)}

    def run(self, editor: Editor, order: protocol.Compare) -> Iterator[tuple[str, int]]:
        """Run the methods in turn; yields (method, step) after every step and (method, 0) at its end.

        Before it is timed, a method does a step, or a live method a drag, so that loading and preparation do not count.
        """
        for name, edit in self.edits.items():
            trial = _edit(editor, order, name)
            assert isinstance(trial, Drag)  # as before
            next(trial.toward(order.targets), None)
            for progress in edit.toward(order.targets):
                yield name, progress.step
            yield name, 0
        self.running = False


def _edit(editor: Editor, order: protocol.Compare, name: str) -> Drag | str:
    """The drag with this method, or why it cannot be."""
    try:
        return editor.begin(order.handles, order.pins, again=order.again, at=order.at, method=name)
    except InputError as error:
        return str(error)
