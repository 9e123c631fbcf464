"""Pictures from anywhere: read upright and within bounds, or refused in one sentence."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from autodrag.app.pictures import encode, read_picture, to_bytes, to_tensor
from autodrag.errors import InputError


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def test_pictures_are_read_as_upright_rgb(tmp_path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    assert np.array_equal(read_picture(encoded(Image.fromarray(pixels), "PNG")), pixels)
    path = tmp_path / "x.webp"
    path.write_bytes(encoded(Image.fromarray(pixels), "WEBP", lossless=True))
    assert np.array_equal(read_picture(path), pixels)
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    turned = read_picture(encoded(Image.fromarray(pixels), "PNG", exif=exif))
    assert np.array_equal(turned, np.rot90(pixels, -1))
    clear = Image.new("RGBA", (2, 2), (9, 9, 9, 0))
    assert (read_picture(encoded(clear, "PNG")) == 255).all()
    assert read_picture(encoded(Image.new("L", (2, 2), 7), "PNG")).shape == (2, 2, 3)


def test_bytes_and_tensors_agree() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    assert np.array_equal(to_bytes(to_tensor(pixels)), pixels)
    assert to_bytes(to_tensor(pixels)[:, :1] * 3).shape == (8, 8, 3)
    assert np.array_equal(read_picture(encode(pixels, lossless=True)), pixels)
    assert encode(pixels, lossless=False)[:2] == b"\xff\xd8"


def bomb(width: int, height: int) -> bytes:
    """A small PNG that says it is large, and would be."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(b"\0" * 10_000_000, 9)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "data",
    [
        bomb(60_000, 60_000),
        bomb(2**31 - 1, 2**31 - 1),
        bomb(9_000, 9_000),
        bomb(1_000, 1_000)[:100],
        b"",
        b"GIF89a" + bytes(20),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xe0" + bytes(30),
    ],
)
def test_bombs_and_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(InputError) as caught:
        read_picture(data)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_one_sentence() -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_picture("/nowhere/x.png")
