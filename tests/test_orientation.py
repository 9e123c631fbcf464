"""The orientation of a picture, with other errors in its metadata."""

import io
import struct

import numpy as np
import pytest
from PIL import Image, features

from autodrag.errors import InputError
from autodrag.pictures import read_picture


def saved(pixels: np.ndarray, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def exif(*entries: tuple[int, int, int, bytes], order: str = ">") -> bytes:
    """A block of EXIF from (tag, type, count, value or offset)."""
    head = (b"MM\0*" if order == ">" else b"II*\0") + struct.pack(f"{order}IH", 8, len(entries))
    body = b"".join(struct.pack(f"{order}HHI", *entry[:3]) + entry[3].ljust(4, b"\0") for entry in entries)
    return b"Exif\0\0" + head + body + bytes(64)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_nothing_but_the_orientation_of_exif_matters(kind: str) -> None:
    """Every type that a tag may be written in wrongly, for tags that decoders look at, beside an orientation of 6."""
    pixels = np.zeros((16, 24, 3), np.uint8)
    pixels[:8] = 255
    for tag in (0x0001, 0x0112, 0x011A, 0x011B, 0x0128, 0x8298, 0x8769, 0x8825, 0x9000, 0xA005, 0xFFFF):
        for type_ in range(15):
            for count in (0, 1, 3, 2**32 - 1):
                wrong = (tag, type_, count, b"\xff\xff\xff\xff")
                data = saved(pixels, kind, exif=exif((0x0112, 3, 1, b"\0\6"), wrong))
                seen = read_picture(data)
                assert seen.shape == (24, 16, 3) and seen[:, 12:].min() > 200 and seen[:, :4].max() < 50


def test_all_eight_orientations_and_where_they_are_written() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 3), dtype=np.uint8)
    for value in range(1, 9):
        for order in "<>":
            tag = (0x0112, 3, 1, struct.pack(f"{order}H", value))
            data = saved(pixels, "PNG", exif=exif(tag, order=order))
            wanted = Image.fromarray(pixels)
            turn = {
                2: Image.Transpose.FLIP_LEFT_RIGHT,
                3: Image.Transpose.ROTATE_180,
                4: Image.Transpose.FLIP_TOP_BOTTOM,
                5: Image.Transpose.TRANSPOSE,
                6: Image.Transpose.ROTATE_270,
                7: Image.Transpose.TRANSVERSE,
                8: Image.Transpose.ROTATE_90,
            }.get(value)
            assert np.array_equal(read_picture(data), np.asarray(wanted if turn is None else wanted.transpose(turn)))
    turned = np.rot90(pixels, -1)
    assert np.array_equal(read_picture(saved(pixels, "TIFF", tiffinfo={0x0112: 6})), turned)
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="6"/></x:xmpmeta>'
    assert np.array_equal(read_picture(saved(pixels, "WEBP", lossless=True, xmp=xmp)), turned)
    assert read_picture(saved(pixels, "JPEG", xmp=xmp)).shape == (5, 3, 3)
    opened = Image.open(io.BytesIO(saved(pixels, "PNG", exif=exif((0x0112, 3, 1, b"\0\6")))))
    assert np.array_equal(read_picture(opened), turned)


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")
def test_an_avif_lies_as_its_boxes_say_whatever_is_wrong_in_its_exif() -> None:
    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[:10, :15] = 255
    tags = Image.Exif()
    tags[0x0112], tags[0x010F] = 6, "maker"
    data = saved(pixels, "AVIF", exif=tags, quality=100, subsampling="4:4:4")
    assert b"irot" in data
    place = data.index(b"\x01\x0f\x00\x02")  # the other tag: its kind, then its count
    for kind in (*range(16), 65535):
        for count in (0, 1, 6, 2**31):
            wrong = data[: place + 2] + struct.pack(">HI", kind, count) + data[place + 8 :]
            read = read_picture(wrong)
            assert read.shape == (30, 20, 3)
            assert abs(read.astype(int) - np.rot90(pixels, -1)).max() < 9, (kind, count)


def tiff(pixels: np.ndarray, *entries: tuple[int, int, int, bytes], order: str) -> bytes:
    """A TIFF of RGB bytes on its side (orientation 6), with more (tag, type, count, value or offset)."""
    height, width = pixels.shape[:2]
    numbers = {256: width, 257: height, 258: 8, 259: 1, 262: 2, 273: 8, 274: 6, 277: 3, 278: height, 279: pixels.size}
    whole = [(tag, 3, 1, struct.pack(f"{order}H", value)) for tag, value in numbers.items()]
    rows = sorted([*whole, *entries])
    body = b"".join(struct.pack(f"{order}HHI", *row[:3]) + row[3].ljust(4, b"\0") for row in rows)
    directory = struct.pack(f"{order}H", len(rows)) + body + bytes(64)
    head = (b"MM\0*" if order == ">" else b"II*\0") + struct.pack(f"{order}I", 8 + pixels.size)
    return head + pixels.tobytes() + directory


@pytest.mark.parametrize("order", ["<", ">"])
def test_nothing_but_pixels_and_orientation_of_a_tiff_matters(order: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    for tag in (0x0001, 0x010F, 0x011A, 0x02BC, 0x8769, 0x8825, 0x8773, 0xFFFF):
        for type_ in (*range(20), 65535):
            for count in (0, 1, 3, 2**32 - 1):
                data = tiff(pixels, (tag, type_, count, b"\x10\xff\0\0"), order=order)
                assert np.array_equal(read_picture(data), np.rot90(pixels, -1)), (tag, type_, count)


def test_a_tiff_cut_short_is_a_sentence() -> None:
    data = tiff(np.zeros((2, 2, 3), np.uint8), order="<")
    for size in range(8, 60):
        with pytest.raises(InputError, match="TIFF"):
            read_picture(data[:size])
