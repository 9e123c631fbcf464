"""The renderer: deterministic, its landmarks and its surface exact."""

import pytest
import torch

from autodrag.domains.synthface import APPEARANCE, GEOMETRY, Z_DIM, parameters, render
from autodrag.domains.synthface.canvas import MAPS
from autodrag.domains.synthface.correspondence import true_targets
from autodrag.domains.synthface.parameters import coordinates, projection, values
from autodrag.domains.synthface.surface import Head
from autodrag.seeding import rng


def faces(count: int, size: int = 64):
    z = torch.randn(count, Z_DIM, generator=rng(5, "test/faces"))
    geometry, appearance = parameters(z)
    return geometry, appearance, render(geometry, appearance, size)


def changed(geometry: torch.Tensor, **entries: float) -> torch.Tensor:
    names = [name for name, _, _ in GEOMETRY]
    moved = geometry.clone()
    for name, value in entries.items():
        moved[:, names.index(name)] = value
    return moved


def test_parameters_depend_on_the_direction_of_z_alone():
    z = torch.randn(4, Z_DIM, generator=rng(1, "test/z"))
    torch.testing.assert_close(coordinates(3.7 * z), coordinates(z), rtol=1e-5, atol=1e-5)
    rows = projection()
    torch.testing.assert_close(rows @ rows.T, torch.eye(len(rows)), rtol=0, atol=1e-5)


def test_shapes_ranges_and_determinism():
    geometry, appearance, first = faces(3)
    second = render(geometry, appearance, 64)
    assert first.image.shape == (3, 3, 64, 64) and first.landmarks.shape == (3, 68, 2)
    assert first.maps.shape == (3, len(MAPS), 64, 64)
    assert first.image.abs().max() <= 1 and torch.isfinite(first.image).all()
    torch.testing.assert_close(second.image, first.image, rtol=0, atol=1e-6)
    torch.testing.assert_close(second.landmarks, first.landmarks, rtol=0, atol=1e-4)


def test_a_batch_of_one_is_a_batch_of_many():
    geometry, appearance, together = faces(3)
    alone = render(geometry[1:2], appearance[1:2], 64)
    torch.testing.assert_close(alone.image[0], together.image[1], rtol=0, atol=2e-5)
    torch.testing.assert_close(alone.landmarks[0], together.landmarks[1], rtol=0, atol=1e-4)


def test_appearance_moves_nothing_and_geometry_recolours_nothing():
    geometry, appearance, first = faces(2)
    second = render(geometry, -appearance, 64)
    torch.testing.assert_close(second.landmarks, first.landmarks, rtol=0, atol=1e-4)
    torch.testing.assert_close(second.maps, first.maps, rtol=0, atol=1e-5)
    assert (first.image - second.image).abs().mean() > 0.05


@pytest.mark.parametrize("name", [name for name, _, _ in GEOMETRY])
def test_every_geometry_parameter_does_something(name: str):
    low, high = (
        render(changed(torch.zeros(1, len(GEOMETRY)), **{name: v}), torch.zeros(1, len(APPEARANCE)), 64)
        for v in (-1, 1)
    )
    assert (low.image - high.image).abs().mean() > 5e-4


def test_the_surface_inverts_the_projection():
    geometry, _, _ = faces(6)
    head = Head(values(geometry, GEOMETRY))
    longitude = torch.linspace(-0.6, 0.6, 7).repeat(6, 1)[:, None]
    latitude = torch.linspace(-0.5, 0.9, 7).repeat(6, 1)[:, None]
    seen = head.surface(*head.local(*head.project(longitude, latitude)))
    torch.testing.assert_close(seen.longitude, longitude, rtol=0, atol=2e-4)
    torch.testing.assert_close(seen.latitude, latitude, rtol=0, atol=2e-4)
    torch.testing.assert_close(torch.stack(seen.normal).norm(dim=0), torch.ones(6, 1, 7), rtol=0, atol=1e-4)


def test_a_shift_moves_every_landmark_and_surface_point_alike():
    geometry = torch.zeros(1, len(GEOMETRY))
    moved = changed(geometry, shift_x=1.0)
    looks = torch.zeros(1, len(APPEARANCE))
    before, after = render(geometry, looks, 256), render(moved, looks, 256)
    expected = torch.tensor([0.04 * 128, 0.0])
    torch.testing.assert_close(after.landmarks - before.landmarks, expected.expand(1, 68, 2), rtol=0, atol=1e-3)
    points = torch.tensor([[120.0, 110.0], [140.0, 160.0]])
    torch.testing.assert_close(true_targets(geometry[0], moved[0], points, 256), points + expected, rtol=0, atol=1e-2)


def test_landmarks_lie_on_the_features_they_name():
    _, _, drawn = faces(8, 256)
    maps = dict(zip(MAPS, drawn.maps.unbind(1), strict=True))

    def near(name: str, index: int) -> torch.Tensor:
        """Largest value of a map within 3 px of a landmark, per image."""
        spots = drawn.landmarks[:, index].round().long()
        return torch.stack(
            [maps[name][b, y - 3 : y + 4, x - 3 : x + 4].max() for b, (x, y) in enumerate(spots.tolist())]
        )

    for name, index in (("eye", 36), ("eye", 45), ("brow", 19), ("lip", 51), ("lip", 57), ("nose", 30)):
        assert near(name, index).min() > 0.2, (name, index)


def test_a_turned_head_turns_its_nose_most():
    looks, turned = torch.zeros(1, len(APPEARANCE)), changed(torch.zeros(1, len(GEOMETRY)), yaw=0.8)
    motion = (render(turned, looks, 64).landmarks - render(torch.zeros_like(turned), looks, 64).landmarks)[0, :, 0]
    assert motion[30] > motion[27] > 0 and motion[30] > motion[39] > 0
