"""Films play in browsers, last as long as they should, and refuse rates that they cannot show."""

import io
from pathlib import Path

import cv2
import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from autodrag.errors import InputError
from autodrag.films import film_kind, write_film


def pictures(count: int, height: int = 32, width: int = 24) -> list[np.ndarray]:
    """Each of another grey."""
    return [np.full((height, width, 3), 250 * index // max(1, count - 1), np.uint8) for index in range(count)]


@pytest.mark.parametrize("fps", [0.1, 3, 7.5, 12, 24, 29.97, 50])
def test_a_gif_lasts_as_long_as_it_should(fps: float) -> None:
    film = Image.open(io.BytesIO(write_film("gif", pictures(20), fps)))
    total = 0
    for index in range(film.n_frames):
        film.seek(index)
        assert film.info["duration"] >= 20  # browsers slow down below that
        total += film.info["duration"]
    assert film.n_frames == 20 and film.info["loop"] == 0
    assert abs(total - 20_000 / fps) <= 5


@pytest.mark.parametrize(("height", "width", "fps"), [(32, 24, 12), (31, 17, 120), (1, 1, 0.5), (33, 64, 240)])
def test_an_mp4_is_h264_of_even_size(height: int, width: int, fps: float, tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(write_film("mp4", pictures(8, height, width), fps))
    reader = imageio_ffmpeg.read_frames(str(path))
    about = next(reader)
    reader.close()
    assert about["codec"] == "h264" and about["pix_fmt"].startswith("yuv420p")
    assert about["size"] == (width + width % 2, height + height % 2) and about["fps"] == pytest.approx(fps, rel=0.01)
    film = cv2.VideoCapture(str(path))
    seen = []
    while (read := film.read())[0]:
        seen.append(read[1].mean())
    assert len(seen) == 8 and seen[0] < 12 and seen[-1] > 238


@pytest.mark.parametrize(
    ("kind", "fps", "says"),
    [
        ("gif", 120, r"a \.gif supports 0\.1 to 50 frames per second; use \.mp4 for up to 240"),
        ("gif", 1e9, "fps=1e\\+09 is out of range"),
        ("gif", 0.001, "fps=0.001 is out of range"),
        ("mp4", 1e9, r"a \.mp4 supports 0\.1 to 240"),
        ("mp4", 0, "fps=0 is out"),
        ("mp4", float("nan"), "fps=nan is out"),
        ("mp4", -3, "fps=-3 is out"),
    ],
)
def test_impossible_frame_rates_are_refused(kind: str, fps: float, says: str) -> None:
    with pytest.raises(InputError, match=says):
        write_film(kind, pictures(2), fps)


def test_the_suffix_gives_the_format() -> None:
    assert film_kind("a.b/x.GIF") == "gif" and film_kind(Path("視頻.mp4")) == "mp4"
    with pytest.raises(InputError, match=r"x\.avi is not an animation"):
        film_kind("x.avi")


def test_a_missing_ffmpeg_gives_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> str:
        raise RuntimeError("No ffmpeg exe could be found.")

    monkeypatch.setattr(imageio_ffmpeg._io, "get_ffmpeg_exe", missing)
    with pytest.raises(InputError, match=r"No ffmpeg exe could be found\.?\); use \.gif instead"):
        write_film("mp4", pictures(2), 12)
