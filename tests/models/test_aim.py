"""The aim: the field of displacements, and predictions of an untrained and a trained one."""

from pathlib import Path

import pytest
import torch

from autodrag.errors import InputError
from autodrag.models import Aim, AimConfig
from autodrag.models.aim import EMPTY, GAIN, displacement_field

CONFIG = AimConfig(grid=4, width=16, layers=2)


def test_a_cell_holds_the_mean_displacement_of_the_points_around_it() -> None:
    at = torch.tensor([[[0.25, -0.75], [0.25, -0.75]]])  # both on the centre of the cell in column 2 of row 0
    move = torch.tensor([[[0.1, 0.2], [0.3, -0.4]]])
    field = displacement_field(at, move, None, 4).view(4, 4, 3)
    near = torch.tensor(2.0)
    assert torch.allclose(field[0, 2, :2], GAIN * move[0].sum(dim=0) / (near + EMPTY))
    assert field[0, 2, 2].item() == pytest.approx(2 / 3)
    beside = 2 * torch.exp(torch.tensor(-0.5))  # one cell away
    assert torch.allclose(field[0, 1, :2], GAIN * move[0].mean(dim=0) * beside / (beside + EMPTY))
    assert field[3, 0].abs().max() < 0.05  # far away


def test_padding_and_order_do_not_matter() -> None:
    draw = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    aim = Aim(CONFIG, 8, torch.randn(8, generator=draw), torch.rand(8, generator=draw) + 0.5)
    rows = torch.randn(2, 6, 8, generator=draw)
    handles, targets = 64 * torch.rand(2, 2, 5, 2, generator=draw)
    mask = torch.tensor([[True, True, True, False, False], [True] * 5])
    guess = aim(rows, handles, targets, mask, (64, 64))
    order = [2, 0, 1]
    alone = aim(rows[:1], handles[:1, order], targets[:1, order], None, (64, 64))
    assert torch.allclose(guess[:1], alone, atol=1e-5)
    assert torch.allclose(guess - rows, (guess - rows)[:, :1].expand(-1, 6, -1), atol=1e-5)  # one move for all rows


def test_a_saved_aim_loads_back(tmp_path: Path) -> None:
    aim = Aim(CONFIG, 8, torch.zeros(8), torch.full((8,), 2.0))
    aim.save(tmp_path / "aim.safetensors")
    loaded = Aim.load(tmp_path / "aim.safetensors")
    points = (torch.zeros(1, 6, 8), torch.full((1, 1, 2), 9.0), torch.full((1, 1, 2), 30.0), None, (64, 64))
    assert torch.allclose(loaded(*points), aim(*points), atol=1e-5)
    (tmp_path / "other.safetensors").write_bytes(b"no model")
    with pytest.raises(InputError):
        Aim.load(tmp_path / "other.safetensors")
