"""The example of another generator: its renderer, the fit that judges it, and its training."""

import importlib
from pathlib import Path
from types import ModuleType

import pytest
import torch

from autodrag import load_generator

FOLDER = Path(__file__).parents[1] / "examples" / "mushroom"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch):
    """A module of the example; its scripts import each other by name."""
    monkeypatch.syspath_prepend(str(FOLDER))

    def module(name: str) -> ModuleType:
        return importlib.import_module(name)

    return module


def draw(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    both = torch.tanh(0.65 * torch.randn(count, 12, generator=generator))
    return both[:, :7], both[:, 7:]


def test_places_of_a_mushroom_are_found_where_they_were(load) -> None:
    renderer = load("renderer")
    geometry, _ = draw(5)
    points = torch.rand(5, 300, 2, generator=torch.Generator().manual_seed(1)) * 63
    seen = renderer.places(geometry, points)
    on = seen.part != renderer.BACKGROUND
    assert (seen.part == renderer.CAP).any()
    assert (seen.part == renderer.STEM).any()
    torch.testing.assert_close(renderer.where(geometry, seen)[on], points[on], rtol=0, atol=1e-4)


def test_the_fit_finds_the_mushroom_of_an_image(load) -> None:
    renderer, fit = load("renderer"), load("fit")
    geometry, colours = draw(2)
    found = fit.fit(renderer.render(geometry, colours), torch.zeros_like(geometry), colours)
    assert found.residual.max() < 1e-3
    torch.testing.assert_close(found.geometry, geometry, rtol=0, atol=1e-2)


def test_a_target_that_no_mushroom_reaches_is_out_of_reach(load) -> None:
    renderer, fit = load("renderer"), load("fit")
    geometry, _ = draw(1)
    seen = renderer.Places(torch.tensor([[renderer.CAP]]), torch.tensor([[0.0]]), torch.tensor([[-0.9]]))
    here = renderer.where(geometry, seen)
    near = fit.reach(geometry, seen, here + torch.tensor([3.0, 2.0]), renderer.SIZE)
    far = fit.reach(geometry, seen, torch.tensor([[[5.0, 62.0]]]), renderer.SIZE)
    assert near.item() < 0.2
    assert far.item() > 10


def test_a_few_steps_of_training_write_a_generator_that_loads(load, tmp_path: Path) -> None:
    train = load("train")
    path = tmp_path / "mushroom.safetensors"
    train.train(path, images=64, batch=8, seed=0, low=False)
    generator = load_generator(path)
    assert generator.synthesize(generator.map(torch.zeros(1, 32) + 0.1)).shape == (1, 3, 64, 64)


def test_training_lowers_the_error(load) -> None:
    train = load("train")
    from autodrag.stylegan2 import Generator

    network = Generator(train.CONFIG)
    z = torch.randn(2, 4, 32, generator=torch.Generator().manual_seed(0))
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    first = train.loss_of(network, z, False)[0].item()
    for _ in range(15):
        optimiser.zero_grad()
        loss, _ = train.loss_of(network, z, False)
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.7 * first


def test_pulls_are_judged_by_where_the_point_has_gone(load) -> None:
    """Three edits: onto the target, not at all, and into noise, which no mushroom resembles."""
    renderer, fit, pulls = load("renderer"), load("fit"), load("pulls")
    geometry, colours = (part[:1].expand(3, -1) for part in draw(1))
    moved = geometry + torch.tensor([0.3, 0.2, 0, 0, 0, 0, 0])
    seen = renderer.Places(*(torch.full((3, 1), value) for value in (renderer.CAP, 0.1, -0.5)))
    handles, targets = renderer.where(geometry, seen), renderer.where(moved, seen)
    images = renderer.render(geometry, colours)
    source = fit.Fit(geometry, colours, torch.zeros(3))
    asked = pulls.Pulls(torch.zeros(3, 10, 64), images, source, handles, seen, targets[None], limit=0.05)
    noise = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    edited = torch.cat([renderer.render(moved, colours)[:1], images[1:2], noise])
    numbers = pulls._numbers(asked, targets, edited)
    assert numbers["broken"] == pytest.approx(1 / 3, abs=1e-3) and numbers["in_reach"] == 3
    assert numbers["left"] == pytest.approx(0.5, abs=0.02) == numbers["left_in_reach"]
    assert pulls._numbers(asked, targets, noise.expand(3, -1, -1, -1))["left"] is None
