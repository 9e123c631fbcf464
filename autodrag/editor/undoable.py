"""A session with undo and redo: every change goes through here."""

from autodrag.editor.history import History, Moment
from autodrag.editor.scene import Scene
from autodrag.editor.state import State


class Undoable:
    """The current state of a session, with undo and redo. first: the initial state."""

    def __init__(self, first: Moment) -> None:
        self._history = History(first)

    @property
    def state(self) -> State:
        """The current state, which is replaced and never modified."""
        return self._history.now.state

    @property
    def scene(self) -> Scene:
        """Generator and photograph."""
        return self._history.now.scene

    @property
    def history(self) -> History:
        """The history, read-only."""
        return self._history

    @property
    def version(self) -> int:
        """Number of changes, including undo and redo."""
        return self._history.version

    @property
    def can_undo(self) -> bool:
        """Whether `undo` would change anything."""
        return self._history.can_undo

    @property
    def can_redo(self) -> bool:
        """Whether `redo` would change anything."""
        return self._history.can_redo

    def undo(self) -> bool:
        """Undo the last change; False if there is none."""
        return self._moved(self._history.undo())

    def redo(self) -> bool:
        """Redo the last undone change; False if there is none."""
        return self._moved(self._history.redo())

    def go(self, index: int) -> None:
        """Go to another state of the history."""
        self._moved(self._history.go(index))

    def _push(self, state: State, amend: bool = False) -> None:
        """Change the state. amend: replace the last change in the history."""
        self._history.push(Moment(self.scene, state), amend)

    def _moved(self, moved: bool) -> bool:
        self._arrived()
        return moved

    def _arrived(self) -> None:
        """Called after undo, redo and `go`."""
