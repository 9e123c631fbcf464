"""A generator whose images are known in closed form."""

import pytest
import torch

from autodrag.generator import FrozenGenerator


class Blob(FrozenGenerator):
    """Features are three smooth bumps whose place is ws[:, 0, :2] pixels from the middle of a 64 x 32 image."""

    def features(self, ws: torch.Tensor, block: int = 6, noise: str = "const", plain: bool = False) -> torch.Tensor:
        y = torch.arange(32.0)[:, None] * 2 + 0.5  # centres of the feature pixels in image pixels
        x = torch.arange(16.0)[None, :] * 2 + 0.5
        dy, dx = y - 31.5 - ws[:, 0, 1, None, None, None], x - 15.5 - ws[:, 0, 0, None, None, None]
        widths = torch.tensor([4.0, 7.0, 11.0])[:, None, None]
        return torch.exp(-(dy**2 + dx**2) / (2 * widths**2))


@pytest.fixture(scope="session")
def blob() -> Blob:
    return Blob(FrozenGenerator.random(resolution=(64, 32), w_dim=32, seed=0).network, "blob")
