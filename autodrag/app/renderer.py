"""Frames to pictures, with what masks keep of the pictures under them."""

import threading
from collections import OrderedDict
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from autodrag.app.state import Frame
from autodrag.blending import Kept
from autodrag.generator import FrozenGenerator
from autodrag.images import to_bytes

REMEMBERED = 2  # recorded pictures; a 1024 px one takes about 80 MB


class Renderer:
    """Pictures of one generator, noise held. Safe to use from several threads.

    The recorded features of the latest pictures under masks are kept for the next picture; the masks may change.
    """

    def __init__(self, generator: FrozenGenerator) -> None:
        self.generator = generator
        self._lock = threading.RLock()
        self._kept: OrderedDict[Frame, Kept] = OrderedDict()

    def __call__(self, frame: Frame) -> UInt8[np.ndarray, "H W 3"]:
        """The frame as RGB bytes."""
        with torch.no_grad():
            return to_bytes(self.generator.synthesize(self._on_device(frame), keep=self._keep(frame)))

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
