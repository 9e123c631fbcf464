"""Landing as a drag method."""

from pathlib import Path

import pytest
import torch

from autodrag.errors import InputError
from autodrag.generator import FrozenGenerator
from autodrag.methods import load_method
from autodrag.methods.landing import LandingMethod
from autodrag.models import Landing, LandingConfig, PointMotion, PointMotionConfig
from autodrag.training.latent_statistics import image_metric, measure, measure_manifold


@pytest.fixture(scope="module")
def weights(tiny: FrozenGenerator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    statistics = measure(tiny, 4, latents=500)
    motion = PointMotion(PointMotionConfig(32), tiny.w_dim, statistics.w_mean, statistics.w_std)
    metric = image_metric(tiny, statistics.w_std, 4, latents=1)
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    Landing(LandingConfig(), motion, measure_manifold(tiny, metric, 1.0, latents=500)).save(path)
    return path


def some_ws(generator: FrozenGenerator, batch: int = 1) -> torch.Tensor:
    return generator.map(torch.randn(batch, generator.z_dim, generator=torch.Generator().manual_seed(5)))


def test_it_yields_n_steps_with_tracked_handles(tiny: FrozenGenerator, weights: Path) -> None:
    method = load_method("landing", tiny, weights=weights, n=3)
    ws = some_ws(tiny)
    steps = list(method.drag(ws, [[20.0, 30.0], [40.0, 12.0]], [[25.0, 35.0], [33.0, 20.0]]))
    assert [bool(step.done) for step in steps] == [False, False, True]
    for step in steps:
        assert torch.equal(step.ws[:, 6:], ws[:, 6:]) and step.points.shape == (2, 2)
        assert step.short is not None and step.short.shape == (1,)
    assert not torch.allclose(steps[-1].ws, ws)


def test_a_drag_of_no_distance_changes_nothing(tiny: FrozenGenerator, weights: Path) -> None:
    ws = some_ws(tiny)
    *_, last = LandingMethod(tiny, weights).drag(ws, [[20.0, 30.0]], [[20.0, 30.0]])
    assert torch.allclose(last.ws, ws, atol=1e-4) and not bool(last.short)


def test_a_following_drag_goes_on_and_a_new_one_does_not(tiny: FrozenGenerator, weights: Path) -> None:
    ws, other = some_ws(tiny, 2).split(1)
    handles, near, far = [[20.0, 30.0]], [[22.0, 31.0]], [[26.0, 34.0]]
    followed = LandingMethod(tiny, weights, follow=True)
    (first,), (second,) = (list(followed.drag(ws, handles, target)) for target in (near, far))
    assert bool(second.done) and not torch.allclose(first.ws, second.ws)
    fresh = LandingMethod(tiny, weights, follow=True)
    for again in (ws, other):  # from another image, nothing of the drag before is left
        (expected,) = LandingMethod(tiny, weights, follow=True).drag(again, handles, near)
        (new,) = fresh.drag(again, handles, near)
        assert torch.allclose(new.ws, expected.ws, atol=1e-5)
    whole, after = LandingMethod(tiny, weights), LandingMethod(tiny, weights)
    list(after.drag(ws, handles, near))
    for one, two in zip(whole.drag(ws, handles, far), after.drag(ws, handles, far), strict=True):
        assert torch.allclose(one.ws, two.ws, atol=1e-5)  # without follow, each drag starts anew


def test_images_of_a_batch_with_other_numbers_of_points(tiny: FrozenGenerator, weights: Path) -> None:
    method, ws = LandingMethod(tiny, weights), some_ws(tiny, 2)
    handles = [[[20.0, 30.0], [40.0, 12.0]], [[10.0, 50.0]]]
    targets = [[[22.0, 30.0], [40.0, 15.0]], [[14.0, 50.0]]]
    *_, both = method.drag(ws, handles, targets)
    *_, second = method.drag(ws[1:], handles[1], targets[1])
    assert torch.allclose(both.ws[1:], second.ws, atol=1e-3)
    assert [len(points) for points in both.points] == [2, 1]


def test_impossible_options_give_a_clear_error(tiny: FrozenGenerator, weights: Path) -> None:
    with pytest.raises(InputError, match="at least one step"):
        LandingMethod(tiny, weights, n=0)
    other = FrozenGenerator.random(resolution=(64, 64), w_dim=16)
    with pytest.raises(InputError, match="width 32"):
        LandingMethod(other, weights)
    with pytest.raises(InputError, match="stage=motion"):
        LandingMethod(tiny)
