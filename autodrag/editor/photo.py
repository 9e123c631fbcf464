"""A photograph and the square of it that a generator makes: cropped, aligned as in the training data, pasted back."""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from autodrag.images import encode, fitted

SAME, CHANGED = 0.03, 0.1  # shares of the range of a channel: up to one a picture is as it was, from the other it moved
REACH = 1 / 32  # how far around a pixel change is looked for, a share of the shorter side
MAX_SIDE = 4096  # pixels of a photograph that is kept
FEATHER = 1 / 16  # width of the soft border of what is pasted back, a share of the shorter side


@dataclass(frozen=True, eq=False)
class Photo:
    """A photograph and the position of the image in it.

    image: the photograph. place: [2, 3], maps (x, y, 1) in pixels of the image to pixels of the photograph. cut: what
    `picture` returns where the photograph has become too small for it; None: it is cut out of the photograph.
    """

    image: UInt8[np.ndarray, "H W 3"]
    place: Float[np.ndarray, "2 3"]
    cut: UInt8[np.ndarray, "h w 3"] | None = None

    @cached_property
    def png(self) -> bytes:
        """The photograph as a file. Encoded once: a page stores its session after every edit."""
        return encode(self.image, lossless=True)

    @property
    def _scale(self) -> float:
        """Pixels of the photograph per pixel of the image."""
        return float(np.sqrt(abs(np.linalg.det(self.place[:, :2]))))

    def picture(self, resolution: tuple[int, int]) -> UInt8[np.ndarray, "h w 3"]:
        """The part of the photograph that the generator should make; mirrored beyond the photograph's border."""
        if self.cut is not None:
            return self.cut
        height, width = resolution
        source = _smoothed(self.image, self._scale)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(source, self.place, (width, height), flags=flags, borderMode=cv2.BORDER_REFLECT_101)

    def shrunk(self, side: int, resolution: tuple[int, int]) -> "Photo":
        """The photograph at most `side` pixels high and wide, with the `picture` of the whole one.

        Much faster to paste many images into.
        """
        image = fitted(self.image, side)
        shrink = np.divide(image.shape[1::-1], self.image.shape[1::-1])[:, None]  # of x, of y
        place = self.place * shrink
        place[:, 2:] += (shrink - 1) / 2  # the centre of the first pixel is 0
        return Photo(image, place, self.picture(resolution))

    def with_picture(self, picture: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "H W 3"]:
        """The photograph with the image pasted in, with a soft border.

        An image is coarser than most photographs. Where it equals the original crop, the photograph stays, plus small
        changes; where it differs, the image replaces the photograph. An unchanged image leaves no trace.
        """
        size = (self.image.shape[1], self.image.shape[0])
        height, width = picture.shape[:2]
        border = max(1.0, FEATHER * min(height, width))
        y = np.minimum(np.arange(height) + 0.5, height - 0.5 - np.arange(height)) / border
        x = np.minimum(np.arange(width) + 0.5, width - 0.5 - np.arange(width)) / border
        alpha = np.clip(np.minimum(y[:, None], x[None, :]), 0, 1).astype(np.float32)
        alpha = alpha * alpha * (3 - 2 * alpha)
        before = self.picture((height, width))
        moved = alpha * _moved(before, picture)
        share, gone = (cv2.warpAffine(part, self.place, size, flags=cv2.INTER_LINEAR) for part in (alpha, moved))
        old, new = (self._pasted(part, size).astype(np.float32) for part in (before, picture))
        kept = self.image + share[:, :, None] * (new - old) + gone[:, :, None] * (old - self.image)
        return np.clip(np.round(kept), 0, 255).astype(np.uint8)

    def _pasted(self, picture: UInt8[np.ndarray, "h w 3"], size: tuple[int, int]) -> UInt8[np.ndarray, "H W 3"]:
        """The image at its position in the photograph."""
        picture = _smoothed(picture, 1 / self._scale)
        return cv2.warpAffine(picture, self.place, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)


