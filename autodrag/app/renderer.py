"""Frames to pictures, with what masks keep of the pictures under them."""

import threading
from collections import OrderedDict

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from autodrag.app.pictures import to_bytes
from autodrag.app.state import Frame
from autodrag.blending import Kept
from autodrag.generator import FrozenGenerator

REMEMBERED = 2  # recorded pictures; a 1024 px one takes about 80 MB


class Renderer:
    """Pictures of one generator, noise held. Safe to use from several threads.

    The recorded features of the pictures under the latest masks are kept for the next picture.
    """

    def __init__(self, generator: FrozenGenerator) -> None:
        self.generator = generator
        self._lock = threading.RLock()
        self._kept: OrderedDict[tuple[Frame, Tensor], Kept] = OrderedDict()

    def __call__(self, frame: Frame) -> UInt8[np.ndarray, "H W 3"]:
        """The frame as RGB bytes."""
        with torch.no_grad():
            with self._lock:
                keep = self._under(frame)
            return to_bytes(self.generator.synthesize(frame.ws.to(self.generator.device), keep=keep))

    def _under(self, frame: Frame) -> Kept | None:
        if frame.under is None or frame.mask is None:
            return None
        key = (frame.under, frame.mask)
        if key not in self._kept:
            ws = frame.under.ws.to(self.generator.device)
            self._kept[key] = self.generator.keep(ws, frame.mask, under=self._under(frame.under))
            while len(self._kept) > REMEMBERED:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]
