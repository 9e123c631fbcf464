"""The motion of an edit as image files, GIF and MP4."""

from collections.abc import Callable, Iterator, Sequence

from autodrag.editor.state import Frame
from autodrag.errors import InputError
from autodrag.films import Picture, write_film
from autodrag.images import encode, fitted

FRAMES_A_SECOND = 24
GIF_FRAMES_A_SECOND = 20
SECONDS = 2.0  # of the motion
HOLD = 0.6  # seconds that the first and the last picture stay
GIF_SIDE, MP4_SIDE = 512, 1280  # pixels, at most

STILLS = {"png": True, "jpg": False}  # kind: whether it is lossless
KINDS = (*STILLS, "gif", "mp4", "safetensors")


def film(
    kind: str,
    motion: Sequence[Frame],
    paster: Callable[[int | None], Callable[[Frame], Picture]],
    frame: int | None = None,
) -> Iterator[bytes]:
    """Yield b"" after each rendered image, then the bytes of a "png" or "jpg" of a frame, or of a "gif" or "mp4" of the
    motion.

    paster: see `Scene.paster`. frame: of a still, by index; None: the last. Raises InputError for another kind.
    """
    if kind in STILLS:
        shown = motion[-1] if frame is None else motion[: frame + 1][-1]
        yield encode(paster(None)(shown), lossless=STILLS[kind])
        return
    if kind not in FILMS:
        raise InputError(f"{kind!r} is no kind of file that an edit can be saved as: choose {', '.join(KINDS)}.")
    rate, side = FILMS[kind]
    paste, pictures = paster(side), []
    for picture in animate(motion, lambda frame: fitted(paste(frame), side), rate):
        pictures.append(picture)
        yield b""
    yield write_film(kind, pictures, rate)


def sampled(motion: Sequence[Frame], count: int) -> Iterator[Frame]:
    """`count` frames, evenly spaced over the motion, with the first and the last.

    Latents are interpolated linearly between two steps of a drag, but not where the mask changes.
    """
    last = len(motion) - 1
    for i in range(count):
        place = i * last / max(1, count - 1)
        index = min(int(place), max(0, last - 1))
        before, after = motion[index], motion[min(index + 1, last)]
        share = place - index
        if share == 0 or before is after:
            yield before
        elif before.under is after.under or after.under is before:
            yield Frame(before.ws + share * (after.ws - before.ws), (), after.under, after.mask)
        else:
            yield after if share >= 0.5 else before


def film_length(kind: str, motion: Sequence[Frame]) -> int:
    """Number of images in a film of the motion; 0 for stills and other files."""
    if kind not in FILMS:
        return 0
    rate = FILMS[kind][0]
    return 2 * round(HOLD * rate) - 1 + (round(SECONDS * rate) if len(motion) > 1 else 1)


def animate(motion: Sequence[Frame], render: Callable[[Frame], Picture], rate: int) -> Iterator[Picture]:
    """The images of a film at `rate` a second: the first one held, the motion, the last one held."""
    held = round(HOLD * rate)
    count = round(SECONDS * rate) if len(motion) > 1 else 1
    picture = None
    for index, frame in enumerate(sampled(motion, count)):
        picture = render(frame)
        for _ in range(held if index == 0 else 1):
            yield picture
    for _ in range(held):
        assert picture is not None  # a motion has at least one frame
        yield picture


#: (pictures a second, longest side) of each kind of film.
FILMS = {"gif": (GIF_FRAMES_A_SECOND, GIF_SIDE), "mp4": (FRAMES_A_SECOND, MP4_SIDE)}
