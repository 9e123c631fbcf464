"""What a controller is asked for, beside what a page says, and what that sets off."""

from collections.abc import Iterator
from dataclasses import dataclass

from autodrag.app import protocol
from autodrag.app.events import Event
from autodrag.editor.inversion import InvertConfig
from autodrag.editor.photo import Crop


@dataclass(frozen=True)
class OwnImage:
    """A picture of the user's own was uploaded. crop: the part that is meant; None: the face, or the middle."""

    data: bytes
    config: InvertConfig
    crop: Crop | None = None


@dataclass(frozen=True)
class SessionFile:
    """A saved session was uploaded, or the latent of a picture in any form that `latent_files` reads.

    restored: it is the session that the page had before; there is nothing to undo to.
    """

    data: bytes
    restored: bool = False


@dataclass(frozen=True)
class MaskFile:
    """A picture was uploaded whose white parts may change."""

    data: bytes


@dataclass(frozen=True)
class GeneratorFile:
    """A generator's file was uploaded. name: the file's."""

    data: bytes
    name: str


@dataclass(frozen=True)
class Hello:
    """The page of this session is there again. fresh: it was loaded anew and knows of no pull under way."""

    fresh: bool


Order = protocol.AnyMessage | OwnImage | SessionFile | MaskFile | GeneratorFile | Hello


@dataclass(frozen=True)
class Job:
    """What an order sets off: a moment's work for every event.

    long: another order may end it before it is through. aside: it is done at once, and what is under way continues.
    first: what is told at once, of the job that this order ends.
    """

    events: Iterator[Event]
    long: bool = False
    aside: bool = False
    first: tuple[Event, ...] = ()
