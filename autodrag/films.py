"""Animations: GIF and MP4."""

import io
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from jaxtyping import UInt8
from PIL import Image

from autodrag.errors import InputError

KINDS = ("gif", "mp4")
SLOWEST = 0.1  # frames per second
FASTEST = {"gif": 50, "mp4": 240}  # GIF delays are in hundredths of a second, and browsers replace delays below two

Picture = UInt8[np.ndarray, "H W 3"]


def film_kind(path: Path | str) -> str:
    """ "gif" or "mp4", by the suffix. Raises InputError for other suffixes."""
    kind = Path(path).suffix.lower().lstrip(".")
    if kind not in KINDS:
        raise InputError(f"{path} is not an animation; give a name that ends in .gif or .mp4.")
    return kind


def check_rate(kind: str, fps: int | float) -> None:
    """Raises InputError for a frame rate that this kind does not support."""
    if SLOWEST <= fps <= FASTEST[kind]:
        return
    other = "; use .mp4 for up to 240" if kind == "gif" and fps <= FASTEST["mp4"] else ""
    raise InputError(
        f"fps={fps:g} is out of range: a .{kind} supports {SLOWEST} to {FASTEST[kind]} frames per second{other}."
    )


def write_film(kind: str, pictures: Sequence[Picture], fps: int | float) -> bytes:
    """Encode an animation of one or more images of the same size. Raises InputError for a rate out of range."""
    check_rate(kind, fps)
    return _gif(pictures, fps) if kind == "gif" else _mp4(pictures, fps)


def _gif(pictures: Sequence[Picture], fps: int | float) -> bytes:
    """A looping GIF with one palette for all frames, so that still parts do not flicker."""
    frames = [Image.fromarray(picture) for picture in pictures]
    palette = _palette([frames[0], frames[len(frames) // 2], frames[-1]])
    frames = [frame.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG) for frame in frames]
    # End times, not delays, are rounded to hundredths of a second, so that errors do not accumulate.
    ends = [round(100 * (index + 1) / fps) for index in range(len(frames))]
    durations = [10 * (end - begin) for begin, end in zip([0, *ends], ends, strict=False)]
    file = io.BytesIO()
    frames[0].save(
        file,
        format="GIF",
        save_all=True,
        append_images=frames[1:],
        duration=durations,
        loop=0,
        disposal=1,
        optimize=False,
    )
    return file.getvalue()


def _palette(frames: Sequence[Image.Image]) -> Image.Image:
    """256 colours for all frames."""
    width, height = frames[0].size
    sheet = Image.new("RGB", (width * len(frames), height))
    for index, frame in enumerate(frames):
        sheet.paste(frame, (index * width, 0))
    return sheet.quantize(256, method=Image.Quantize.MEDIANCUT)


def _mp4(pictures: Iterable[Picture], fps: int | float) -> bytes:
    """H.264 that all browsers play. It requires even sides, so an odd last row or column is repeated."""
    stream = iter(pictures)
    first = _even(next(stream))
    with tempfile.TemporaryDirectory(prefix="autodrag-") as folder:
        path = Path(folder) / "motion.mp4"
        height, width = first.shape[:2]
        writer = imageio_ffmpeg.write_frames(
            str(path),
            (width, height),
            fps=fps,
            codec="libx264",
            pix_fmt_out="yuv420p",
            macro_block_size=2,
            output_params=["-crf", "16", "-preset", "veryfast", "-movflags", "+faststart"],
            ffmpeg_log_level="error",
        )
        try:
            writer.send(None)
            try:
                writer.send(first)
                for picture in stream:
                    writer.send(np.ascontiguousarray(_even(picture)))
            finally:
                writer.close()
            return path.read_bytes()
        except (OSError, RuntimeError) as error:  # no ffmpeg, or a full disk
            reason = " ".join(str(error).split())
            raise InputError(f"The video cannot be encoded ({reason}); use .gif instead.") from None


def _even(picture: Picture) -> UInt8[np.ndarray, "h w 3"]:
    height, width = picture.shape[:2]
    return (
        np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge") if height % 2 or width % 2 else picture
    )
