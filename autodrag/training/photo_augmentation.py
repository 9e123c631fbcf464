"""Augmentation that makes generated images resemble photographs: colour, small shifts, blur and JPEG."""

from dataclasses import dataclass

import cv2
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from autodrag.errors import InputError
from autodrag.images import to_bytes, to_tensor

CHANCES = 14  # random numbers that `photographed` takes per image


@dataclass(frozen=True)
class PhotoAugmentation:
    """`encoder.augmentation` in `configs/train.yaml`."""

    share: float  # probability of each augmentation
    colour: float  # maximum change of the gain and offset of a channel
    shift: float  # maximum shift, in pixels of the image
    blur: float  # maximum standard deviation of a Gaussian, in pixels of the image
    quality: int  # minimum JPEG quality; the maximum is 95

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1 or min(self.colour, self.shift, self.blur) < 0 or not 1 <= self.quality <= 95:
            raise InputError(
                "encoder.augmentation takes a share from 0 to 1, colour, shift and blur of at least 0, and a quality "
                "from 1 to 95."
            )


def photographed(
    images: Float[Tensor, "B 3 h w"], config: PhotoAugmentation, chance: Float[Tensor, "B 14"]
) -> Float[Tensor, "B 3 h w"]:
    """Augment images in [-1, 1] on the CPU. chance: uniform random numbers, from which all choices are made."""
    chosen, colour, shift, blur, quality = chance.split((4, 6, 2, 1, 1), dim=1)
    chosen = chosen < config.share
    gain, offset = ((2 * colour - 1) * config.colour * chosen[:, :1])[:, :, None, None].chunk(2, dim=1)
    images = images * (1 + gain) + offset
    images = _shifted(images, (2 * shift - 1) * config.shift * chosen[:, 1:2])
    images = _blurred(images, (blur * config.blur * chosen[:, 2:3])[:, 0])
    qualities = config.quality + (quality[:, 0] * (96 - config.quality)).int()
    parts = [
        _jpeg(image, int(quality)) if compress else image
        for image, quality, compress in zip(images, qualities, chosen[:, 3], strict=True)
    ]
    return torch.stack(parts).clamp(-1, 1)


def _shifted(images: Float[Tensor, "B 3 h w"], shift: Float[Tensor, "B 2"]) -> Float[Tensor, "B 3 h w"]:
    """Translate by (x, y) pixels, with replicated borders."""
    height, width = images.shape[-2:]
    matrix = torch.eye(2, 3).repeat(len(images), 1, 1)
    matrix[:, :, 2] = -shift * 2 / torch.tensor([width, height])
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _blurred(images: Float[Tensor, "B 3 h w"], sigma: Float[Tensor, " B"]) -> Float[Tensor, "B 3 h w"]:
    at = torch.arange(-2, 3)
    weights = torch.exp(-at.square() / (2 * sigma[:, None].square().clamp(min=1e-4)))
    weights = weights / weights.sum(dim=1, keepdim=True)  # [B, 5]
    flat = F.pad(images, (2, 2, 2, 2), mode="replicate").transpose(0, 1)  # [3, B, h + 4, w + 4]
    flat = F.conv2d(flat, weights[:, None, :, None], groups=len(images))
    return F.conv2d(flat, weights[:, None, None, :], groups=len(images)).transpose(0, 1)


def _jpeg(image: Float[Tensor, "3 h w"], quality: int) -> Float[Tensor, "3 h w"]:
    _, data = cv2.imencode(".jpg", to_bytes(image[None]), [cv2.IMWRITE_JPEG_QUALITY, quality])
    read = cv2.imdecode(data, cv2.IMREAD_COLOR)
    assert read is not None  # it was encoded above
    return to_tensor(read)[0]
