"""From frames to images: what masks keep of earlier images, and drafts while the pointer moves."""

import threading
from collections import OrderedDict
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from autodrag.blending import Kept
from autodrag.drafts import Draft
from autodrag.editor.photo_detail import PhotoDetail
from autodrag.editor.state import Frame
from autodrag.generator import FrozenGenerator, as_rgb
from autodrag.images import to_bytes
from autodrag.latents import EDITED_ROWS

REMEMBERED = 2  # recorded pictures; a 1024 px one takes about 80 MB
LEAST_HEIGHT = 32  # pixels that a draft is computed at


class Renderer:
    """Pictures of one generator, noise held. Safe to use from several threads.

    detail: what a photograph adds to all of them. The recorded features of the latest pictures under masks are kept for
    the next picture; the masks may change. The last whole picture is kept for drafts.
    """

    def __init__(self, generator: FrozenGenerator, detail: PhotoDetail | None = None) -> None:
        self.generator, self.detail = generator, detail
        self._lock = threading.RLock()
        self._kept: OrderedDict[Frame, Kept] = OrderedDict()
        self._last: tuple[Frame, Tensor] | None = None
        self._drafts: dict[int, Draft] = {}  # by block, all taught by the last picture

    def __call__(self, frame: Frame) -> UInt8[np.ndarray, "H W 3"]:
        """The frame as RGB bytes."""
        with torch.no_grad():
            return to_bytes(self._detailed(self._whole(frame), frame))

    def draft(self, frame: Frame, less: int) -> UInt8[np.ndarray, "H W 3"]:
        """A draft of the frame as RGB bytes, without the last `less` blocks of the generator where possible.

        The first draft of a scene, a mask or a style is a whole image, from which the later ones are corrected.
        """
        generator, heights = self.generator, [height for height, _ in self.generator.block_resolutions]
        block = max(generator.num_blocks - less, sum(height < LEAST_HEIGHT for height in heights) + 1)
        if block >= generator.num_blocks or generator.config.architecture != "skip":
            return self(frame)
        with torch.no_grad():
            with self._lock:
                if self._last is None or not _alike(self._last[0], frame):
                    return to_bytes(self._detailed(self._whole(frame), frame))
                taught, picture = self._last
                if block not in self._drafts:
                    ws = self._on_device(taught)
                    self._drafts[block] = Draft(generator, ws, picture, block, self._under(taught))
                draft, keep = self._drafts[block], self._under(frame)
            return to_bytes(self._detailed(draft(self._on_device(frame), keep), frame))

    def _whole(self, frame: Frame) -> Float[Tensor, "1 c H W"]:
        picture = self.generator.synthesize(self._on_device(frame), keep=self._keep(frame))
        with self._lock:
            self._last, self._drafts = (frame, picture), {}
        return picture

    def _detailed(self, picture: Float[Tensor, "1 c H W"], frame: Frame) -> Float[Tensor, "1 C H W"]:
        return picture if self.detail is None else self.detail(as_rgb(picture), frame.ws, frame.mask)

    def features(self, frame: Frame, block: int) -> Float[Tensor, "1 C h w"]:
        """Output of a block for the frame as it is shown: what its mask keeps is in it."""
        keep = self._keep(frame)
        with torch.no_grad():
            if keep is None:
                return self.generator.features(self._on_device(frame), block=block)
            return self.generator.synthesize(self._on_device(frame), return_features=block, keep=keep)[1]

    def _on_device(self, frame: Frame) -> Float[Tensor, "1 L D"]:
        return frame.ws.to(self.generator.device)

    def _keep(self, frame: Frame) -> Kept | None:
        with self._lock:
            return self._under(frame)

    def _under(self, frame: Frame) -> Kept | None:
        if frame.under is None or frame.mask is None:
            return None
        if frame.under not in self._kept:
            ws = self._on_device(frame.under)
            self._kept[frame.under] = self.generator.keep(ws, frame.mask, under=self._under(frame.under))
            while len(self._kept) > REMEMBERED:
                self._kept.popitem(last=False)
        self._kept.move_to_end(frame.under)
        kept = self._kept[frame.under]
        return replace(kept, mask=frame.mask.to(kept.mask)[None, None])


def _alike(one: Frame, other: Frame) -> bool:
    """Whether the blocks that a drag leaves alone make the pictures of both, around the same kept picture.

    Masks may differ: what one of them shows and the other does not is a change like motion.
    """
    return one.under is other.under and torch.equal(one.ws[:, EDITED_ROWS:], other.ws[:, EDITED_ROWS:])
