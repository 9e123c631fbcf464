"""Pictures of every kind: read upright and within bounds, or refused with a clear error."""

import io
import struct
import sys
import types
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

from autodrag.errors import InputError
from autodrag.images import encode, to_bytes, to_tensor
from autodrag.pictures import read_picture


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


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png16(pixels: np.ndarray, key: tuple[int, ...] | None = None) -> bytes:
    """A PNG of 16 bits, grey or RGB, with a colour that is transparent."""
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 16, 0 if pixels.ndim == 2 else 2, 0, 0, 0)
    clear = b"" if key is None else chunk(b"tRNS", struct.pack(f">{len(key)}H", *key))
    data = chunk(b"IHDR", header) + clear + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


def test_every_depth_keeps_its_tones() -> None:
    tones = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16)
    wanted = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    for data in (
        png16(tones),
        encoded(Image.fromarray(tones), "TIFF"),
        encoded(Image.fromarray(tones.astype(np.int32)), "TIFF"),
        encoded(Image.fromarray((tones / 65535).astype(np.float32)), "TIFF"),
        encoded(Image.fromarray(wanted[:, :, 0]), "BMP"),
        encoded(Image.fromarray(wanted[:, :, 0]), "PPM"),
        encoded(Image.fromarray(wanted[:, :, 0]), "GIF"),
    ):
        assert np.array_equal(read_picture(data), wanted)
    for mode in ("1", "L", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I;16", "I", "F"):
        read = read_picture(
            Image.fromarray(wanted).convert("L").convert(mode)
            if mode in ("I;16", "I", "F")
            else Image.new(mode, (16, 16))
        )
        assert read.shape == (16, 16, 3)
    assert read_picture(Image.new("CMYK", (2, 2), (0, 0, 0, 0))).min() > 250
    assert read_picture(Image.new("LAB", (2, 2), (255, 128, 128))).min() > 250


def test_a_transparent_colour_of_any_depth() -> None:
    grey = np.array([[1000, 1001, 40000]], np.uint16)
    assert read_picture(png16(grey, (1000,)))[0, :, 0].tolist() == [255, 4, 156]
    colours = np.array([[[1000, 2000, 3000], [1001, 2000, 3000]]], np.uint16)
    assert read_picture(png16(colours, (1000, 2000, 3000)))[0].tolist() == [[255, 255, 255], [3, 7, 11]]
    eight = np.array([[[9, 9, 9], [8, 9, 9]]], np.uint8)
    assert read_picture(encoded(Image.fromarray(eight), "PNG", transparency=(9, 9, 9)))[0, :, 0].tolist() == [255, 8]
    bits = Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1")
    assert read_picture(encoded(bits, "PNG", transparency=0))[0, :, 0].tolist() == [255, 255]
    half = Image.fromarray(np.array([[[0, 0, 0, 128]]], np.uint8))
    assert read_picture(half)[0, 0].tolist() == [127, 127, 127]
    assert read_picture(half.convert("RGBa"))[0, 0].tolist() == [127, 127, 127]
    assert read_picture(half.convert("LA").convert("La"))[0, 0].tolist() == [127, 127, 127]


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_tiff_whose_white_is_0(kind: type) -> None:
    tones = np.array([[0, np.iinfo(kind).max]], kind)
    data = encoded(Image.fromarray(tones), "TIFF")
    entry = struct.pack("<HHI", 262, 3, 1)  # how levels are to be taken
    turned = data.replace(entry + b"\1\0", entry + b"\0\0")
    assert turned != data
    for given in (turned, Image.open(io.BytesIO(turned))):
        assert read_picture(given)[0, :, 0].tolist() == [255, 0]


PIXELS = np.random.default_rng(1).integers(0, 256, (6, 9, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    "given",
    [
        PIXELS,
        PIXELS.transpose(2, 0, 1),
        PIXELS[None],
        PIXELS.astype(np.int64),
        PIXELS.astype(np.uint16) * 257,
        PIXELS / 255,
        (PIXELS / 255).astype(np.float32).transpose(2, 0, 1),
        PIXELS / 127.5 - 1,
        PIXELS.astype(np.float64),
        np.concatenate([PIXELS, np.full((6, 9, 1), 255, np.uint8)], axis=2),
        Image.fromarray(PIXELS),
        torch.from_numpy(PIXELS),
        to_tensor(PIXELS),
        to_tensor(PIXELS)[0].double().requires_grad_(),
        PIXELS.tolist(),
        PIXELS.astype(np.float16),
        PIXELS.astype(">u2") * 257,
        np.asfortranarray(PIXELS),
        torch.from_numpy(PIXELS).half(),
    ],
    ids=range(19),
)
def test_arrays_and_tensors_of_every_kind_are_the_same_picture(given: object) -> None:
    assert np.array_equal(read_picture(given), PIXELS)


def test_grey_and_boolean_arrays() -> None:
    grey = PIXELS[:, :, 0]
    for given in (grey, grey[:, :, None], grey[None], Image.fromarray(grey), torch.from_numpy(grey)[None]):
        assert np.array_equal(read_picture(given), grey[:, :, None].repeat(3, 2))
    assert np.array_equal(read_picture(grey > 99)[:, :, 1], np.where(grey > 99, 255, 0))
    overshot = np.array([[-0.04, 0.5, 1.04]])  # as bicubic resizing leaves them
    assert read_picture(overshot)[0, :, 0].tolist() == [0, 128, 255]
    clear = np.zeros((2, 2, 4))
    assert (read_picture(clear) == 255).all()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (np.zeros((7, 7, 2)), r"shape \[7, 7, 2\]"),
        (np.zeros(7), r"shape \[7\]"),
        (np.zeros((2, 3, 4, 4)), r"shape \[2, 3, 4, 4\]"),
        (np.zeros((0, 4, 3)), r"shape \[0, 4, 3\]"),
        (np.full((4, 4), np.nan), "holds NaN"),
        (np.where(np.eye(4) > 0, np.nan, 0.5), "holds NaN"),
        (np.full((4, 4), np.inf), "inf"),
        (np.full((4, 4), -300), "-300"),
        (np.full((4, 4), 1.7), r"1\.7"),
        (np.array([["a"]]), "<U1"),
        (object(), "is object, which"),
        (None, "is NoneType, which"),
        ([[1, 2], [3]], "is list, which"),
        (np.zeros((4, 4), complex), "complex128"),
        (torch.zeros(3, 4, 4).to_sparse(), "is Tensor, which"),
        (torch.zeros(3, 4, 4, device="meta"), "is Tensor, which"),
        (torch.zeros(3, 4, 4, dtype=torch.complex64).conj(), "complex64"),
    ],
)
def test_what_is_no_picture_is_said(given: object, says: str) -> None:
    with pytest.raises(InputError, match=says) as caught:
        read_picture(given)
    assert "expected" in str(caught.value) or "give" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC.*pip install pillow-heif"),
        (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif" + bytes(99), "AVIF.*Pillow"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1", "raw photograph"),
        (b"\0\0\0\x18ftypisom\0\0\0\0mp42", "a video"),
        (b"\xff\x0a" + bytes(30), "JPEG XL.*save it as PNG or JPEG"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"8BPS" + bytes(30), "Photoshop"),
        (b"%PDF-1.4", "PDF"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"\n<!DOCTYPE html><html>", "web page"),
        (b"RIFF\x20\0\0\0WEBPVP8 ", "damaged WebP"),
        (b"\x89PNG\r\n\x1a\n", "damaged PNG"),
        (b"\xff\xd8\xff\xe0" + bytes(30), "damaged JPEG"),
        (b"", "empty file"),
        (b"\0" * 40, "not an image, or it is damaged"),
    ],
)
def test_kinds_that_cannot_be_read_are_named(data: bytes, says: str) -> None:
    with pytest.raises(InputError, match=says):
        read_picture(data)


