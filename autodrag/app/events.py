"""Events that a controller yields; the server sends them as messages."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import UInt8

from autodrag.app.protocol import points
from autodrag.editor.state import Frame


@dataclass(frozen=True)
class Note:
    """One sentence for the user. lane: the method of a comparison that it is about, or None."""

    text: str
    lane: str | None = None


@dataclass(frozen=True)
class Look:
    """A picture to show. lane: "main", "mask", "scrub", or a method of a comparison.

    final: it stays on the screen, so it is sent without loss. A newer one of its lane may take its place before it is
    sent. header: numbers that go with it. draft: makes it more roughly, without some of the generator's last blocks;
    None: it is always made whole. encoded: the message for the page, where it is made already.
    """

    lane: str
    make: Callable[[], UInt8[np.ndarray, "H W 3"]]
    final: bool
    header: dict[str, Any] = field(default_factory=dict)
    draft: Callable[[int], UInt8[np.ndarray, "H W 3"]] | None = None
    encoded: bytes | None = None

    @classmethod
    def of_frame(
        cls,
        render: Callable[[Frame], UInt8[np.ndarray, "H W 3"]],
        frame: Frame,
        final: bool,
        lane: str = "main",
        **header: Any,
    ) -> "Look":
        """The image of a frame, with its points."""
        return cls(lane, partial(render, frame), final, {"points": points(frame.points), **header})


@dataclass(frozen=True)
class Work:
    """Progress of a longer task. what: "drag", "compare", "start", "invert", "tune", "film", "open"; "" at its end.

    beside: of a file that is made while the session goes on, so its end is that of no other task.
    """

    what: str
    step: int = 0
    steps: int = 0
    beside: bool = False


@dataclass(frozen=True)
class Changed:
    """The new state of the session, without images."""

    session: dict[str, Any]


Event = Note | Look | Work | Changed
