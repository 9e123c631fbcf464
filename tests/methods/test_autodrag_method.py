"""AutoDrag as a drag method."""

from collections.abc import Iterator
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from autodrag.errors import InputError
from autodrag.generator import FrozenGenerator
from autodrag.graphs import Graphed
from autodrag.methods.autodrag import AutoDragMethod, in_bucket
from autodrag.models import (
    AutoDrag,
    Landing,
    LandingConfig,
    Manifold,
    ModelConfig,
    PointMotion,
    PointMotionConfig,
    PredictorConfig,
    RegularizerConfig,
)
from autodrag.tracking import Tracker
from autodrag.training.latent_statistics import domain_shape, measure

MODEL = ModelConfig(
    predictor=PredictorConfig(width=32, heads=4, encoder_layers=1, decoder_layers=1, mlp_ratio=2.0),
    regularizer=RegularizerConfig(width=32, heads=4, encoder_layers=1, decoder_layers=1, mlp_ratio=2.0),
    steps=3,
    feature_block=4,
)


@pytest.fixture(scope="module")
def weights(tiny: FrozenGenerator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with a random head, so that it moves something."""
    torch.manual_seed(0)
    model = AutoDrag(replace(MODEL, gate=0.1), domain_shape(tiny, 4), measure(tiny, 4, latents=500))
    torch.nn.init.normal_(model.predictor.head.weight, std=0.05)
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    model.save(path)
    return path


def some_ws(generator: FrozenGenerator, batch: int = 1) -> torch.Tensor:
    return generator.map(torch.randn(batch, generator.z_dim, generator=torch.Generator().manual_seed(5)))


HANDLES, TARGETS = [[20.0, 30.0], [40.0, 12.0]], [[25.0, 35.0], [33.0, 20.0]]


def test_a_copy_with_fewer_steps_takes_them_on_a_gpu_too(tiny: FrozenGenerator, weights: Path) -> None:
    """Where copies share the graphs of the original, here recorded without a GPU."""
    method = AutoDragMethod(tiny, weights, track=False)
    method._graphed = Graphed(method._rollout, lambda work: (lambda: None, work()))
    quick = copy(method)
    quick.n = 1
    for _ in range(2):  # plain, then recorded
        assert [len(list(each.drag(some_ws(tiny), HANDLES, TARGETS))) for each in (method, quick)] == [3, 1]


@pytest.mark.parametrize("options", [{}, {"rounds": 2}, {"polish": 2}, {"n": 1, "rounds": 3}, {"track": False}])
def test_it_yields_every_step(tiny: FrozenGenerator, weights: Path, options: dict[str, Any]) -> None:
    method = AutoDragMethod(tiny, weights, **options)
    ws = some_ws(tiny)
    steps = list(method.drag(ws, HANDLES, TARGETS))
    assert [step.index for step in steps] == list(range(1, len(steps) + 1))
    assert len(steps) == options.get("n", 3) + options.get("rounds", 1) - 1 + options.get("polish", 0)
    assert [bool(step.done) for step in steps] == [False] * (len(steps) - 1) + [True]
    assert all(step.points.shape == (2, 2) and torch.equal(step.ws[:, 6:], ws[:, 6:]) for step in steps)
    assert not torch.equal(steps[-1].ws, ws)


def test_points_are_tracked_when_they_are_read(
    tiny: FrozenGenerator, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []

    class Counting(Tracker):
        def find(self, *args: Any) -> torch.Tensor:
            found.append(args)
            return super().find(*args)

    monkeypatch.setattr("autodrag.methods.autodrag.Tracker", Counting)
    *_, last = AutoDragMethod(tiny, weights).drag(some_ws(tiny), HANDLES, TARGETS)
    assert not found
    assert torch.equal(last.points, last.points) and len(found) == 1


@pytest.mark.parametrize(("count", "padded"), [(1, 1), (8, 8), (9, 16), (16, 16), (68, 72)])
@pytest.mark.parametrize("masked", [False, True])
def test_points_in_a_bucket_drag_the_same(
    tiny: FrozenGenerator, weights: Path, count: int, padded: int, masked: bool
) -> None:
    method, ws = AutoDragMethod(tiny, weights), some_ws(tiny)
    handles, targets = torch.rand(2, 1, count, 2, generator=torch.Generator().manual_seed(1)) * 60
    mask = torch.arange(count)[None] < max(1, count - 3) if masked else None
    features = tiny.features(ws, block=4)
    bucket = in_bucket(handles, targets, mask)
    assert bucket[0].shape[1] == bucket[1].shape[1] == padded
    assert (bucket[2] is None) == (mask is None and padded == count)
    with torch.no_grad():
        wanted = method.model.rollout(ws, features, handles, targets, mask)[-1]
        assert torch.allclose(method.model.rollout(ws, features, *bucket)[-1], wanted, atol=1e-4)


def test_latents_that_were_changed_in_place_are_another_image(tiny: FrozenGenerator, weights: Path) -> None:
    method, ws = AutoDragMethod(tiny, weights, track=False), some_ws(tiny)
    *_, first = method.drag(ws, HANDLES, TARGETS)
    kept = first.ws.clone()
    ws[:, :6] += 0.5
    *_, second = method.drag(ws, HANDLES, TARGETS)
    *_, fresh = AutoDragMethod(tiny, weights, track=False).drag(ws, HANDLES, TARGETS)
    torch.testing.assert_close(second.ws, fresh.ws)
    assert torch.equal(first.ws, kept)


def test_a_batch_equals_single_drags(tiny: FrozenGenerator, weights: Path) -> None:
    method = AutoDragMethod(tiny, weights, rounds=2)
    ws = some_ws(tiny, 2)
    handles, targets = [HANDLES, HANDLES[:1]], [TARGETS, TARGETS[:1]]
    *_, last = method.drag(ws, handles, targets)
    assert [len(points) for points in last.points] == [2, 1]
    for index in range(2):
        *_, alone = method.drag(ws[index : index + 1], handles[index], targets[index])
        assert torch.allclose(alone.ws, last.ws[index : index + 1], atol=1e-3)
        assert torch.allclose(alone.points, last.points[index], atol=0.1)


def test_polishing_brings_the_handle_closer(tiny: FrozenGenerator, weights: Path) -> None:
    def loss(ws: torch.Tensor) -> float:
        from autodrag.losses import drag_loss

        handle, target = torch.tensor([[[30.0, 30.0]]]), torch.tensor([[[33.0, 30.0]]])
        features = [tiny.features(w, block=6) for w in (start, ws)]
        return drag_loss(*features, handle, target, torch.ones(1, 1, dtype=torch.bool), tiny.resolution).item()

    start = some_ws(tiny)
    method = AutoDragMethod(tiny, weights, polish=15, polish_lr=0.05)
    steps = list(method.drag(start, [[30.0, 30.0]], [[33.0, 30.0]]))
    assert loss(steps[-1].ws) < 0.9 * loss(steps[2].ws)


def test_impossible_options_are_refused(tiny: FrozenGenerator, weights: Path, tmp_path: Path) -> None:
    for options in ({"rounds": 0}, {"polish": -1}, {"n": 0}):
        with pytest.raises(InputError, match="give rounds and n of at least 1"):
            AutoDragMethod(tiny, weights, **options)
    with pytest.raises(InputError, match="cannot be read"):
        AutoDragMethod(tiny, tmp_path / "none.safetensors")
    with pytest.raises(InputError, match="no AutoDrag weights"):
        AutoDragMethod(tiny)
    other = FrozenGenerator.random(resolution=(64, 64), w_dim=16)
    with pytest.raises(InputError, match="was trained for a generator"):
        AutoDragMethod(other, weights)


class Sliding(FrozenGenerator):
    """A picture that the first two numbers of the latent shift by so many image pixels."""

    def __init__(self, like: FrozenGenerator) -> None:
        super().__init__(like.network, like.name, torch.float32, channels_last=False)
        coarse = torch.randn(1, 6, 12, 12, generator=torch.Generator().manual_seed(0))
        self.picture = F.interpolate(coarse, self.resolution, mode="bicubic")

    def features(self, ws: torch.Tensor, block: int = 6, noise: str = "const") -> torch.Tensor:
        height, width = self.resolution
        shift = -2 * ws[:, 0, :2] / torch.tensor([width, height])
        affine = torch.cat([torch.eye(2).expand(len(ws), -1, -1), shift[:, :, None]], dim=2)
        grid = F.affine_grid(affine, [len(ws), 6, height, width], align_corners=False)
        return F.grid_sample(self.picture.expand(len(ws), -1, -1, -1), grid, align_corners=False)


@pytest.mark.parametrize("reaches", [0.93, 1.05])
def test_rounds_correct_drags_that_miss_their_targets(tiny: FrozenGenerator, weights: Path, reaches: float) -> None:
    def walk(
        ws: torch.Tensor, features: Any, handles: Any, targets: Any, valid: Any, n: int, image: Any
    ) -> Iterator[torch.Tensor]:
        for step in range(1, n + 1):
            moved = ws.clone()
            moved[:, :, :2] += reaches * step / n * (targets - handles).mean(dim=1)[:, None]
            yield moved

    left = {}
    for rounds in (1, 2, 8):
        method = AutoDragMethod(tiny, weights, rounds=rounds)
        method.generator = Sliding(tiny)
        method.model.walk = walk  # type: ignore[method-assign, assignment]
        method.model.predictor.encode_image = lambda features: features.flatten(2)  # type: ignore[method-assign, assignment]
        *_, last = method.drag(torch.zeros(1, tiny.num_ws, tiny.w_dim), [[20.0, 30.0]], [[32.0, 35.0]])
        left[rounds] = (last.ws[0, 0, :2] - torch.tensor([12.0, 5.0])).norm().item()
    assert left[1] > 0.6 and left[2] < 0.3 * left[1] and left[8] < 1.1 * left[2] + 0.05


def test_an_edit_stops_where_the_latents_of_the_generator_end(
    tiny: FrozenGenerator, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    latents = tiny.map(torch.randn(4000, tiny.z_dim, generator=torch.Generator().manual_seed(0)))[:, 0]
    manifold = Manifold.measure(latents, torch.eye(tiny.w_dim))
    landing = Landing(LandingConfig(), PointMotion(PointMotionConfig(16), tiny.w_dim), manifold)
    landing.save(tmp_path / "landing.safetensors")

    def walk(ws: torch.Tensor, *_: Any, image: Any) -> Iterator[torch.Tensor]:
        for far in (1e-3, 10.0, 50.0):
            yield torch.cat([ws[:, :6] + far, ws[:, 6:]], dim=1)

    ends = {}
    for guard in (True, False):
        monkeypatch.setattr("autodrag.methods.autodrag.find_weights", lambda *_: tmp_path / "landing.safetensors")
        method = AutoDragMethod(tiny, weights, track=False, guard=guard)
        monkeypatch.setattr(method.model, "walk", walk)
        ends[guard] = list(method.drag(some_ws(tiny), HANDLES, TARGETS))
    assert [step.short.tolist() for step in ends[True]] == [[False], [True], [True]]
    assert torch.equal(ends[True][0].ws, ends[False][0].ws) and ends[False][0].short is None
    start = max(manifold.excess(some_ws(tiny)[:, :6]).max().item(), 1)
    assert manifold.excess(ends[True][-1].ws[:, :6]).max() < 1.01 * start
    assert manifold.excess(ends[False][-1].ws[:, :6]).min() > 3 * start