def test_pillow_heif_is_used_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Heif(ImageFile.ImageFile):
        format = "HEIF"

        def _open(self) -> None:
            self._size, self._mode = (4, 2), "RGB"
            self.tile = []

        def load(self) -> None:
            self.im = Image.new("RGB", (4, 2), (1, 2, 3)).im

    def register() -> None:
        monkeypatch.setitem(Image.OPEN, "HEIF", (Heif, lambda prefix: prefix[4:12] == b"ftypheic"))
        monkeypatch.setattr(Image, "ID", [*Image.ID, "HEIF"])

    monkeypatch.setitem(sys.modules, "pillow_heif", types.SimpleNamespace(register_heif_opener=register))
    read = read_picture(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    assert read.shape == (2, 4, 3) and read[0, 0].tolist() == [1, 2, 3]


def test_pictures_of_50_megapixels_are_read_and_no_larger_ones() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert read_picture(encoded(Image.new("1", (8192, 6144)), "PNG")).shape == (6144, 8192, 3)
        with pytest.raises(InputError, match="more than 52 million"):
            read_picture(bomb(18_000, 10_000))
        with pytest.raises(InputError, match="more than 52 million"):
            read_picture(Image.new("1", (9_000, 9_000)))


def bomb(width: int, height: int) -> bytes:
    """A small PNG file of a huge image."""
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
        b"II*\0" + bytes(40),
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


def test_a_closed_picture_is_one_sentence(tmp_path: Path) -> None:
    Image.fromarray(PIXELS).save(tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as picture:
        pass
    with pytest.raises(InputError, match="cannot be decoded"):
        read_picture(picture)
