"""The motion of an edit as files to keep: GIF and MP4."""

import io
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from autodrag.app.pictures import encode
from autodrag.app.state import Frame
from autodrag.errors import InputError

FRAMES_A_SECOND = 24
GIF_FRAMES_A_SECOND = 20  # GIF counts hundredths of a second, and browsers slow down below 2
SECONDS = 2.0  # of the motion
HOLD = 0.6  # seconds that the first and the last picture stay
GIF_SIDE, MP4_SIDE = 512, 1280  # pixels, at most

KINDS = ("png", "gif", "mp4", "safetensors")

Picture = UInt8[np.ndarray, "H W 3"]


def write_whole(path: Path, data: bytes) -> None:
    """Write a file under a temporary name, then give it its name. Raises InputError where that cannot be done."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise InputError(f"{path} cannot be written ({error.strerror}); choose another folder.") from None


def read_whole(path: Path) -> bytes:
    """A file's bytes. Raises InputError where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); give a file that the editor saved.") from None


def film(kind: str, motion: Sequence[Frame], render: Callable[[Frame], Picture]) -> Iterator[bytes]:
    """The bytes of a "png" of the last frame, or of a "gif" or "mp4" of the motion.

    They come last, after nothing (b"") for every picture made. Raises InputError for another kind.
    """
    if kind == "png":
        yield encode(render(motion[-1]), lossless=True)
        return
    if kind not in ENCODERS:
        raise InputError(f"{kind!r} is no kind of file that an edit can be saved as: choose {', '.join(KINDS)}.")
    rate, side, encoder = ENCODERS[kind]
    pictures = []
    for picture in animate(motion, lambda frame: fitted(render(frame), side), rate):
        pictures.append(picture)
        yield b""
    yield encoder(pictures)


def sampled(motion: Sequence[Frame], count: int) -> Iterator[Frame]:
    """`count` frames, evenly spaced over the motion, the first and the last among them.

    Between two steps of a drag the latents are interpolated linearly; across the change to another mask they are not.
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
    """How many pictures are made for a film of the motion; 0 for what is none."""
    if kind not in ENCODERS:
        return 0
    rate = ENCODERS[kind][0]
    return 2 * round(HOLD * rate) - 1 + (round(SECONDS * rate) if len(motion) > 1 else 1)


def animate(motion: Sequence[Frame], render: Callable[[Frame], Picture], rate: int) -> Iterator[Picture]:
    """The pictures of a film at `rate` a second: the first picture held, the motion, the last picture held."""
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


def gif(pictures: Iterable[Picture]) -> bytes:
    """An endless GIF with one palette for all of it."""
    frames = [Image.fromarray(picture) for picture in pictures]
    palette = _palette([frames[0], frames[len(frames) // 2], frames[-1]])
    frames = [frame.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for frame in frames]
    file = io.BytesIO()
    frames[0].save(
        file,
        format="GIF",
        save_all=True,
        append_images=frames[1:],
        duration=1000 // GIF_FRAMES_A_SECOND,
        loop=0,
        disposal=1,
        optimize=False,
    )
    return file.getvalue()


def fitted(picture: Picture, side: int) -> UInt8[np.ndarray, "h w 3"]:
    """At most `side` pixels high and wide."""
    height, width = picture.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return picture
    return cv2.resize(picture, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)


def _palette(frames: Sequence[Image.Image]) -> Image.Image:
    """256 colours that suit all the frames; one palette keeps still parts still."""
    width, height = frames[0].size
    sheet = Image.new("RGB", (width * len(frames), height))
    for index, frame in enumerate(frames):
        sheet.paste(frame, (index * width, 0))
    return sheet.quantize(256, method=Image.Quantize.MEDIANCUT)


def mp4(pictures: Iterable[Picture]) -> bytes:
    """H.264 that every browser and player shows; an odd row or column at the edge is repeated, as the format wants."""
    stream = iter(pictures)
    first = _even(next(stream))
    with tempfile.TemporaryDirectory(prefix="autodrag-") as folder:
        path = Path(folder) / "motion.mp4"
        height, width = first.shape[:2]
        writer = imageio_ffmpeg.write_frames(
            str(path),
            (width, height),
            fps=FRAMES_A_SECOND,
            codec="libx264",
            pix_fmt_out="yuv420p",
            macro_block_size=2,
            output_params=["-crf", "16", "-preset", "veryfast", "-movflags", "+faststart"],
            ffmpeg_log_level="error",
        )
        writer.send(None)
        try:
            writer.send(first)
            for picture in stream:
                writer.send(np.ascontiguousarray(_even(picture)))
        finally:
            writer.close()
        return path.read_bytes()


def _even(picture: Picture) -> UInt8[np.ndarray, "h w 3"]:
    height, width = picture.shape[:2]
    return (
        np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge") if height % 2 or width % 2 else picture
    )


#: (pictures a second, longest side, encoder) of each kind of film.
ENCODERS: dict[str, tuple[int, int, Callable[[Iterable[Picture]], bytes]]] = {
    "gif": (GIF_FRAMES_A_SECOND, GIF_SIDE, gif),
    "mp4": (FRAMES_A_SECOND, MP4_SIDE, mp4),
}
