"""Optical flow and its expansion, for the paired task and the training of UserControllableLT.

torchvision's RAFT if its weights are installed, otherwise OpenCV's DIS; UserControllableLT used VCN with optical
expansion. Manifests record which one was used.
"""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from autodrag.errors import InputError
from autodrag.images import to_pixels

FLOWS = ("auto", "raft", "dis")
RAFT_UPDATES = 12


class Flow:
    """Optical flow of images in [-1, 1]. `name`: raft or dis."""

    def __init__(self, kind: str = "auto", device: torch.device | str = "cpu") -> None:
        """kind: raft, dis, or auto (raft if its weights are installed). Raises InputError if raft is missing."""
        if kind not in FLOWS:
            raise InputError(f"There is no flow {kind!r}; choose one of {', '.join(FLOWS)}.")
        weights = None if kind == "dis" else _raft_file()
        if kind == "raft" and weights is not None and not weights.is_file():
            raise InputError(
                f"flow=raft needs torchvision's {weights.name}; put it into {weights.parent} or use flow=dis."
            )
        found = weights is not None and weights.is_file()
        self.name = "raft" if found else "dis"
        self._raft = _raft(weights, torch.device(device)) if weights is not None and found else None
        self._dis: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    @torch.no_grad()
    def __call__(self, first: Float[Tensor, "N 3 H W"], second: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N 2 H W"]:
        """Flow (dx, dy) in pixels from `first` to `second`, on the CPU. Sizes must be multiples of 8."""
        if self._raft is not None:
            device = next(self._raft.parameters()).device
            updates = self._raft(first.to(device), second.to(device), num_flow_updates=RAFT_UPDATES)
            return updates[-1].cpu()
        pairs = zip(_gray(first), _gray(second), strict=True)
        return torch.stack([torch.from_numpy(self._dis.calc(a, b, None)).permute(2, 0, 1) for a, b in pairs])


def log_expansion(flow: Float[Tensor, "N 2 H W"], window: int = 15) -> Float[Tensor, "N H W"]:
    """Log of the local scale change: half the log determinant of the flow's Jacobian, smoothed over a window.

    0: constant size; log 2: lengths double. window: odd, in pixels.
    """
    smooth = F.avg_pool2d(F.pad(flow, [window // 2] * 4, mode="replicate"), window, stride=1)
    dy, dx = torch.gradient(smooth, dim=(2, 3))
    determinant = (1 + dx[:, 0]) * (1 + dy[:, 1]) - dx[:, 1] * dy[:, 0]
    return 0.5 * determinant.clamp(min=1e-2).log()


def _gray(images: Float[Tensor, "N 3 H W"]) -> list[np.ndarray]:
    return [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in to_pixels(images)]


def _raft_file() -> Path:
    from torchvision.models.optical_flow import Raft_Large_Weights

    return Path(torch.hub.get_dir()) / "checkpoints" / Path(Raft_Large_Weights.C_T_SKHT_V2.url).name


def _raft(path: Path, device: torch.device) -> torch.nn.Module:
    from torchvision.models.optical_flow import Raft_Large_Weights, raft_large

    assert path.is_file()  # otherwise torchvision would download it
    network: torch.nn.Module = raft_large(weights=Raft_Large_Weights.C_T_SKHT_V2, progress=False)
    return network.to(device).eval()
