"""A draft equals the picture where nothing moved, and is close to it elsewhere."""

import pytest
import torch
from torch.nn import functional as F

from autodrag.drafts import Draft
from autodrag.generator import FrozenGenerator


def dragged(generator: FrozenGenerator, share: float = 0.3) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents of a picture, and of one whose rows 0-5 have gone a part of the way to another's."""
    ws = generator.map(torch.randn(2, generator.z_dim, generator=torch.Generator().manual_seed(3)), psi=0.7)
    moved = torch.lerp(ws[:1], ws[1:], share)
    return ws[:1], torch.cat([moved[:, :6], ws[:1, 6:]], dim=1)


@pytest.mark.parametrize("less", [1, 2])
def test_the_picture_that_taught_a_draft_comes_back(tiny: FrozenGenerator, less: int) -> None:
    ws, _ = dragged(tiny)
    with torch.no_grad():
        picture = tiny.synthesize(ws)
        again = Draft(tiny, ws, picture, tiny.num_blocks - less)(ws)
    assert torch.allclose(again, picture, atol=1e-4)


def test_a_draft_is_near_the_picture_and_a_later_block_nearer(synthface: FrozenGenerator) -> None:
    ws, moved = dragged(synthface)
    with torch.no_grad():
        first, whole = synthface.synthesize(ws), synthface.synthesize(moved)
        drafts = [Draft(synthface, ws, first, synthface.num_blocks - less)(moved) for less in (1, 2)]
        raw = [synthface.begun(moved, synthface.num_blocks - less)[1] for less in (1, 2)]
    change = (whole - first).abs().mean().item()
    far = [(draft - whole).abs().mean().item() for draft in drafts]
    crude = [(F.interpolate(image, whole.shape[2:], mode="bilinear") - whole).abs().mean().item() for image in raw]
    assert far[0] < 1.5 / 127.5  # levels of 255 that no eye sees
    assert far[0] < far[1] < change / 2
    assert far[0] < crude[0] / 4
    assert far[1] < crude[1] / 4


def test_what_a_mask_keeps_stays_in_a_draft(tiny: FrozenGenerator) -> None:
    ws, moved = dragged(tiny)
    mask = torch.zeros(64, 64)
    mask[16:40, 16:40] = 1
    with torch.no_grad():
        keep = tiny.keep(ws, mask)
        picture = tiny.synthesize(ws)
        draft = Draft(tiny, ws, picture, tiny.num_blocks - 1, keep)(moved, keep)
    outside = (draft - picture).abs().mean(dim=1)[0]
    assert outside[:8].max() < 0.02  # far from the mask
    assert (draft - picture).abs()[:, :, 20:36, 20:36].mean() > 0.02
