"""Reads user images of any kind as upright RGB uint8, with bounds on their size."""

import io
import math
import warnings
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from autodrag.errors import InputError
from autodrag.filekinds import kind_of, register_plugins
from autodrag.orientation import hide_exif, orientation_of, split_jpeg, split_tiff, upright

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "HEIF")  # enabled decoders
READABLE = "give a PNG, JPEG, WebP, GIF, BMP or TIFF file"
EXPECTED = "give a file, a PIL image, or an array [H, W], [H, W, C] or [C, H, W] with C = 1, 3 or 4"
MAX_PIXELS = 52_000_000  # slightly more than the 8192 x 6144 of 50 megapixel phones
PHOTOMETRIC = 262  # TIFF tag; 0: white is 0
SLACK = 0.1  # by which floats may exceed [0, 1] or [-1, 1], e.g. after resizing

Pixels = tuple[UInt8[np.ndarray, "H W 3"], UInt8[np.ndarray, "H W"] | None]


def read_picture(picture: Any, max_pixels: int = MAX_PIXELS) -> UInt8[np.ndarray, "H W 3"]:
    """Read any image as upright RGB uint8; transparent parts become white.

    picture: a file or its bytes; a PIL image; an array or tensor [H, W], [H, W, C] or [C, H, W] with 1, 3 or 4 channels
    (or a batch of one): 8 or 16 bits, booleans, or floats in [0, 1] or, if some are negative, [-1, 1]. Raises
    InputError for anything else, and for more than `max_pixels`.
    """
    rgb, alpha = read_pixels(picture, "The picture", max_pixels)
    if alpha is None:
        return rgb
    share = alpha[:, :, None].astype(np.uint16)
    return ((rgb * share + 255 * (255 - share) + 127) // 255).astype(np.uint8)


def read_pixels(picture: Any, name: str, max_pixels: int = MAX_PIXELS) -> Pixels:
    """(RGB, alpha or None) of anything that `read_picture` accepts. name: of the image in errors."""
    if isinstance(picture, str | Path):
        name = str(picture)
        try:
            picture = Path(picture).read_bytes()
        except OSError as error:
            raise InputError(f"{name} cannot be read ({error.strerror}); {READABLE}.") from None
    if isinstance(picture, bytes):
        return _from_file(picture, name, max_pixels)
    if isinstance(picture, Image.Image):
        return _from_pil(picture, name, max_pixels)
    return _from_array(picture, name)


def _from_pil(image: Image.Image, name: str, max_pixels: int) -> Pixels:
    """May raise decoding errors: Pillow decodes a file on first access to its pixels."""
    if image.width * image.height > max_pixels:
        raise _too_large(name, f"{image.width} x {image.height} pixels", max_pixels)
    try:
        image.load()
        orientation = 1 if image.format == "TIFF" else orientation_of(image.info)  # Pillow rotates TIFFs itself
        return _turned(_unpacked(image, name), orientation)
    except (InputError, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 (decoders raise anything on a damaged or closed file)
        raise InputError(f"{name} cannot be decoded ({error}); give another file.") from None


def _from_file(data: bytes, name: str, max_pixels: int) -> Pixels:
    """Checks the size in the header before decoding."""
    register_plugins()
    content, orientation = data, None
    if data.startswith(b"\xff\xd8"):
        content, orientation = split_jpeg(data)
    elif data.startswith((b"II", b"MM")):
        content, orientation = split_tiff(data)
    elif data[4:8] == b"ftyp":
        content = hide_exif(data)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # `max_pixels` bounds the size; other warnings do not matter
            image = Image.open(io.BytesIO(content), formats=[kind for kind in FORMATS if kind in Image.OPEN])
            if image.width * image.height > max_pixels:
                raise _too_large(name, f"{image.width} x {image.height} pixels", max_pixels)
            if orientation is None:
                orientation = orientation_of(image.info)
            alpha = _colour_key(image, data)
            return _turned(_unpacked(image, name, alpha), orientation)
    except (InputError, MemoryError):
        raise
    except Image.DecompressionBombError:
        raise _too_large(name, "far too many pixels", max_pixels) from None
    except Exception:  # noqa: BLE001 (decoders raise anything on a damaged file)
        kind, advice = kind_of(data)
        raise InputError(f"{name} is {kind}; {advice or READABLE}.") from None


def _too_large(name: str, size: str, max_pixels: int) -> InputError:
    return InputError(f"{name} has {size}, more than {max_pixels // 10**6} million; give a smaller one.")


def _turned(pixels: Pixels, orientation: int) -> tuple[UInt8[np.ndarray, "h w 3"], UInt8[np.ndarray, "h w"] | None]:
    rgb, alpha = pixels
    return upright(rgb, orientation), None if alpha is None else upright(alpha[:, :, None], orientation)[:, :, 0]


def _unpacked(image: Image.Image, name: str, alpha: UInt8[np.ndarray, "H W"] | None = None) -> Pixels:
    """(RGB, alpha) of a PIL image of any mode. alpha: replaces what Pillow finds; None: Pillow's."""
    if image.mode[0] in "IF":  # more than 8 bits per channel, which Pillow's conversion would clip
        levels = _levels(np.asarray(image), name)
        if getattr(image, "tag_v2", {}).get(PHOTOMETRIC) == 0:  # white is 0, which Pillow handles only for 8 bits
            levels = 255 - levels
        return np.repeat(levels[:, :, None], 3, axis=2), alpha
    if image.mode == "La":  # Pillow converts it to nothing else
        image = image.convert("LA")
    if alpha is None and image.has_transparency_data:
        pixels = np.array(image.convert("RGBA"))
        return np.ascontiguousarray(pixels[:, :, :3]), np.ascontiguousarray(pixels[:, :, 3])
    if image.mode == "LAB":
        from PIL import ImageCms

        lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
        image = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB") or image
    return np.array(image.convert("RGB")), alpha


def _colour_key(image: Image.Image, data: bytes) -> UInt8[np.ndarray, "H W"] | None:
    """Alpha of a PNG of any depth with a transparent grey level or colour; None for anything else.

    Needed because Pillow compares that colour with pixels already reduced to 8 bits.
    """
    key = image.info.get("transparency")
    if image.format != "PNG" or image.mode in ("P", "LA", "RGBA") or key is None:
        return None
    depth = data[24]
    if isinstance(key, int):
        levels = np.asarray(image).astype(np.int64)
        wanted = key if depth >= 8 else key * 255 // (2**depth - 1)
        clear = levels * (255 if image.mode == "1" else 1) == wanted
        return np.where(clear, 0, 255).astype(np.uint8)
    if depth == 16:
        whole = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)  # reads all 16 bits, and the key
        return None if whole is None else np.where(whole[:, :, 3] == 0, 0, 255).astype(np.uint8)
    return None


def _from_array(values: Any, name: str) -> Pixels:
    """(RGB, alpha) of an array or tensor. Channels are the last or first axis; for tensors, the first has priority."""
    array = as_array(values)
    if array is None or array.dtype.kind not in "buif":
        what = type(values).__name__ if array is None else f"an array of {array.dtype}"
        raise InputError(f"{name} is {what}, which is not an image; {EXPECTED}.")
    shape = array.shape
    if array.ndim == 4 and len(array) == 1:
        array = array[0]
    if array.ndim == 2:
        array = array[:, :, None]
    places = [place for place in ((0, -1) if isinstance(values, Tensor) else (-1, 0)) if array.ndim == 3]
    channels = next((place for place in places if array.shape[place] in (1, 3, 4)), None)
    if channels is None or array.size == 0:
        raise InputError(f"{name} has shape {list(shape)}, which is not an image; {EXPECTED}.")
    levels = _levels(np.moveaxis(array, channels, -1), name)
    rgb = np.ascontiguousarray(np.broadcast_to(levels[:, :, :3], (*levels.shape[:2], 3)))
    return rgb, np.ascontiguousarray(levels[:, :, 3]) if levels.shape[2] == 4 else None


def as_array(values: Any) -> np.ndarray | None:
    """An array-like of numbers as a NumPy array; None for anything else."""
    try:
        if isinstance(values, Tensor):
            values = values.detach().cpu()
            values = values.float() if values.is_floating_point() else values.resolve_conj()
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError):
        return None
    return None if array.dtype == object or array.ndim == 0 else array


