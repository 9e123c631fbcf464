"""Orders to a controller other than a page's messages, and the jobs of orders."""

from collections.abc import Iterator
from dataclasses import dataclass

from autodrag.app import protocol
from autodrag.app.events import Event
from autodrag.editor.inversion import InvertConfig
from autodrag.editor.photo import Crop
from autodrag.editor.session import Editor


@dataclass(frozen=True)
class OwnImage:
    """An uploaded image to invert. crop: the part to use; None: the face, or the centre."""

    data: bytes
    config: InvertConfig
    crop: Crop | None = None


@dataclass(frozen=True)
class SessionFile:
    """An uploaded session, or a latent in any form that `latent_files` reads."""

    data: bytes


@dataclass(frozen=True)
class Restored:
    """The session that this page had before and kept a copy of. copy: the page's key of it."""

    editor: Editor
    copy: str


@dataclass(frozen=True)
class MaskFile:
    """An uploaded image whose white parts may change."""

    data: bytes


@dataclass(frozen=True)
class GeneratorFile:
    """An uploaded generator. name: of the file."""

    data: bytes
    name: str


@dataclass(frozen=True)
class Hello:
    """The page of this session has returned. fresh: it was loaded anew and knows no current pull."""

    fresh: bool


Order = protocol.AnyMessage | OwnImage | SessionFile | Restored | MaskFile | GeneratorFile | Hello


@dataclass(frozen=True)
class Job:
    """The result of an order: an iterator that computes one event at a time.

    long: another order may interrupt it. aside: it is computed at once and the current job continues. first: events to
    send immediately, on the job that this order ends.
    """

    events: Iterator[Event]
    long: bool = False
    aside: bool = False
    first: tuple[Event, ...] = ()
