"""Images that a page shows: frames, the mask, steps of the motion and of the history."""

from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

from autodrag.app.events import Look
from autodrag.editor.history import Moment
from autodrag.editor.session import Editor
from autodrag.editor.state import Frame
from autodrag.images import encode, fitted
from autodrag.masks import to_levels
from autodrag.pictures import read_picture

THUMBNAIL = 96  # pixels
PREVIEW = 2048  # pixels


def of_frame(editor: Editor, frame: Frame, final: bool, lane: str = "main", **header: Any) -> Look:
    """A frame, with its points."""
    return Look.of_frame(editor.render, frame, final, lane, **header)


def of_motion(editor: Editor, index: int, motion: int) -> Look:
    """The frame of the motion nearest to the index; below 0 the photograph. motion: as in `describe`."""
    frames, scene = editor.state.motion, editor.scene
    if index < 0 and scene.photo is not None:
        photograph = partial(scene.photo.picture, scene.generator.resolution)
        return Look("scrub", photograph, True, {"points": [], "index": index, "motion": motion})
    index = min(max(0, index), len(frames) - 1)
    return of_frame(editor, frames[index], final=True, lane="scrub", index=index, motion=motion)


def of_history(editor: Editor, index: int) -> Look:
    """The thumbnail of a state of the history; the last one if the index is too large."""
    moments = editor.history.moments
    moment = moments[min(index, len(moments) - 1)]
    return Look(f"moment {moment.number}", partial(thumbnail, moment), False, {"points": [], "moment": moment.number})


def of_mask(editor: Editor) -> Look:
    """The mask; the session must have one."""
    assert editor.mask is not None  # callers know
    return Look("mask", partial(mask_picture, editor.mask), True)


def mask_picture(mask: Float[Tensor, "H W"]) -> UInt8[np.ndarray, "H W 3"]:
    """White where the image may change."""
    return np.ascontiguousarray(to_levels(mask)[:, :, None].expand(-1, -1, 3).numpy())


def thumbnail(moment: Moment) -> UInt8[np.ndarray, "h w 3"]:
    """The image of a state, at most THUMBNAIL pixels high and wide."""
    return fitted(moment.scene.renderer(moment.state.frame), THUMBNAIL)


def preview(data: bytes) -> bytes:
    """A user's image as it is read here, as a JPEG of at most PREVIEW pixels. Raises InputError if it is none."""
    return encode(fitted(read_picture(data), PREVIEW), lossless=False)