def _moved(before: UInt8[np.ndarray, "h w 3"], picture: UInt8[np.ndarray, "h w 3"]) -> Float[np.ndarray, "h w"]:
    """0 where an image is the same as before, 1 where it differs and around it."""
    change = np.abs(picture.astype(np.float32) - before).max(axis=2) / 255
    radius = max(1, round(REACH * min(change.shape)))
    around = cv2.blur(cv2.dilate(cv2.blur(change, (3, 3)), np.ones((radius, radius), np.uint8)), (radius, radius))
    share = np.clip((around - SAME) / (CHANGED - SAME), 0, 1).astype(np.float32)
    moved: Float[np.ndarray, "h w"] = share * share * (3 - 2 * share)
    return moved


def _smoothed(image: UInt8[np.ndarray, "H W 3"], shrink: float) -> UInt8[np.ndarray, "H W 3"]:
    """Low-pass filtered, to be sampled at every `shrink`-th pixel."""
    return image if shrink <= 1 else cv2.GaussianBlur(image, (0, 0), 0.5 * np.sqrt(shrink**2 - 1))


@dataclass(frozen=True)
class Crop:
    """The part of a photograph that a user selects, in units of the photograph's width.

    x, y: centre. width: of the part. turn: clockwise rotation in degrees.
    """

    x: float
    y: float
    width: float
    turn: float = 0.0


def cropped(image: UInt8[np.ndarray, "H W 3"], resolution: tuple[int, int], crop: Crop) -> Photo:
    """The selected part of the photograph, in the aspect ratio of the image."""
    height, width = resolution
    whole = image.shape[1]
    scale, angle = crop.width * whole / width, np.deg2rad(crop.turn)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.array([crop.x * whole - 0.5, crop.y * whole - 0.5])
    start = middle - turn @ np.array([(width - 1) / 2, (height - 1) / 2])
    return Photo(image, np.concatenate([turn, start[:, None]], axis=1))


def centred(image: UInt8[np.ndarray, "H W 3"], resolution: tuple[int, int]) -> Photo:
    """The largest centred part of the photograph that has the image's aspect ratio."""
    height, width = resolution
    scale = min(image.shape[0] / height, image.shape[1] / width)  # photograph pixels of one picture pixel
    left = (image.shape[1] - scale * width) / 2
    top = (image.shape[0] - scale * height) / 2
    # Centres of pixels: (x + 0.5) * scale + left - 0.5
    place = np.array([[scale, 0, left + (scale - 1) / 2], [0, scale, top + (scale - 1) / 2]])
    return Photo(image, place)


def face(image: UInt8[np.ndarray, "H W 3"], landmarks: Float[np.ndarray, "68 2"], size: int) -> Photo:
    """A face, cropped and rotated as in FFHQ (Karras et al. 2019, appendix A).

    landmarks: iBUG's 68, (x, y) pixels of the photograph. The centre of the square is a little below the eyes, its axis
    along them. Half its side is twice the distance of the eyes or 1.8 times the distance from eyes to mouth, whichever
    is longer.
    """
    left_eye, right_eye = landmarks[36:42].mean(axis=0), landmarks[42:48].mean(axis=0)
    mouth = (landmarks[48] + landmarks[54]) / 2
    eyes = (left_eye + right_eye) / 2
    to_mouth = mouth - eyes
    across = (right_eye - left_eye) - np.array([-to_mouth[1], to_mouth[0]])
    across /= np.hypot(*across)
    across *= max(np.hypot(*(right_eye - left_eye)) * 2.0, np.hypot(*to_mouth) * 1.8)
    down = np.array([-across[1], across[0]])
    corner = eyes + 0.1 * to_mouth - across - down
    pixel = np.stack([across, down], axis=1) * 2 / size  # columns: what a step of one picture pixel is
    return Photo(image, np.concatenate([pixel, (corner + pixel.sum(axis=1) / 2)[:, None]], axis=1))
