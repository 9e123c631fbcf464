"""Identifies files that cannot be read as images by their first bytes, with advice for error messages."""

import importlib

from PIL import Image

#: (first bytes, description).
MAGIC = (
    (b"\xff\xd8", "a damaged JPEG file"),
    (b"\x89PNG", "a damaged PNG file"),
    (b"GIF8", "a damaged GIF file"),
    (b"BM", "a damaged BMP file, or another kind of file"),
    (b"\xff\x0a", "a JPEG XL picture, which cannot be read"),
    (b"\0\0\0\x0cJXL ", "a JPEG XL picture, which cannot be read"),
    (b"\0\0\0\x0cjP  ", "a JPEG 2000 picture, which cannot be read"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 picture, which cannot be read"),
    (b"8BPS", "a Photoshop file, which cannot be read"),
    (b"gimp xcf", "a GIMP file, which cannot be read"),
    (b"FUJIFILMCCD-RAW", "a raw photograph of a camera, which cannot be read"),
    (b"II*\0\x10\0\0\0CR", "a raw photograph of a camera, which cannot be read"),
    (b"IIRO", "a raw photograph of a camera, which cannot be read"),
    (b"IIU\0", "a raw photograph of a camera, which cannot be read"),
    (b"II*\0", "a raw photograph of a camera or a TIFF file of a kind that cannot be read, or it is damaged"),
    (b"MM\0*", "a raw photograph of a camera or a TIFF file of a kind that cannot be read, or it is damaged"),
    (b"II+\0", "a BigTIFF file of a kind that cannot be read, or it is damaged"),
    (b"MM\0+", "a BigTIFF file of a kind that cannot be read, or it is damaged"),
    (b"v/1\x01", "an OpenEXR picture, which cannot be read"),
    (b"#?RADIANCE", "a Radiance HDR picture, which cannot be read"),
    (b"qoif", "a QOI picture, which cannot be read"),
    (b"DDS ", "a DDS texture, which cannot be read"),
    (b"\0\0\x01\0", "an icon, which cannot be read"),
    (b"%PDF", "a PDF document, which cannot be read"),
    (b"%!PS", "a PostScript document, which cannot be read"),
    (b"PK\x03\x04", "a ZIP archive, which is not an image"),
    (b"\x1aE\xdf\xa3", "a video, which is not an image"),
)

#: Brands of files in the MPEG-4 container: (brands, format, advice).
BRANDS = (
    ((b"avif", b"avis"), "AVIF", "update Pillow (pip install -U pillow), or save it as PNG or JPEG"),
    (
        (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"heif"),
        "HEIC",
        "install pillow-heif (pip install pillow-heif), or save it as PNG or JPEG",
    ),
)

AS_PICTURE = "save it as PNG or JPEG, or give another file"


def register_plugins() -> None:
    """Register all formats of Pillow, and HEIC if `pillow-heif` is installed. Repeated calls cost nothing."""
    Image.init()
    if "HEIF" not in Image.OPEN:
        try:
            importlib.import_module("pillow_heif").register_heif_opener()
        except ImportError:
            return


def kind_of(data: bytes) -> tuple[str, str | None]:
    """(description with article, advice; None: give another file) for a file that could not be read."""
    if not data:
        return "an empty file", None
    if data[4:8] == b"ftyp":
        return _kind_of_brand(data)
    if data[:4] == b"RIFF":
        return ("a damaged WebP file", None) if data[8:12] == b"WEBP" else ("a RIFF file, not an image", None)
    begin = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if begin.startswith((b"<!doctype html", b"<html")):
        return "a web page, not an image", "save the image itself from it"
    if begin.startswith((b"<svg", b"<?xml")):
        return "an SVG drawing or other XML, which cannot be read", AS_PICTURE
    for magic, kind in MAGIC:
        if data.startswith(magic):
            return kind, AS_PICTURE if "cannot be read" in kind else None
    return "not an image, or it is damaged", None


def _kind_of_brand(data: bytes) -> tuple[str, str | None]:
    size = min(int.from_bytes(data[:4], "big"), 256)
    brands = [data[8:12], *(data[place : place + 4] for place in range(16, size, 4))]
    if brands[0] == b"crx ":
        return "a raw photograph of a camera, which cannot be read", AS_PICTURE
    for known, name, advice in BRANDS:
        if any(brand in known for brand in brands):
            return f"a picture of the format {name}, which cannot be read here, or it is damaged", advice
    return "a video or another file of that container, not an image", None
