"""A session that changes step by step, and back: every change goes through here."""

from autodrag.editor.history import History, Moment
from autodrag.editor.scene import Scene
from autodrag.editor.state import State


class Undoable:
    """What a session is now, with undo and redo. first: what it begins with."""

    def __init__(self, first: Moment) -> None:
        self._history = History(first)

    @property
    def state(self) -> State:
        """The session as it is now; never changed, only replaced."""
        return self._history.now.state

    @property
    def scene(self) -> Scene:
        """Generator and photograph."""
        return self._history.now.scene

    @property
    def history(self) -> History:
        """The steps that undo and redo go through, to read."""
        return self._history

    @property
    def version(self) -> int:
        """Counts the changes, including undo and redo."""
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
        """Back before the last change; False where there is none."""
        return self._moved(self._history.undo())

    def redo(self) -> bool:
        """Bring back what was undone; False where nothing was."""
        return self._moved(self._history.redo())

    def go(self, index: int) -> None:
        """Back or forth to another step of the history."""
        self._moved(self._history.go(index))

    def _push(self, state: State, amend: bool = False) -> None:
        """Change the state. amend: the change before this one is no step of its own for undo."""
        self._history.push(Moment(self.scene, state), amend)

    def _moved(self, moved: bool) -> bool:
        self._arrived()
        return moved

    def _arrived(self) -> None:
        """Adapt to the state that undo, redo or `go` has led to."""
