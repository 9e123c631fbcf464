"""Positions of handles on renders with known parameters are exact, and images that are no face count as broken."""

from dataclasses import fields

import pytest
import torch

from autodrag.domains.synthface import GEOMETRY, parameters, render
from autodrag.domains.synthface.fit import Fit, fit
from autodrag.domains.synthface.parameters import with_parameters
from autodrag.domains.synthface.places import BACKGROUND, PARTS, Places, places, where
from autodrag.domains.synthface.reach import reach
from autodrag.domains.synthface.reader import Reader, reader_path
from autodrag.evaluation.tasks.pull_items import candidates
from autodrag.evaluation.truth import BROKEN, BROKEN_PATCH, fit_source, measure

NAMES = [name for name, _, _ in GEOMETRY]
HANDLES = torch.tensor([[128.0, 150.0], [100.0, 120.0], [160.0, 180.0], [4.0, 4.0]])  # the last one on the background


def face(**changed: float) -> tuple[torch.Tensor, torch.Tensor]:
    geometry, appearance = parameters(torch.randn(1, 128, generator=torch.Generator().manual_seed(1)))
    for name, value in changed.items():
        geometry[0, NAMES.index(name)] = value
    return geometry, appearance


def twice(one: Fit) -> Fit:
    return Fit(*(torch.cat([getattr(one, field.name)] * 2) for field in fields(Fit)))


def test_points_of_a_render_follow_known_parameters() -> None:
    first, looks = face(yaw=-0.2, shift_y=0.0)
    second, _ = face(yaw=0.3, shift_y=0.8)
    before, after = (render(g, looks).image for g in (first, second))
    reader = Reader.load(reader_path("synthface"), torch.device("cpu"))
    source = fit_source(reader, before, torch.cat([first, looks], dim=1))
    assert source.residual < 0.04
    truth = where(second, places(first[0], HANDLES, 256), 256)[0]
    found = measure(reader, after, before, source, [HANDLES], [truth])
    assert (truth - HANDLES)[:3].norm(dim=1).min() > 8
    assert (found.points[0] - truth)[:3].norm(dim=1).max() < 2  # half a pixel of the fit's
    assert found.points[0][3].isnan().all() and found.distance < 2
    assert not found.broken.any()
    noise = torch.randn(1, 3, 256, 256, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    assert measure(reader, noise, before, source, [HANDLES], [HANDLES]).broken.all()
    assert measure(reader, -after, before, source, [HANDLES], [HANDLES]).broken.all()  # nor is a negative


def test_a_face_with_a_faded_part_is_broken() -> None:
    geometry, looks = face(yaw=-0.2)
    before = render(geometry, looks).image
    reader = Reader.load(reader_path("synthface"), torch.device("cpu"))
    source = fit_source(reader, before, torch.cat([geometry, looks], dim=1))

    def with_a_pale_band(top: int, share: float) -> torch.Tensor:
        image = before.clone()
        image[:, :, top : top + 40, 70:186] = (1 - share) * before[:, :, top : top + 40, 70:186] + share
        return image

    images = torch.cat([with_a_pale_band(100, 0.4), with_a_pale_band(10, 0.2)])  # across the eyes, and in the hair
    found = measure(reader, images, before.repeat(2, 1, 1, 1), twice(source), [HANDLES] * 2, [HANDLES] * 2)
    assert found.fit.patch[0] > BROKEN_PATCH > 2 * found.fit.patch[1]
    assert found.fit.residual.max() < BROKEN and found.broken.tolist() == [True, False]


def test_a_fit_finds_the_face_of_a_render() -> None:
    geometry, appearance = face()
    known = torch.cat([geometry, appearance], dim=1)
    start = known + 0.1 * torch.randn(known.shape, generator=torch.Generator().manual_seed(2))
    found = fit(render(geometry, appearance, 256).image, start)
    assert found.residual < 0.02 < BROKEN
    seen, points = candidates(geometry[0], 256)
    on_face = seen.part != BACKGROUND
    shown, at = Places(seen.part[on_face], seen.at[on_face]), points[on_face]
    missed, before = (
        (where(g, shown, 256)[0] - at).norm(dim=1).mean() for g in (found.geometry, start[:, : len(GEOMETRY)])
    )
    assert missed < 0.5 < 1 < before


@pytest.mark.parametrize(
    ("part", "changed"),
    [("mouth", {"mouth_open": 0.9, "smile": -0.5}), ("mouth", {"smile": 0.9}), ("nose", {"nose_length": 0.9})],
)
def test_small_parts_that_change_alone_are_seen(part: str, changed: dict[str, float]) -> None:
    first, looks = face(mouth_open=-0.6, smile=-0.5, nose_length=-0.9)
    second, _ = face(**{"mouth_open": -0.6, "smile": -0.5, "nose_length": -0.9, **changed})
    before, after = (render(g, looks).image for g in (first, second))
    seen, points = candidates(first[0], 256)
    handles = points[seen.part == PARTS.index(part)]
    truth = where(second, places(first[0], handles, 256), 256)[0]
    reader = Reader.load(reader_path("synthface"), torch.device("cpu"))
    source = Fit(first, looks, torch.zeros(1), torch.zeros(1))
    found = measure(reader, after, before, source, [handles], [truth])
    assert found.distance < 0.3 * (truth - handles).norm(dim=1).mean()


def test_a_shifted_face_is_reachable_and_a_corner_is_not() -> None:
    geometry, _ = face(shift_x=0.0)
    seen = places(geometry[0], HANDLES[:1], 256)
    moved, _ = face(shift_x=0.9)
    near, far = where(moved, seen, 256), torch.tensor([[[250.0, 250.0]]])
    best = reach(geometry[0], seen, torch.cat([near, far]), 256)
    assert best.distance[0] < 0.5 and best.distance[1] > 50
    assert best.geometry.abs().max() <= 1


def test_points_on_shoulders_are_judged_for_all_faces_together() -> None:
    geometry, _ = face(shift_x=0.0)
    shoulder = torch.tensor([[128.0, 250.0]])
    seen = places(geometry[0], shoulder, 256)
    assert PARTS[seen.part] == "body"
    best = reach(geometry[0], seen, torch.stack([shoulder + torch.tensor([1.0, 0]), shoulder + 40]), 256)
    assert best.distance[0] < 0.1 and best.distance[1] > 20


def test_latents_of_given_parameters_have_these_parameters() -> None:
    z = torch.randn(3, 128, generator=torch.Generator().manual_seed(5))
    geometry, appearance = parameters(z)
    wanted = geometry.clone()
    wanted[:, NAMES.index("smile")] = 0.7
    again = parameters(with_parameters(z, wanted, appearance))
    torch.testing.assert_close(again, (wanted, appearance), atol=1e-4, rtol=0)
    torch.testing.assert_close(parameters(with_parameters(z, geometry, appearance))[0], geometry, atol=1e-4, rtol=0)
