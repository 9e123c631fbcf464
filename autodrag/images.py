"""Images as a generator makes them, in [-1, 1], and as bytes."""

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

JPEG_QUALITY = 92


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
