"""Undo history: the states of a session, each with its generator and photograph."""

import itertools
from dataclasses import dataclass, field

from autodrag.editor.scene import Scene
from autodrag.editor.state import State

MAX_MOMENTS = 50
_NUMBERS = itertools.count()
MAX_TUNED = 3  # fine-tuned generators; one of 512 px takes about 100 MB


@dataclass(frozen=True, eq=False)
class Moment:
    """An immutable state of a session. number: unique."""

    scene: Scene
    state: State
    number: int = field(default_factory=_NUMBERS.__next__)


class History:
    """States for undo and redo. The oldest are dropped beyond MAX_MOMENTS states or too many fine-tuned generators.

    version: number of changes so far.
    """

    def __init__(self, moment: Moment) -> None:
        self._moments = [moment]
        self._index = 0
        self.version = 0

    @property
    def now(self) -> Moment:
        """The current state."""
        return self._moments[self._index]

    @property
    def moments(self) -> tuple[Moment, ...]:
        """All stored states, oldest first."""
        return tuple(self._moments)

    @property
    def index(self) -> int:
        """Index of the current state in `moments`."""
        return self._index

    @property
    def can_undo(self) -> bool:
        """Whether there is an earlier state."""
        return self._index > 0

    @property
    def can_redo(self) -> bool:
        """Whether there is an undone state."""
        return self._index + 1 < len(self._moments)

    def push(self, moment: Moment, amend: bool = False) -> None:
        """Add a state and drop the undone ones. amend: replace the current state instead of adding one."""
        kept = self._moments[: self._index + (not amend)]
        self._moments = _bounded([*kept, moment])
        self._index = len(self._moments) - 1
        self.version += 1

    def undo(self) -> bool:
        """Go back one state; False at the first."""
        return self._move(-1) if self.can_undo else False

    def redo(self) -> bool:
        """Go forward one state; False at the last."""
        return self._move(1) if self.can_redo else False

    def go(self, index: int) -> bool:
        """Go to the state at this index of `moments`; False if it is the current one."""
        return self._move(min(max(index, 0), len(self._moments) - 1) - self._index)

    def _move(self, by: int) -> bool:
        self._index += by
        self.version += by != 0
        return by != 0


def _bounded(moments: list[Moment]) -> list[Moment]:
    """The newest states, as many as may be stored."""
    kept: list[Moment] = []
    tuned: set[int] = set()
    for moment in reversed(moments[-MAX_MOMENTS:]):
        if moment.scene.tuned:
            tuned.add(id(moment.scene.tuned))  # scenes that differ in detail alone share the weights
        if len(tuned) > MAX_TUNED:
            break
        kept.insert(0, moment)
    return kept
