"""The orientation of an image, the only metadata that is read."""

import re
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import UInt8

TAG = 0x0112  # EXIF Orientation
EXIF, XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
SIZES = {1: "B", 3: "H", 4: "I"}  # the integer types of EXIF
_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}  # byte order by the first four bytes

#: Tags of a TIFF needed to decode its pixels: sizes, depth, compression, colours, strips, tiles, predictor, palette,
#: extra samples, JPEG tables and YCbCr.
PIXEL_TAGS = frozenset(
    (
        *(256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284, 292, 293, 317, 320, 322, 323, 324, 325),
        *(332, 338, 339, 347, 512, 513, 514, 519, 520, 521, 529, 530, 531, 532),
    )
)

# "infe" of version 2 or 3: flags, item id, protection, type.
_EXIF_ITEM = re.compile(rb"(infe(?:\x02.{3}.{2}|\x03.{3}.{4}).{2})Exif", re.DOTALL)

#: Orientation -> (transpose, then reverse rows, reverse columns).
TURNS = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


def upright(pixels: UInt8[np.ndarray, "H W C"], orientation: int) -> UInt8[np.ndarray, "h w C"]:
    """Rotate or flip an image to its display orientation."""
    swapped, up, left = TURNS[orientation]
    if swapped:
        pixels = pixels.swapaxes(0, 1)
    return np.ascontiguousarray(pixels[:: -1 if up else 1, :: -1 if left else 1])


def split_jpeg(data: bytes) -> tuple[bytes, int]:
    """A JPEG without EXIF, XMP and multi-picture index, whose errors could make decoders fail; and its orientation."""
    kept, found, place = [data[:2]], [], 2
    while data[place : place + 1] == b"\xff" and place + 4 <= len(data):
        marker = data[place + 1]
        if marker == 0xFF:  # padding
            place += 1
            continue
        if marker in (0xD9, 0xDA):  # the image data starts here
            break
        end = place + 2 + struct.unpack_from(">H", data, place + 2)[0]
        content = data[place + 4 : end]
        if marker == 0xE1:
            found.append(_of_exif(content.removeprefix(EXIF)) if content.startswith(EXIF) else _of_xmp(content))
        elif not (marker == 0xE2 and content.startswith(b"MPF\0")):
            kept.append(data[place:end])
        place = end
    return b"".join([*kept, data[place:]]), next((turn for turn in found if turn), 1)


def split_tiff(data: bytes) -> tuple[bytes, int]:
    """A TIFF reduced to the first directory's tags that describe pixels, and its orientation.

    A BigTIFF is returned unchanged with orientation 1, because decoders apply it.
    """
    order = _ORDERS.get(data[:4])
    try:
        if order is None:
            return data, 1
        (start,) = struct.unpack_from(f"{order}I", data, 4)
        (count,) = struct.unpack_from(f"{order}H", data, start)
    except struct.error:  # truncated
        return data, 1
    entries = [data[place : place + 12] for place in range(start + 2, start + 2 + 12 * count, 12)]
    kept = [entry for entry in entries if len(entry) == 12 and struct.unpack(f"{order}H", entry[:2])[0] in PIXEL_TAGS]
    directory = struct.pack(f"{order}H", len(kept)) + b"".join(kept) + bytes(4)  # without further directories
    directory = directory[: len(data) - start]
    return data[:start] + directory + data[start + len(directory) :], _of_exif(data) or 1


def hide_exif(data: bytes) -> bytes:
    """Hide the EXIF of an AVIF or HEIC file from decoders, by changing its item type: its orientation is in boxes."""
    return _EXIF_ITEM.sub(rb"\1skip", data)


def orientation_of(info: Mapping[Any, Any]) -> int:
    """The orientation in the metadata read by Pillow (`Image.info`); 1 if there is no valid one."""
    exif, xmp = info.get("exif"), info.get("xmp", info.get("XML:com.adobe.xmp"))
    if exif is None and isinstance(text := info.get("Raw profile type exif"), str):  # PNG as written by ImageMagick
        digits = "".join(text.split("\n")[3:])
        exif = bytes.fromhex(digits) if re.fullmatch("([0-9a-f]{2})*", digits) else None
    turns = [_of_exif(exif.removeprefix(EXIF)) if isinstance(exif, bytes) else None]
    turns.append(_of_xmp(xmp.encode() if isinstance(xmp, str) else xmp) if isinstance(xmp, str | bytes) else None)
    return next((turn for turn in turns if turn), 1)


def _of_exif(tiff: bytes) -> int | None:
    """The orientation in the first directory of an EXIF block; other tags are not read."""
    order = _ORDERS.get(tiff[:4])
    try:
        if order is None:
            return None
        (start,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, start)
        for place in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind = struct.unpack_from(f"{order}HH", tiff, place)
            if tag == TAG and kind in SIZES:
                (value,) = struct.unpack_from(order + SIZES[kind], tiff, place + 8)
                return value if value in TURNS else None
    except struct.error:  # truncated
        return None
    return None


def _of_xmp(xmp: bytes) -> int | None:
    found = re.search(rb"tiff:Orientation(?:=[\"']|>)([1-8])", xmp)
    return int(found[1]) if found else None
