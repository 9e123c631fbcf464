"""Messages of the page to the server, and the binary messages of the server.

A page sends JSON, each message one of the classes below; anything else is refused with one sentence. Images are sent as
binary messages: the length of a JSON header (4 bytes, little-endian), the header, the encoded image.
"""

import json
import struct
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from autodrag.editor.state import MAX_PSI, PointList
from autodrag.errors import InputError

MAX_TEXT = 64 * 1024  # bytes of one message
MAX_POINTS = 64
MAX_STROKE = 1024  # points of one stroke of the brush
MAX_SEED = 2**31 - 1
REACH = 1e5  # pixels

Pixel = Annotated[float, Field(ge=-REACH, le=REACH, allow_inf_nan=False)]
Name = Annotated[str, Field(max_length=64)]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]
Count = Annotated[int, Field(ge=0, le=2**31)]
Steps = Annotated[int, Field(ge=1, le=1000)]
Pairs = Annotated[tuple[tuple[Pixel, Pixel], ...], Field(max_length=MAX_POINTS)]
Stroke = Annotated[tuple[tuple[Pixel, Pixel], ...], Field(min_length=1, max_length=MAX_STROKE)]


class Message(BaseModel):
    """Strict: no unknown keys, no strings for numbers."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Slid(Message):
    """From a slider. amend: it is still moving, so this replaces the last step for undo. settled: it was released."""

    amend: bool
    settled: bool


class Picture(Slid):
    """Choose an image. What is not given stays that of the current image, which may lie outside these ranges.

    style null: the seed's own rows 6.. . c: index of the class, or null.
    """

    type: Literal["picture"]
    seed: Seed = 0
    psi: Annotated[float, Field(ge=-MAX_PSI, le=MAX_PSI, allow_inf_nan=False)] = 1.0
    style: Seed | None = None
    c: Count | None = None


class Restyle(Slid):
    """Take rows 6.. of the current image from another seed."""

    type: Literal["style"]
    style: Seed | None


class Dataset(Message):
    """Choose a generator."""

    type: Literal["dataset"]
    name: Name


class Method(Message):
    """Choose a drag method. steps, lr (of Adam) and mask_weight (lambda) null: its defaults."""

    type: Literal["method"]
    name: Name
    steps: Steps | None
    lr: Annotated[float, Field(ge=1e-6, le=1, allow_inf_nan=False)] | None = None
    mask_weight: Annotated[float, Field(ge=0, le=1e4, allow_inf_nan=False)] | None = None


class Arrowed(Message):
    """Arrows and pins."""

    handles: Pairs
    targets: Pairs
    pins: Pairs

    @model_validator(mode="after")
    def _paired(self) -> "Arrowed":
        if len(self.handles) != len(self.targets):
            raise ValueError("handles and targets differ in number")
        return self


class Plan(Arrowed):
    """Set arrows and pins for a later drag. revision: returned with the new state."""

    type: Literal["plan"]
    revision: Count


class Drag(Arrowed):
    """Drag as the arrows say.

    again: start where the last drag started, else from frame `at` of the motion; null: the last frame.
    """

    again: bool
    at: Count | None = None

    @model_validator(mode="after")
    def _some(self) -> "Drag":
        if not self.handles:
            raise ValueError("there are no handles")
        return self


class Pull(Drag):
    """The pointer moved. gesture: number of this pull. time: of the page's clock, returned with the image."""

    type: Literal["pull"]
    gesture: Count
    time: Annotated[float, Field(allow_inf_nan=False)]


class Release(Drag):
    """The pointer was released: complete the drag and keep the result."""

    type: Literal["release"]
    gesture: Count
    time: Annotated[float, Field(allow_inf_nan=False)]


class Drop(Message):
    """The pull of this number was given up: nothing of it is kept."""

    type: Literal["drop"]
    gesture: Count


class Compare(Drag):
    """The same drag by several methods."""

    type: Literal["compare"]
    methods: Annotated[tuple[Name, ...], Field(min_length=1, max_length=8)]


class Take(Message):
    """Keep the result of this method of the comparison."""

    type: Literal["take"]
    method: Name


class Brush(Message):
    """One stroke of the mask's brush. paint: "change" or "keep"."""

    type: Literal["brush"]
    points: Stroke
    radius: Annotated[float, Field(gt=0, le=REACH, allow_inf_nan=False)]
    paint: Literal["change", "keep"]


class Grow(Message):
    """Set whether the editable region grows with a drag."""

    type: Literal["grow"]
    on: bool


class Detail(Message):
    """Set whether the photograph's own detail is kept."""

    type: Literal["detail"]
    on: bool


class Command(Message):
    """A message without parameters."""

    type: Literal["undo", "redo", "reset", "stop", "cancel", "clear_mask", "invert_mask"]


class Show(Message):
    """Request a frame of the motion for the scrubber. index -1: the photograph."""

    type: Literal["show"]
    index: Annotated[int, Field(ge=-1, le=2**31)]


class Go(Message):
    """Go to another state of the history."""

    type: Literal["go"]
    index: Count


class Glance(Message):
    """Request a thumbnail of a state of the history."""

    type: Literal["glance"]
    index: Count


class Shown(Message):
    """An image was drawn; the next one may be sent."""

    type: Literal["shown"]


AnyMessage = (
    Picture
    | Restyle
    | Dataset
    | Method
    | Plan
    | Pull
    | Release
    | Drop
    | Compare
    | Take
    | Brush
    | Grow
    | Detail
    | Command
    | Show
    | Go
    | Glance
    | Shown
)

_READER: TypeAdapter[AnyMessage] = TypeAdapter(Annotated[AnyMessage, Field(discriminator="type")])


def read_message(text: str) -> AnyMessage:
    """Parse a message. Raises InputError with one sentence, which does not repeat the text, for anything else."""
    if len(text) > MAX_TEXT:
        raise InputError(f"A message has more than {MAX_TEXT} characters; send a smaller one.")
    try:
        return _READER.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InputError(f"The message is not understood: {place or 'JSON'}: {first['msg']}.") from None
    except RecursionError:
        raise InputError("The message is not understood: it is nested too deeply.") from None


def points(pairs: PointList) -> list[list[float]]:
    """Points for JSON, rounded to hundredths of a pixel."""
    return [[round(x, 2), round(y, 2)] for x, y in pairs]


def picture_message(header: Mapping[str, Any], image: bytes) -> bytes:
    """A binary message, see the top of this file."""
    text = json.dumps(header, allow_nan=False).encode()
    return struct.pack("<I", len(text)) + text + image
