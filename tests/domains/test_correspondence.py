"""The renderer's true correspondence, in closed form."""

import torch

from autodrag.domains.synthface.canvas import MAPS
from autodrag.domains.synthface.correspondence import on_skin, true_targets
from autodrag.domains.synthface.parameters import GEOMETRY

NAMES = [name for name, _, _ in GEOMETRY]
HALF_RANGE = {name: half for name, _, half in GEOMETRY}
POINTS = torch.tensor([[128.0, 120.0], [110.3, 140.8], [150.0, 100.5]])


def face(**parameters: float) -> torch.Tensor:
    vector = torch.zeros(len(NAMES))
    for name, value in parameters.items():
        vector[NAMES.index(name)] = value
    return vector


def test_nothing_moves_when_nothing_changes() -> None:
    same = face(yaw=0.5, roll=-0.4)
    assert torch.allclose(true_targets(same, same, POINTS, 256), POINTS, atol=1e-2)


def test_a_shift_moves_every_point_alike() -> None:
    moved = true_targets(face(), face(shift_x=1.0), POINTS, 256)
    expected = POINTS + torch.tensor([HALF_RANGE["shift_x"] * 128, 0.0])
    assert torch.allclose(moved, expected, atol=1e-2)


def test_there_and_back() -> None:
    first, second = face(yaw=0.3, pitch=-0.2, scale=0.5), face(yaw=-0.4, roll=0.6, face_width=-0.5)
    there = true_targets(first, second, POINTS, 256)
    assert (there - POINTS).norm(dim=1).min() > 3
    assert torch.allclose(true_targets(second, first, there, 256), POINTS, atol=0.05)


def test_features_of_the_face_are_not_skin() -> None:
    maps = torch.zeros(len(MAPS), 8, 8)
    maps[MAPS.index("head")] = 1
    maps[MAPS.index("eye"), 2, 5] = 1
    points = torch.tensor([[5.2, 1.9], [2.0, 5.0]])
    assert on_skin(maps, points).tolist() == [False, True]
