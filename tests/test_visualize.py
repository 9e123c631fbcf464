"""Drawings: bytes, positions of points, sheets."""

from pathlib import Path

import pytest
import torch

from autodrag.errors import InputError
from autodrag.images import to_uint8
from autodrag.visualize import HANDLE, TARGET, draw_points, save_animation, save_image, sheet


def test_bytes_span_the_range() -> None:
    assert to_uint8(torch.tensor([[[-1.0, 0.0, 1.0, 7.0]]])).tolist() == [[[0, 128, 255, 255]]]


def test_points_are_drawn_where_they_are() -> None:
    grey = torch.full((3, 128, 128), 100, dtype=torch.uint8)
    drawn = draw_points(grey, torch.tensor([[20.0, 40.0]]), torch.tensor([[90.0, 70.0]]))
    assert tuple(drawn[:, 40, 20].tolist()) == HANDLE
    assert tuple(drawn[:, 70, 90].tolist()) == TARGET
    assert drawn[:, 55, 55].tolist() != [100, 100, 100]  # the arrow passes here
    assert drawn[:, 100:, :].eq(100).all() and grey.eq(100).all()


def test_sheets_keep_rows_and_columns() -> None:
    images = [torch.full((3, 8, 6), value, dtype=torch.uint8) for value in (10, 20, 30)]
    table = sheet([images[:2], images[2:]], gap=2)
    assert table.shape == (3, 22, 18)
    assert [table[0, 3, 3].item(), table[0, 3, 11].item(), table[0, 13, 3].item()] == [10, 20, 30]
    assert table[0, 13, 11].item() == 255


def test_unknown_formats_are_refused(tmp_path: Path) -> None:
    image = torch.zeros(3, 8, 8, dtype=torch.uint8)
    with pytest.raises(InputError, match=r"\.png or \.jpg"):
        save_image(image, tmp_path / "a.xyz")
    with pytest.raises(InputError, match=r"\.gif or \.mp4"):
        save_animation([image], tmp_path / "a.png")


def test_drawing_leaves_the_picture_alone() -> None:
    picture = torch.zeros(1, 3, 32, 32, dtype=torch.uint8).to(memory_format=torch.channels_last)[0]
    draw_points(picture, torch.tensor([[8.0, 8.0]]), torch.tensor([[20.0, 20.0]]))
    assert picture.max() == 0
