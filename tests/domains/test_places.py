"""Places on a face in closed form: they round-trip, and follow the parameters."""

import pytest
import torch

from autodrag.domains.synthface import GEOMETRY, parameters
from autodrag.domains.synthface.correspondence import true_targets
from autodrag.domains.synthface.places import PARTS, Places, places, where

NAMES = [name for name, _, _ in GEOMETRY]
CENTRE = torch.zeros(len(GEOMETRY))


def face(**changed: float) -> torch.Tensor:
    geometry = CENTRE.clone()
    for name, value in changed.items():
        geometry[NAMES.index(name)] = value
    return geometry


def grid() -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(3.0, 256, 4), torch.arange(3.0, 256, 4), indexing="ij")
    return torch.stack([x.flatten(), y.flatten()], dim=1)


def test_places_of_every_part_round_trip() -> None:
    geometry = face(yaw=0.3, roll=-0.5, pitch=0.2, smile=0.4, jaw=0.5)
    found = places(geometry, grid(), 256)
    assert {PARTS[n] for n in found.part.tolist()} == set(PARTS)
    back = where(geometry[None], found, 256)[0]
    known = found.part != PARTS.index("background")
    assert torch.isnan(back[~known]).all()
    assert (back[known] - grid()[known]).norm(dim=1).quantile(0.99) < 0.01


def test_skin_goes_where_the_correspondence_takes_it() -> None:
    first, second = parameters(torch.randn(2, 128, generator=torch.Generator().manual_seed(3)))[0]
    found = places(first, grid(), 256)
    skin = found.part == PARTS.index("skin")
    there = where(second[None], Places(found.part[skin], found.at[skin]), 256)[0]
    torch.testing.assert_close(there, true_targets(first, second, grid()[skin], 256), atol=1e-3, rtol=0)


@pytest.mark.parametrize("part", ["skin", "mouth", "eye left", "brow right", "nose", "cap", "back hair"])
def test_a_shift_moves_all_of_the_head_by_as_much(part: str) -> None:
    before, after = face(), face(shift_x=1.0)
    found = places(before, grid(), 256)
    here = found.part == PARTS.index(part)
    moved = where(after[None], Places(found.part[here], found.at[here]), 256)[0] - grid()[here]
    expected = torch.tensor([0.04 * 128, 0.0]).expand_as(moved)  # half image sides of 128 px
    torch.testing.assert_close(moved, expected, atol=0.05, rtol=0)


def test_an_opening_mouth_lowers_the_lower_lip_alone() -> None:
    closed, opened = face(mouth_open=-0.5), face(mouth_open=1.0)
    found = places(closed, grid(), 256)
    moved = where(opened[None], found, 256)[0] - grid()
    lip = (found.part == PARTS.index("mouth")) & (found.at[:, 1] > 2) & (found.at[:, 0].abs() < 0.5)
    assert lip.any() and (moved[lip, 1] > 4).all()
    others = (found.part != PARTS.index("mouth")) & (found.part != PARTS.index("background"))
    assert moved[others].abs().max() < 0.01


def test_hair_that_grows_takes_its_end_along_and_leaves_its_strands() -> None:
    short, long = face(hair_length=0.0), face(hair_length=0.4)
    found = places(short, grid(), 256)
    side = (found.part == PARTS.index("back hair")) & (grid()[:, 0] > 193)  # beside the skull
    moved = (where(long[None], found, 256)[0] - grid())[side]
    above = grid()[side][:, 1].max() - grid()[side][:, 1]
    assert (moved[above < 2, 1] > 15).all()
    assert moved[above > 16].abs().max() < 0.01


def test_hair_that_gains_volume_takes_its_outline_along_and_leaves_its_strands() -> None:
    flat, full = face(hair_volume=-1.0), face(hair_volume=1.0)
    found = places(flat, grid(), 256)
    beside = (found.part == PARTS.index("back hair")) & ((grid()[:, 1] - 110).abs() < 30)  # at the height of the ears
    moved = (where(full[None], found, 256)[0] - grid())[beside]
    outline = found.at[beside, 0].abs() > 5  # by what `places` adds to coordinates there
    assert outline.any() and (~outline).any()
    assert (moved[outline, 0].abs() > 4).all() and moved[~outline].abs().max() < 0.01
    assert ((moved[outline, 0] > 0) == (grid()[beside][outline, 0] > 128)).all()
