"""The outside of a mask stays exactly, at every block, for every architecture."""

import pytest
import torch
from torch.nn.functional import max_pool2d

from autodrag.blending import inner_edge, shrunk
from autodrag.errors import InputError
from autodrag.generator import FrozenGenerator


def pictures(generator: FrozenGenerator, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents of a picture and of the same with other rows 0-5."""
    ws = generator.map(torch.randn(2, generator.z_dim, generator=torch.Generator().manual_seed(seed)))
    return ws[:1], torch.cat([ws[1:, :6], ws[:1, 6:]], dim=1)


def box(generator: FrozenGenerator) -> torch.Tensor:
    height, width = generator.resolution
    mask = torch.zeros(height, width)
    mask[height // 4 : height // 2, width // 8 : width // 2] = 1
    return mask


@pytest.mark.parametrize("architecture", ["skip", "orig", "resnet"])
@pytest.mark.parametrize("resolution", [(64, 64), (64, 32)])
def test_only_the_inside_of_a_mask_changes(architecture: str, resolution: tuple[int, int]) -> None:
    generator = FrozenGenerator.random(resolution=resolution, architecture=architecture)
    before, after = pictures(generator)
    mask = box(generator)
    with torch.no_grad():
        old, new = generator.synthesize(before), generator.synthesize(after)
        mixed = generator.synthesize(after, keep=generator.keep(before, mask))
    assert torch.equal(mixed[:, :, mask == 0], old[:, :, mask == 0])
    inside = inner_edge(mask[None, None])[0, 0] == 1
    assert inside.any()
    nearer_new = (mixed - new).abs()[:, :, inside].mean() < (mixed - old).abs()[:, :, inside].mean()
    assert nearer_new


def test_keeping_nothing_or_everything(tiny: FrozenGenerator) -> None:
    before, after = pictures(tiny)
    with torch.no_grad():
        everything = tiny.synthesize(after, keep=tiny.keep(before, torch.zeros(64, 64)))
        nothing = tiny.synthesize(after, keep=tiny.keep(before, torch.ones(64, 64)))
        same = tiny.synthesize(before, keep=tiny.keep(before, box(tiny)))
        assert torch.equal(everything, tiny.synthesize(before))
        assert torch.equal(same, tiny.synthesize(before))
        assert torch.allclose(nothing, tiny.synthesize(after), atol=1e-5)


def test_a_kept_image_may_itself_be_blended(tiny: FrozenGenerator) -> None:
    before, after = pictures(tiny)
    mask = box(tiny)
    other = mask.flip(1)
    with torch.no_grad():
        first = tiny.keep(before, mask)
        mixed = tiny.synthesize(after, keep=first)
        again = tiny.synthesize(after, keep=tiny.keep(after, other, under=first))
    assert torch.equal(again[:, :, other == 0], mixed[:, :, other == 0])


def test_blending_a_batch_equals_blending_single_images(tiny: FrozenGenerator) -> None:
    before, after = pictures(tiny)
    keep = tiny.keep(before, box(tiny))
    with torch.no_grad():
        both = tiny.synthesize(torch.cat([after, before]), keep=keep)
        assert torch.allclose(both[:1], tiny.synthesize(after, keep=keep), atol=1e-5)
        assert torch.allclose(both[1:], tiny.synthesize(before), atol=1e-5)


def test_edges() -> None:
    mask = torch.zeros(1, 1, 256, 256)
    mask[..., 64:192, 64:192] = 1
    edge = inner_edge(mask)
    assert (edge[mask == 0] == 0).all()
    assert edge[0, 0, 128, 128] == 1
    assert edge[0, 0, 128, 64] < 0.3
    assert (edge[0, 0, 128].diff()[:127] >= 0).all()
    assert torch.equal(inner_edge(torch.ones_like(mask)), torch.ones_like(mask))
    small = shrunk(mask, (32, 32))
    assert small.shape == (1, 1, 32, 32)
    assert small.max() <= 1
    assert small[0, 0, 0, 0] == 0
    assert small[0, 0, 16, 16] == 1


def test_a_mask_of_another_size_is_refused(tiny: FrozenGenerator) -> None:
    with pytest.raises(InputError, match="mask"):
        tiny.keep(pictures(tiny)[0], torch.ones(3, 3))


def edges(image: torch.Tensor) -> torch.Tensor:
    """How steep the image is, [H - 1, W - 1]."""
    rows, columns = image.diff(dim=2)[..., :-1], image.diff(dim=3)[..., :-1, :]
    return (rows.square() + columns.square()).sum(dim=1).sqrt()[0]


@pytest.mark.parametrize("seed", [1, 3])
def test_there_is_no_visible_seam(synthface: FrozenGenerator, seed: int) -> None:
    """Near the border the blended face has no steeper gradients than its parts; a pasted one would."""
    before, after = pictures(synthface, seed)
    after = torch.cat([torch.lerp(before[:, :6], after[:, :6], 0.3), before[:, 6:]], dim=1)
    mask = torch.zeros(256, 256)
    mask[60:150, 50:206] = 1
    with torch.no_grad():
        old, new = synthface.synthesize(before), synthface.synthesize(after)
        mixed = synthface.synthesize(after, keep=synthface.keep(before, mask))
    border = (max_pool2d(mask[None], 7, 1, 3) + max_pool2d(-mask[None], 7, 1, 3))[0, :-1, :-1] > 0
    steepness = [float(edges(image)[border].mean()) for image in (old, new, mixed, torch.where(mask == 1, new, old))]
    assert steepness[2] < 1.02 * max(steepness[:2]) < steepness[3]
