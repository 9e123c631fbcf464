"""UserControllableLT: its training pairs, that it learns, and its drags."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from autodrag.config import compose, typed
from autodrag.errors import InputError
from autodrag.generator import FrozenGenerator
from autodrag.methods import load_method
from autodrag.models.autodrag import DomainShape
from autodrag.models.latent_transformer import LatentTransformer, LatentTransformerConfig, MotionScale
from autodrag.models.statistics import Statistics
from autodrag.training.build import TrainConfig, build_latent_transformer
from autodrag.training.run import run
from autodrag.training.stages.latent_transformer import LatentTransformerStage, MotionPairs, grid_points
from autodrag.vision.flow import Flow
from third_party.stylegan2.readers import write_safetensors


def model_for(generator: FrozenGenerator) -> LatentTransformer:
    shape = DomainShape(generator.num_ws, generator.w_dim, generator.feature_shape(5), generator.resolution)
    torch.manual_seed(0)
    statistics = Statistics.identity(generator.w_dim, shape.feature_shape[0])
    return LatentTransformer(LatentTransformerConfig(32, 4, 1), shape, MotionScale(2.0, 0.01), statistics).eval()


@pytest.fixture(scope="module")
def weights(tiny: FrozenGenerator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lt") / "weights.safetensors"
    model_for(tiny).save(path, {"generator": "tiny"})
    return path


@pytest.fixture(scope="module")
def stage(tiny: FrozenGenerator) -> LatentTransformerStage:
    config = typed(TrainConfig, compose("train", ["stage=latent_transformer"]))
    section = replace(config.latent_transformer, network=LatentTransformerConfig(64, 4, 2), flow="dis", validation=4)
    return build_latent_transformer(replace(config, latent_transformer=section), tiny)


def test_pairs_differ_in_the_edited_rows_by_a_tenth_of_the_way(tiny: FrozenGenerator) -> None:
    pairs = MotionPairs(tiny, Flow("dis"), psi=0.3, lam=0.1, seed=0)
    first, second = pairs.latents("test", [0, 1, 2])
    assert torch.equal(first[:, 6:], second[:, 6:])
    star = first[:, :6] + 10 * (second - first)[:, :6]
    assert not torch.allclose(star[:, 0], star[:, 1])  # a z of its own for every row
    again, _ = pairs.latents("test", [2])
    assert torch.allclose(again[0], first[2])  # a function of the position alone
    assert pairs.scale(4).flow > 0


def test_the_grid_is_even() -> None:
    points = grid_points((64, 32))
    assert points.shape == (256, 2)
    assert points[0].tolist() == [0.5, 1.5] and points[-1].tolist() == [30.5, 61.5]
    assert points.mean(0).tolist() == [15.5, 31.5]


def test_overfits_one_batch(stage: LatentTransformerStage) -> None:
    batch = stage.batch(range(4))
    optimizer = torch.optim.Adam(stage.parameters(), lr=2e-3)
    left = []
    for _ in range(80):
        loss, logs = stage(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        left.append(logs["left"].item())
        if left[-1] < 0.3 * left[0]:
            break
    assert left[-1] < 0.3 * left[0]
    assert stage.report().numbers["left"] > 0


def test_one_drag_is_its_direction_times_a_tenth_of_its_length(tiny: FrozenGenerator, weights: Path) -> None:
    method = load_method("latent_transformer", tiny, weights=weights)
    ws = tiny.map(torch.randn(1, tiny.z_dim, generator=torch.Generator().manual_seed(0)))
    (near,) = method.drag(ws, [[30, 30]], [[33, 34]])
    (far,) = method.drag(ws, [[30, 30]], [[36, 38]])
    assert near.index == 1 and bool(near.done) and near.points.shape == (1, 2)
    assert torch.allclose(far.ws - ws, 2 * (near.ws - ws), atol=1e-5)
    assert torch.equal(near.ws[:, 6:], ws[:, 6:])
    (still,) = method.drag(ws, [[30, 30]], [[30, 30]])
    assert torch.equal(still.ws, ws)


def test_a_ragged_batch_equals_single_drags(tiny: FrozenGenerator, weights: Path) -> None:
    method = load_method("latent_transformer", tiny, weights=weights)
    ws = tiny.map(torch.randn(2, tiny.z_dim, generator=torch.Generator().manual_seed(0)))
    handles, targets = [[[10, 20]], [[30, 40], [50, 10], [5, 5]]], [[[12, 30]], [[33, 40], [50, 15], [8, 9]]]
    (both,) = method.drag(ws, handles, targets)
    for index in range(2):
        (single,) = method.drag(ws[index : index + 1], handles[index], targets[index])
        assert torch.allclose(both.ws[index], single.ws[0], atol=1e-5)
        assert torch.allclose(both.points[index], single.points, atol=0.5)
    (turned,) = method.drag(ws[1:], handles[1][::-1], targets[1][::-1])
    assert torch.allclose(turned.ws[0], both.ws[1], atol=1e-5)


def test_weights_of_another_generator_or_kind_give_a_clear_error(
    tiny: FrozenGenerator, weights: Path, tmp_path: Path
) -> None:
    other = FrozenGenerator.random(resolution=(32, 32), w_dim=32)
    with pytest.raises(InputError, match="trained for a generator with other shapes"):
        load_method("latent_transformer", other, weights=weights)
    with pytest.raises(InputError, match=r"no latent transformer weights .* `python scripts/train.py stage=latent_tra"):
        load_method("latent_transformer", tiny)
    with pytest.raises(InputError, match="holds no autodrag"):
        load_method("autodrag", tiny, weights=weights)


def test_trains_by_the_one_loop(tmp_path: Path) -> None:
    network = FrozenGenerator.random(resolution=(64, 64), w_dim=32).trainable_copy()
    write_safetensors(tmp_path / "tiny.safetensors", network.config, network.state_dict())
    small = ["network.width=32", "network.heads=4", "network.layers=1", "budget.samples=8", "budget.batch=4"]
    overrides = [f"latent_transformer.{part}" for part in [*small, "validation=4", "flow=dis"]]
    given = ["stage=latent_transformer", f"dataset={tmp_path / 'tiny.safetensors'}", "loop.precision=float32"]
    run(typed(TrainConfig, compose("train", [*given, "device=cpu", f"out={tmp_path / 'run'}", *overrides])))
    trained = LatentTransformer.load(tmp_path / "run" / "weights.safetensors")
    assert trained.config.width == 32
