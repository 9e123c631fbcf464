"""How a picture lies: the one thing of its metadata that is read."""

import re
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import UInt8

TAG = 0x0112  # Orientation, of EXIF
EXIF, XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
SIZES = {1: "B", 3: "H", 4: "I"}  # the types of EXIF that whole numbers are written in

# "infe" of version 2 or 3: flags, number of the item, protection, type.
_EXIF_ITEM = re.compile(rb"(infe(?:\x02.{3}.{2}|\x03.{3}.{4}).{2})Exif", re.DOTALL)

#: Orientation -> (whether rows and columns change places, then whether rows, and columns, run backwards).
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
    """The picture as it is to be seen."""
    swapped, up, left = TURNS[orientation]
    if swapped:
        pixels = pixels.swapaxes(0, 1)
    return np.ascontiguousarray(pixels[:: -1 if up else 1, :: -1 if left else 1])


def split_jpeg(data: bytes) -> tuple[bytes, int]:
    """A JPEG without EXIF, XMP and the index of further pictures, and its orientation.

    A decoder that never sees them cannot stumble over what is wrong in them.
    """
    kept, found, place = [data[:2]], [], 2
    while data[place : place + 1] == b"\xff" and place + 4 <= len(data):
        marker = data[place + 1]
        if marker == 0xFF:  # padding
            place += 1
            continue
        if marker in (0xD9, 0xDA):  # from here on it is the picture
            break
        end = place + 2 + struct.unpack_from(">H", data, place + 2)[0]
        content = data[place + 4 : end]
        if marker == 0xE1:
            found.append(_of_exif(content.removeprefix(EXIF)) if content.startswith(EXIF) else _of_xmp(content))
        elif not (marker == 0xE2 and content.startswith(b"MPF\0")):
            kept.append(data[place:end])
        place = end
    return b"".join([*kept, data[place:]]), next((turn for turn in found if turn), 1)


def hide_exif(data: bytes) -> bytes:
    """An AVIF or HEIC file whose EXIF no decoder finds: how such a picture lies is told by boxes of the file.

    The item of EXIF is given a type that nobody reads, in the box that lists the items.
    """
    return _EXIF_ITEM.sub(rb"\1skip", data)


def orientation_of(info: Mapping[Any, Any]) -> int:
    """The orientation in what Pillow knows of a picture (`Image.info`); 1 where there is none that makes sense."""
    exif, xmp = info.get("exif"), info.get("xmp", info.get("XML:com.adobe.xmp"))
    if exif is None and isinstance(text := info.get("Raw profile type exif"), str):  # as ImageMagick writes PNG
        digits = "".join(text.split("\n")[3:])
        exif = bytes.fromhex(digits) if re.fullmatch("([0-9a-f]{2})*", digits) else None
    turns = [_of_exif(exif.removeprefix(EXIF)) if isinstance(exif, bytes) else None]
    turns.append(_of_xmp(xmp.encode() if isinstance(xmp, str) else xmp) if isinstance(xmp, str | bytes) else None)
    return next((turn for turn in turns if turn), 1)


def _of_exif(tiff: bytes) -> int | None:
    """The tag's value in the first directory of an EXIF block; the other tags are passed over unread."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
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
    except struct.error:  # cut short
        return None
    return None


def _of_xmp(xmp: bytes) -> int | None:
    found = re.search(rb"tiff:Orientation(?:=[\"']|>)([1-8])", xmp)
    return int(found[1]) if found else None
