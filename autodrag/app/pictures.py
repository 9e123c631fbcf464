"""Pictures as bytes: what a user gives is read with bounds, what a generator makes is encoded."""

import io
import warnings
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from autodrag.errors import InputError

FORMATS = ("PNG", "JPEG", "WEBP")  # the decoders a file from anywhere may reach
MAX_PIXELS = 50_000_000
JPEG_QUALITY = 92


def read_picture(source: bytes | Path | str, max_pixels: int = MAX_PIXELS) -> UInt8[np.ndarray, "H W 3"]:
    """A PNG, JPEG or WebP file (or its bytes) as upright RGB; transparent parts become white.

    The size is read from the header before anything is decoded. Raises InputError for anything that is no such picture
    or has more than `max_pixels`.
    """
    name = "The picture" if isinstance(source, bytes) else str(source)
    try:
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
    except OSError as error:
        raise InputError(f"{name} cannot be read ({error.strerror}); give a PNG, JPEG or WebP file.") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # `max_pixels` decides
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            if image.width * image.height > max_pixels:
                raise InputError(
                    f"{name} is {image.width} x {image.height} pixels, more than {max_pixels // 10**6} million; "
                    "give a smaller one."
                )
            return _upright_rgb(image)
    except Image.DecompressionBombError:
        raise InputError(f"{name} is larger than {max_pixels // 10**6} million pixels; give a smaller one.") from None
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, EOFError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{name} is no PNG, JPEG or WebP picture, or it is damaged; give another file.") from None


def _upright_rgb(image: Image.Image) -> UInt8[np.ndarray, "H W 3"]:
    image = ImageOps.exif_transpose(image)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.array(image.convert("RGB"))


def to_tensor(image: UInt8[np.ndarray, "H W 3"]) -> Float[Tensor, "1 3 H W"]:
    """RGB bytes as a generator's image in [-1, 1]."""
    return torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1


def to_bytes(image: Float[Tensor, "1 C H W"]) -> UInt8[np.ndarray, "H W 3"]:
    """A generator's image (grey or RGB) as RGB bytes: [-1, 1] to 0..255, clipped, rounded to the nearest."""
    scaled = (image[0].detach().float().clamp(-1, 1).expand(3, -1, -1) + 1) * 127.5
    return scaled.round().to(torch.uint8).permute(1, 2, 0).contiguous().cpu().numpy()


def encode(image: UInt8[np.ndarray, "H W 3"], lossless: bool) -> bytes:
    """PNG, fast rather than small, or JPEG without colour subsampling."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    if lossless:
        ok, data = cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, 2])
    else:
        factor = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
        options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor]
        ok, data = cv2.imencode(".jpg", bgr, options)
    assert ok  # an array of bytes in memory always encodes
    return data.tobytes()
