"""The whole model: invariances, kept rows, and the rollout against the full pass."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from autodrag.config import compose, typed
from autodrag.errors import InputError
from autodrag.geometry import to_unit
from autodrag.models import AutoDrag, DomainShape, ModelConfig, PredictorConfig, RegularizerConfig, Statistics
from autodrag.models.cost import cost_table, parameter_count, rollout_flops
from autodrag.models.tokens import PointTokens, fourier
from autodrag.seeding import rng

SHAPE = DomainShape(num_ws=10, w_dim=16, feature_shape=(8, 32, 32), resolution=(64, 64))
CONFIG = ModelConfig(
    predictor=PredictorConfig(width=32, heads=4, encoder_layers=1, decoder_layers=2, mlp_ratio=2.0),
    regularizer=RegularizerConfig(width=32, heads=4, encoder_layers=1, decoder_layers=1, mlp_ratio=2.0),
    gate=0.3,
)


def model(shape: DomainShape = SHAPE, config: ModelConfig = CONFIG, trained: bool = True) -> AutoDrag:
    """A tiny model; `trained` ones have a random head, so that they move something."""
    torch.manual_seed(0)
    network = AutoDrag(config, shape, Statistics.identity(shape.w_dim, shape.feature_shape[0])).eval()
    if trained:
        torch.nn.init.normal_(network.predictor.head.weight, std=0.3)
    return network.requires_grad_(False)


def inputs(batch: int = 2, points: int = 3, shape: DomainShape = SHAPE, index: int = 0) -> dict[str, Any]:
    draws = rng(0, "inputs", index)
    height, width = shape.resolution
    size = torch.tensor([width, height])
    return {
        "ws": torch.randn(batch, shape.num_ws, shape.w_dim, generator=draws),
        "features": torch.randn(batch, *shape.feature_shape, generator=draws),
        "handles": torch.rand(batch, points, 2, generator=draws) * size,
        "targets": torch.rand(batch, points, 2, generator=draws) * size,
    }


def test_an_untrained_model_is_the_identity() -> None:
    given = inputs()
    network = model(config=replace(CONFIG, gate=0.0), trained=False)
    for ws in network.rollout(**given):
        assert torch.equal(ws, given["ws"])


@pytest.mark.parametrize("skip", ["gated", "plain", "none"])
@pytest.mark.parametrize("n", [1, 5, 7])
def test_a_rollout_equals_the_full_pass_over_its_own_steps(skip: str, n: int) -> None:
    network = model(config=replace(CONFIG, skip=skip))
    given = inputs()
    mask = torch.tensor([[True, True, True], [True, False, False]])
    motion = network.rollout(**given, mask=mask, n=n)
    before = torch.stack([given["ws"], *motion[:-1]], dim=1)
    predicted = network(**{**given, "ws": before}, mask=mask)
    assert len(motion) == n
    assert torch.allclose(torch.stack(motion, dim=1), predicted, atol=1e-5)
    assert (motion[-1] - given["ws"]).abs().max() > 0.1


@pytest.mark.parametrize(("gate", "leaves_out"), [(0.0, True), (5e-4, True), (-5e-4, True), (0.0067, False)])
def test_a_regularizer_behind_a_closed_gate_is_left_out(
    gate: float, leaves_out: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    network, given = model(config=replace(CONFIG, gate=gate)), inputs()
    whole = network.rollout(**given)[-1]
    called: list[object] = []
    assert network.regularizer is not None
    network.regularizer.register_forward_hook(lambda *_: called.append(1))
    used = network.leave_out_negligible().rollout(**given)[-1]
    assert network.leaves_out_regularizer == leaves_out == (not called)
    assert ("Skipping the regularizer" in capsys.readouterr().err) == leaves_out
    assert (used - whole).abs().max() <= 0.01 * (whole - given["ws"]).abs().max()


@pytest.mark.parametrize("skip", ["plain", "none"])
def test_only_a_gated_regularizer_is_left_out(skip: str) -> None:
    network = model(config=replace(CONFIG, skip=skip, gate=0.0)).leave_out_negligible()
    assert not network.leaves_out_regularizer


def test_own_steps_are_a_rollout_and_the_others_are_taught() -> None:
    network, given = model(), inputs()
    sequence = torch.randn(2, 5, 10, 16, generator=rng(0, "sequence"))
    sequence[:, 0] = given["ws"]
    mixed = network(**{**given, "ws": sequence}, own=torch.tensor([True, False]))
    alone = torch.stack(network.rollout(**given), dim=1)
    taught = network(**{**given, "ws": sequence})
    assert torch.allclose(mixed[0], alone[0], atol=1e-5)
    assert torch.allclose(mixed[1], taught[1], atol=1e-5)


def test_kept_rows_are_never_changed() -> None:
    given = inputs()
    assert all(torch.equal(ws[:, 6:], given["ws"][:, 6:]) for ws in model().rollout(**given))


def test_a_step_does_not_see_later_ones() -> None:
    given = inputs()
    sequence = torch.randn(2, 5, 10, 16, generator=rng(0, "sequence"))
    changed = sequence.clone()
    changed[:, 3:] += 1
    network = model()
    first, second = (network(**{**given, "ws": ws}) for ws in (sequence, changed))
    assert torch.allclose(first[:, :3], second[:, :3], atol=1e-6)
    assert not torch.allclose(first[:, 3:] - sequence[:, 3:], second[:, 3:] - changed[:, 3:], atol=1e-3)


def test_the_order_of_the_points_does_not_matter() -> None:
    given = inputs(points=4)
    order = torch.tensor([2, 0, 3, 1])
    other = {**given, "handles": given["handles"][:, order], "targets": given["targets"][:, order]}
    network = model()
    assert torch.allclose(network.rollout(**given)[-1], network.rollout(**other)[-1], atol=1e-5)


def test_padded_points_change_nothing() -> None:
    given, other = inputs(points=2), inputs(points=5, index=1)
    for name in ("handles", "targets"):
        other[name][:, :2] = given[name]
    other["ws"], other["features"] = given["ws"], given["features"]
    mask = torch.tensor([True, True, False, False, False]).expand(2, 5)
    network = model()
    assert torch.allclose(network.rollout(**other, mask=mask)[-1], network.rollout(**given)[-1], atol=1e-5)


def test_a_batch_equals_its_items() -> None:
    given = inputs(batch=3)
    network = model()
    whole = network.rollout(**given)[-1]
    for index in range(3):
        item = {name: value[index : index + 1] for name, value in given.items()}
        assert torch.allclose(network.rollout(**item)[-1], whole[index : index + 1], atol=1e-5)


def test_points_and_their_places_matter_unless_only_patches_are_read() -> None:
    given = inputs(points=1)
    flat = {**given, "features": torch.ones_like(given["features"])}  # equal patches everywhere
    moved = {**flat, "handles": flat["handles"] + 9, "targets": flat["targets"] - 9}
    full = model()
    assert not torch.allclose(full.rollout(**flat)[-1], full.rollout(**moved)[-1], atol=1e-3)
    blind = model(config=replace(CONFIG, predictor=replace(CONFIG.predictor, points="patch_only")))
    assert torch.allclose(blind.rollout(**flat)[-1], blind.rollout(**moved)[-1], atol=1e-5)


@pytest.mark.parametrize("feature_shape", [(3, 4, 4), (5, 16, 16), (4, 24, 40), (2, 128, 64), (6, 100, 50)])
def test_any_feature_map_will_do(feature_shape: tuple[int, int, int]) -> None:
    shape = replace(SHAPE, feature_shape=feature_shape, resolution=(2 * feature_shape[1], 2 * feature_shape[2]))
    network = model(shape)
    given = inputs(shape=shape)
    assert network.rollout(**given, n=1)[0].shape == given["ws"].shape
    rows, columns = network.predictor.image_tokens.grid
    assert max(rows, columns) <= 16
    assert network.predictor.cell_centres.shape == (rows * columns, 2)


def test_a_file_is_a_complete_model(tmp_path: Path) -> None:
    network, given = model(), inputs()
    network.save(tmp_path / "weights.safetensors", {"note": "a test"})
    loaded = AutoDrag.load(tmp_path / "weights.safetensors")
    assert loaded.config == network.config and loaded.shape == network.shape
    assert torch.allclose(loaded.rollout(**given)[-1], network.rollout(**given)[-1], atol=1e-4)


def test_half_the_size_is_nearly_the_same(tmp_path: Path) -> None:
    network, given = model(), inputs()
    network.save(tmp_path / "whole.safetensors")
    network.save(tmp_path / "half.safetensors", half=True)
    whole, half = ((tmp_path / f"{name}.safetensors").stat().st_size for name in ("whole", "half"))
    assert half < 0.6 * whole
    loaded = AutoDrag.load(tmp_path / "half.safetensors")
    assert torch.equal(loaded.predictor.standardise.mean, network.predictor.standardise.mean)
    assert torch.allclose(loaded.rollout(**given)[-1], network.rollout(**given)[-1], atol=0.02)


@pytest.mark.parametrize("content", [None, b"", b"not a safetensors file"])
def test_other_files_give_a_clear_error(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "weights.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match="weights"):
        AutoDrag.load(path)


def test_no_steps_are_refused() -> None:
    with pytest.raises(InputError, match="n=0"):
        model().rollout(**inputs(), n=0)
    with pytest.raises(InputError, match="steps=0"):
        model(config=replace(CONFIG, steps=0))


def test_unit_coordinates_and_fourier_features() -> None:
    corners = to_unit(torch.tensor([[-0.5, -0.5], [31.5, 63.5], [15.5, 31.5]]), (64, 32))
    assert torch.allclose(corners, torch.tensor([[-1.0, -1.0], [1.0, 1.0], [0.0, 0.0]]))
    assert torch.allclose(fourier(torch.tensor([0.5]), bands=2), torch.tensor([0.5, 1.0, 0.0, 0.0, -1.0]), atol=1e-6)


def test_the_small_model_is_small() -> None:
    network = model(DomainShape(14, 128, (128, 32, 32), (256, 256)), typed(ModelConfig, compose("model/small").model))
    assert 7e6 < parameter_count(network) < 1e7


def test_the_cost_table_names_the_parts() -> None:
    table = cost_table(model())
    assert "predictor" in table and "regularizer" in table and "GFLOP in 5 steps" in table


def test_the_model_of_the_paper_has_its_layer_counts() -> None:
    config = typed(ModelConfig, compose("model/paper").model)
    assert (config.predictor.encoder_layers, config.predictor.decoder_layers) == (6, 16)
    assert (config.regularizer.encoder_layers, config.regularizer.decoder_layers) == (6, 6)
    with torch.device("meta"):
        network = AutoDrag(config, DomainShape(16, 512, (512, 64, 64), (512, 512)), Statistics.identity(512, 512))
    assert 1.2e8 < parameter_count(network) < 1.6e8


def test_flops_of_a_rollout_grow_by_a_constant_a_step() -> None:
    one, two, three = (rollout_flops(model(), points=1, n=n) for n in (1, 2, 3))
    assert 0 < two - one < one
    assert three - two == pytest.approx(two - one, rel=0.02)  # attention to the cached steps grows a little


def test_point_tokens_do_not_depend_on_their_number() -> None:
    tokens = PointTokens(channels=6, width=16)
    features = torch.randn(2, 6, 16, 16, generator=torch.Generator().manual_seed(0))
    points = torch.rand(2, 9, 2, generator=torch.Generator().manual_seed(1)) * 70 - 3
    with torch.no_grad():
        together = tokens(features, points, (64, 64))  # 9 x 49 pixels are more than the map has
        alone = torch.cat([tokens(features, points[:, i : i + 1], (64, 64)) for i in range(9)], dim=1)
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
