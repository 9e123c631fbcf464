"""A photograph's own detail: whole where nothing moved, carried along where something did, gone where all is new."""

from typing import Any

import torch
from torch import Tensor, nn

from autodrag.editor.photo_detail import PhotoDetail
from autodrag.generator import FrozenGenerator
from autodrag.models import PointMotion

SIZE = (64, 64)


class Painted(FrozenGenerator):
    """Its picture is a soft spot, placed by the first number of its latents, in pixels."""

    device = torch.device("cpu")

    def __init__(self) -> None:
        self.resolution = SIZE

    def synthesize(self, ws: Tensor) -> Tensor:
        y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
        square = (x - 32 - ws[0, 0, 0]) ** 2 + (y - 32) ** 2
        return torch.exp(-square / 200).expand(1, 3, -1, -1)


class Shift(PointMotion):
    """Everything goes where the spot goes."""

    def __init__(self) -> None:
        nn.Module.__init__(self)

    def codes(self, rows: Tensor, points: Tensor, image_hw: Any) -> Tensor:
        return points

    def places(self, rows: Tensor, codes: Tensor) -> Tensor:
        return codes.new_tensor([2 / 64, 0.0]) * rows[:, :1, :1] + torch.zeros_like(codes)


def at(x: int | float) -> Tensor:
    return torch.full((1, 10, 4), float(x))


def detail_of(motion: Any) -> tuple[Painted, Tensor, PhotoDetail]:
    """A photograph: the spot with a fine stripe on it."""
    painted = Painted()
    photo = painted.synthesize(at(0)).clone()
    photo[:, :, 20:44, 31:34] += 0.5
    return painted, photo, PhotoDetail(painted, at(0), photo, motion)


def test_an_unchanged_picture_is_the_photograph() -> None:
    for motion in (None, Shift()):
        painted, photo, detail = detail_of(motion)
        assert torch.allclose(detail(painted.synthesize(at(0)), at(0)), photo, atol=1e-5)


def test_the_detail_goes_where_what_it_lies_on_goes() -> None:
    painted, photo, detail = detail_of(Shift())
    moved = detail(painted.synthesize(at(12)), at(12))
    assert torch.allclose(moved[..., 14:50], photo[..., 2:38], atol=0.02)
    held = torch.zeros(SIZE)
    still = detail(painted.synthesize(at(0)), at(12), held)  # a mask that lets nothing change
    assert torch.allclose(still, photo, atol=1e-5)


def test_without_motion_the_detail_fades_where_the_picture_changed() -> None:
    painted, _, detail = detail_of(None)
    far = painted.synthesize(at(30))
    left = (detail(far, at(30)) - far).abs()
    assert left[:, :, 26:38, 31:34].max() < 0.05  # the spot has gone from under the stripe
    near = painted.synthesize(at(0.2))
    kept = (detail(near, at(0.2)) - near)[:, :, 24:40, 32]
    assert kept.min() > 0.45


def test_a_real_generator_and_its_own_motion(synthface: FrozenGenerator) -> None:
    """Of the domain that ships: eyes painted over stay painted over when the face is dragged."""
    from autodrag.methods import load_method

    ws = synthface.map(torch.randn(1, synthface.z_dim, generator=torch.Generator().manual_seed(1)), psi=0.7)
    method = load_method("landing", synthface)
    with torch.no_grad():
        before = synthface.synthesize(ws)
        photo = before.clone()
        photo[:, 1, 128:150, 110:146] += 0.5  # a green patch on the nose
        *_, last = method.drag(ws, torch.tensor([[128.0, 139.0]]), torch.tensor([[138.0, 139.0]]))
        after = synthface.synthesize(last.ws)
    carried = PhotoDetail(synthface, ws, photo, method.model.motion)(after, last.ws) - after
    columns = carried[0, 1, 132:146].clamp(min=0).sum(dim=0)
    middle = (columns * torch.arange(256.0)).sum() / columns.sum()
    assert 132 < middle < 144  # 127.5 before; the nose went 10 px
