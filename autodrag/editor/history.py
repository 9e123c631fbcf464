"""What undo brings back: moments of a session, each its generator and photograph and what was made with them."""

import itertools
from dataclasses import dataclass, field

from autodrag.editor.scene import Scene
from autodrag.editor.state import State

MAX_MOMENTS = 50
_NUMBERS = itertools.count()
MAX_TUNED = 3  # fine-tuned generators; one of 512 px takes about 100 MB


@dataclass(frozen=True, eq=False)
class Moment:
    """A session at a time; never changed once made. number: tells it from all others."""

    scene: Scene
    state: State
    number: int = field(default_factory=_NUMBERS.__next__)


class History:
    """Moments for undo and redo. The oldest are forgotten: after MAX_MOMENTS, or with too many fine-tuned generators.

    version: counts the changes.
    """

    def __init__(self, moment: Moment) -> None:
        self._moments = [moment]
        self._index = 0
        self.version = 0

    @property
    def now(self) -> Moment:
        """The session as it is."""
        return self._moments[self._index]

    @property
    def moments(self) -> tuple[Moment, ...]:
        """All that are remembered, oldest first."""
        return tuple(self._moments)

    @property
    def index(self) -> int:
        """Place of the moment now among them."""
        return self._index

    @property
    def can_undo(self) -> bool:
        """Whether there is a moment before this one."""
        return self._index > 0

    @property
    def can_redo(self) -> bool:
        """Whether an undone moment can come back."""
        return self._index + 1 < len(self._moments)

    def push(self, moment: Moment, amend: bool = False) -> None:
        """Make `moment` the newest; what was undone is gone. amend: instead of the moment now, which is forgotten."""
        kept = self._moments[: self._index + (not amend)]
        self._moments = _bounded([*kept, moment])
        self._index = len(self._moments) - 1
        self.version += 1

    def undo(self) -> bool:
        """Go back one moment; False at the first."""
        return self._move(-1) if self.can_undo else False

    def redo(self) -> bool:
        """Go forward again; False at the newest."""
        return self._move(1) if self.can_redo else False

    def go(self, index: int) -> bool:
        """To the moment of this place, counted from the oldest that is remembered; False where it is the one now."""
        return self._move(min(max(index, 0), len(self._moments) - 1) - self._index)

    def _move(self, by: int) -> bool:
        self._index += by
        self.version += by != 0
        return by != 0


def _bounded(moments: list[Moment]) -> list[Moment]:
    """The newest of them, as many as may be remembered."""
    kept: list[Moment] = []
    tuned: set[int] = set()
    for moment in reversed(moments[-MAX_MOMENTS:]):
        if moment.scene.tuned:
            tuned.add(id(moment.scene))
        if len(tuned) > MAX_TUNED:
            break
        kept.insert(0, moment)
    return kept
