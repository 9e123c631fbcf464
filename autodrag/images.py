"""Conversion of images between [-1, 1] and uint8, and between sizes."""

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

JPEG_QUALITY = 92


def to_uint8(images: Float[Tensor, "*batch C H W"]) -> UInt8[Tensor, "*batch C H W"]:
    """[-1, 1] to 0..255, clipped and rounded to nearest."""
    return ((images.detach().float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


def from_uint8(images: UInt8[Tensor, "*batch C H W"]) -> Float[Tensor, "*batch C H W"]:
    """0..255 to [-1, 1]."""
    return images.float() / 127.5 - 1


def to_pixels(images: Float[Tensor, "N C H W"]) -> UInt8[np.ndarray, "N H W 3"]:
    """Images in [-1, 1] (grey or RGB) as RGB uint8, channels last."""
    return to_uint8(images).expand(-1, 3, -1, -1).permute(0, 2, 3, 1).contiguous().cpu().numpy()


def to_bytes(image: Float[Tensor, "1 C H W"]) -> UInt8[np.ndarray, "H W 3"]:
    """`to_pixels` of a single image."""
    return to_pixels(image)[0]


def to_tensor(image: UInt8[np.ndarray, "H W 3"]) -> Float[Tensor, "1 3 H W"]:
    """RGB uint8 as an image in [-1, 1]."""
    return from_uint8(torch.from_numpy(image.copy()).permute(2, 0, 1)[None])


def encode(image: UInt8[np.ndarray, "H W 3"], lossless: bool) -> bytes:
    """Encode as PNG, fast rather than small, or as JPEG without chroma subsampling."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    if lossless:
        ok, data = cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, 2])
    else:
        factor = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
        options = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, factor]
        ok, data = cv2.imencode(".jpg", bgr, options)
    assert ok  # encoding bytes in memory cannot fail
    return data.tobytes()


def to_size(images: Float[Tensor, "N C H W"], size: int) -> Float[Tensor, "N C size size2"]:
    """Resize images to a height of `size`, preserving the aspect ratio: by averaging, or bilinearly when enlarging."""
    height, width = images.shape[-2:]
    target = (size, round(width * size / height))
    if target == (height, width):
        return images
    if size > height:
        return F.interpolate(images, target, mode="bilinear", align_corners=False)
    return F.adaptive_avg_pool2d(images, target)


def fitted(image: UInt8[np.ndarray, "H W 3"], side: int) -> UInt8[np.ndarray, "h w 3"]:
    """The image, at most `side` pixels high and wide."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return image
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)
