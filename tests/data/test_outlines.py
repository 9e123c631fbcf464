"""Edges of an image, and where they go when the latents move."""

import numpy as np
import pytest
import torch

from autodrag.data.outlines import edges, find_outlines, follow
from autodrag.domains.synthface import GEOMETRY, parameters
from autodrag.domains.synthface.parameters import with_parameters
from autodrag.domains.synthface.places import PARTS, places, where
from autodrag.generator import FrozenGenerator
from autodrag.latents import join, split
from autodrag.seeding import rng


def test_edges_lie_on_the_step_of_an_image_with_normals_across() -> None:
    image = torch.full((3, 128, 96), -0.5)
    image[:, :, 40:] = 0.5
    points, normals = edges(image)
    assert len(points) >= 128 // 8
    assert ((points[:, 0] - 39.5).abs() < 2).all()
    assert torch.allclose(normals, torch.tensor([1.0, 0.0]).expand_as(normals), atol=1e-5)


def test_edges_of_a_large_image_are_in_its_own_pixels() -> None:
    image = torch.full((3, 1024, 512), -0.5)
    image[:, 600:] = 0.5
    points, normals = edges(image)
    assert ((points[:, 1] - 599.5).abs() <= 12).all()  # three pixels of the image that edges are found in
    assert torch.allclose(normals, torch.tensor([0.0, 1.0]).expand_as(normals), atol=1e-5)


def test_an_image_without_edges_has_no_outlines(synthface: FrozenGenerator) -> None:
    ends = synthface.map(torch.randn(2, 128, generator=rng(0, "flat")))
    found = find_outlines(synthface, ends, torch.zeros(3, 256, 256), 16, (0, 0))
    assert found.handles.shape == found.targets.shape == found.normals.shape == (0, 2)


def test_points_follow_a_moving_pattern() -> None:
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")

    def blobs(shift: float) -> torch.Tensor:
        centres = torch.tensor([[20.0, 20.0], [40.0, 24.0], [30.0, 44.0]])
        return torch.stack([torch.exp(-((x - cx - shift) ** 2 + (y - cy) ** 2) / 400) for cx, cy in centres]) / 0.05

    frames = torch.stack([blobs(shift) for shift in torch.linspace(0, 8, 9).tolist()])
    start = torch.tensor([[22.0, 21.0], [38.0, 26.0], [31.0, 40.0]])
    ends = follow(frames, start, (64, 64))
    assert (ends - start - torch.tensor([8.0, 0.0])).norm(dim=1).max() < 1.5


@pytest.mark.parametrize("name", ["face_width", "hair_volume"])
def test_hair_without_texture_moves_as_the_renderer_says(synthface: FrozenGenerator, name: str) -> None:
    z = torch.randn(1, 128, generator=rng(3, "outlines"))
    geometry, appearance = parameters(z)
    number = [entry[0] for entry in GEOMETRY].index(name)
    ends = []
    for value in (-0.7, 0.7):
        geometry[:, number] = value
        ends.append(with_parameters(z, geometry, appearance))
    here, there = (parameters(end)[0][0] for end in ends)
    ws = synthface.map(torch.cat(ends))
    ws = torch.cat([ws[:1], join(split(ws[1:])[0], split(ws[:1])[1])])
    image = synthface.synthesize(ws[:1], noise="none")[0]
    found = find_outlines(synthface, ws, image, 1000, (0, 0))
    handles, targets, normals = (torch.from_numpy(part) for part in (found.handles, found.targets, found.normals))
    assert np.allclose(np.linalg.norm(found.normals, axis=1), 1, atol=1e-4)
    seen = places(here, handles, 256)
    truth = ((where(there[None], seen, 256)[0] - handles) * normals).sum(dim=1)
    moved = ((targets - handles) * normals).sum(dim=1)
    hair = (seen.part == PARTS.index("back hair")) & (truth.abs() > 2)
    assert int(hair.sum()) > 10
    assert (moved - truth)[hair].abs().mean() < 0.4 * truth[hair].abs().mean()


def test_the_chosen_edges_depend_on_the_stream_alone(synthface: FrozenGenerator) -> None:
    ws = synthface.map(torch.randn(2, 128, generator=rng(1, "outlines")))
    image = synthface.synthesize(ws[:1], noise="none")[0]
    first, again, other = (find_outlines(synthface, ws, image, 20, (0, index)) for index in (0, 0, 1))
    assert np.array_equal(first.handles, again.handles) and 0 < len(first.handles) <= 20
    assert not np.array_equal(first.handles, other.handles)