def _levels(values: np.ndarray, name: str) -> UInt8[np.ndarray, "*shape"]:
    """Convert values of any accepted range to uint8, rounded to nearest."""
    if values.dtype == np.uint8:
        return values
    if values.dtype == bool:
        return values.astype(np.uint8) * 255
    low, high = (float(bound) for bound in (values.min(), values.max()))
    if math.isnan(low):
        raise InputError(f"{name} holds NaN; give bytes, 16 bits, or floats in [0, 1] or [-1, 1].")
    if values.dtype.kind == "f":
        if -1 - SLACK <= low < -SLACK and high <= 1 + SLACK:
            return _scaled(values, -1, 1)
        if low >= -SLACK and high <= 1 + SLACK:
            return _scaled(values, 0, 1)
    for most in (255, 65535) if values.dtype != np.uint16 else (65535,):
        if (low >= 0 and 2 < high <= most) or (values.dtype.kind in "iu" and low >= 0 and high <= most):
            return _scaled(values, 0, most)
    raise InputError(
        f"{name} holds numbers from {low:g} to {high:g}; give bytes, 16 bits, or floats in [0, 1] or [-1, 1]."
    )


def _scaled(values: np.ndarray, low: int, high: int) -> UInt8[np.ndarray, "*shape"]:
    return ((values.astype(np.float32) - low) * (255 / (high - low))).round().clip(0, 255).astype(np.uint8)
