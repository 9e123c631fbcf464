"""Stages 1 and 2 on a tiny generator with made-up matches: their samples and losses, and that they learn."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autodrag.config import compose, typed
from autodrag.data.dataset import Trajectories
from autodrag.data.trajectories import TrajectoryConfig, latent_motion
from autodrag.errors import InputError
from autodrag.generator import FrozenGenerator
from autodrag.models import (
    AutoDrag,
    ModelConfig,
    PointMotion,
    PointMotionConfig,
    PredictorConfig,
    Regularizer,
    RegularizerConfig,
)
from autodrag.training.augmentation import AugmentationConfig
from autodrag.training.build import TrainConfig
from autodrag.training.latent_statistics import domain_shape, image_metric, image_units, measure
from autodrag.training.stages.stage1 import RegularizerStage
from autodrag.training.stages.stage2 import PredictorStage, Stage2Config

MODEL = ModelConfig(
    predictor=PredictorConfig(width=32, heads=4, encoder_layers=1, decoder_layers=2, mlp_ratio=2.0),
    regularizer=RegularizerConfig(width=32, heads=4, encoder_layers=1, decoder_layers=1, mlp_ratio=2.0),
    feature_block=4,
)


def stage2(folder: Path, tiny: Any, config: TrainConfig, model: ModelConfig = MODEL, **changes: Any) -> PredictorStage:
    section: Stage2Config = replace(config.stage2, **changes)
    torch.manual_seed(0)
    network = AutoDrag(model, domain_shape(tiny, model.feature_block), measure(tiny, model.feature_block, latents=500))
    parts = (slice(None, 16), slice(16, None))
    shown, validation = (Trajectories(folder, tiny, 8, 4, 0, part) for part in parts)
    motion = PointMotion(PointMotionConfig(32), tiny.w_dim) if section.motion else None
    return PredictorStage(network, shown, validation, section, 0, motion)


def stage1(tiny: Any, config: TrainConfig, **changes: Any) -> RegularizerStage:
    torch.manual_seed(0)
    statistics = measure(tiny, 4, latents=500)
    regularizer = Regularizer(MODEL.regularizer, tiny.num_ws, tiny.w_dim, statistics)
    motion = typed(TrajectoryConfig, compose("trajectories").trajectory)
    return RegularizerStage(regularizer, tiny, replace(config.stage1, validation=32, **changes), 0.7, 0, motion)


@pytest.mark.parametrize("latents", ["w", "trajectory"])
def test_stage_1_overfits_one_batch(tiny: Any, config: TrainConfig, latents: str, learn: Any) -> None:
    stage = stage1(tiny, config, latents=latents)
    batch = stage.batch(range(4))
    assert torch.equal(batch.clean[:, 6:], batch.corrupted[:, 6:])
    assert torch.allclose(stage.batch([2]).corrupted, batch.corrupted[2:3], atol=1e-5)
    first, last = learn(stage, batch, steps=150, lr=5e-3, enough=1 / 4)
    assert last < first / 4
    assert set(stage.report().numbers) == {"left", "undone"}


@pytest.mark.parametrize("latents", ["w", "trajectory"])
def test_stage_1_validates_on_other_latents(tiny: Any, config: TrainConfig, latents: str) -> None:
    stage = stage1(tiny, config, latents=latents, mixed=0.0)
    seen: list[torch.Tensor] = []
    stage.model.register_forward_pre_hook(lambda _, given: seen.append(given[0][:, 6:]))
    stage.report()
    shown = stage.batch(range(len(seen[0]))).clean[:, 6:]
    assert torch.cdist(seen[0].flatten(1), shown.flatten(1)).min() > 0.1


def test_stage_2_overfits_one_batch(folder: Path, tiny: Any, config: TrainConfig, learn: Any) -> None:
    stage = stage2(folder, tiny, config, alpha=1.0, beta=0.0)
    first, last = learn(stage, stage.batch(range(4)), steps=150, lr=3e-3, enough=1 / 4)
    assert last < first / 4


def test_the_loss_of_an_untrained_model_is_the_distance_to_the_next_latent(
    folder: Path, tiny: Any, config: TrainConfig
) -> None:
    stage = stage2(folder, tiny, config, alpha=1.0, beta=0.0)
    batch = stage.batch(range(8))
    loss, logs = stage(batch)
    ws = batch.samples.ws[:, :, :6] / stage.model.predictor.standardise.std
    expected = (ws[:, 1:] - ws[:, :-1]).abs().mean(dim=(2, 3)).sum(dim=1).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)
    assert logs["drag"].item() == 0.0


def test_a_batch_is_a_function_of_its_positions(folder: Path, tiny: Any, config: TrainConfig) -> None:
    augmentation = AugmentationConfig(still=0.2, short=0.2, backwards=0.2, partial=0.3, mixed=0.5)
    stage = stage2(folder, tiny, config, rollout=0.5, continued=0.5, augmentation=augmentation)
    whole, part = stage.batch(range(8)), stage.batch([3])
    assert torch.allclose(whole.samples.ws[3], part.samples.ws[0], atol=1e-5)
    points = part.samples.mask.sum()
    assert torch.equal(whole.samples.handles[3][:points], part.samples.handles[0][:points])
    assert torch.equal(whole.rollout[3], part.rollout[0]) and torch.equal(whole.first_step[3], part.first_step[0])
    assert torch.equal(whole.steps[3], part.steps[0])


def test_all_terms_give_gradients(folder: Path, tiny: Any, config: TrainConfig) -> None:
    everything = {"beta": 1.0, "motion": "given", "gamma": 0.5, "rollout": 0.5, "continued": 0.5}
    stage = stage2(folder, tiny, config, replace(MODEL, gate=0.1), **everything)
    loss, logs = stage(stage.batch(range(8)))
    loss.backward()
    assert {"prediction", "drag", "landing", "gate", "empty_steps"} <= set(logs)
    assert logs["drag"] > 0 and logs["landing"] > 0
    terms = {"prediction": stage.config.alpha, "drag": 1.0, "landing": 0.5}
    assert loss.item() == pytest.approx(sum(weight * logs[name].item() for name, weight in terms.items()), rel=1e-4)
    assert all(parameter.grad is not None for parameter in stage.parameters() if parameter.requires_grad)
    assert stage.motion is not None and not any(p.requires_grad for p in stage.motion.parameters())


def test_costly_terms_wait_for_the_finish(folder: Path, tiny: Any, config: TrainConfig) -> None:
    budget = replace(config.stage2.budget, epochs=1.0, samples=32, batch=8)
    stage = stage2(folder, tiny, config, continued=1.0, final_share=0.25, budget=budget)
    before, after = (stage.batch(range(start, start + 8)) for start in (16, 24))
    assert not before.final and not before.first_step.any()
    assert after.final and after.first_step.all()
    stage = stage2(folder, tiny, config, alpha=0.0, beta=1.0, final_share=0.25, rollout=0.5, budget=budget)
    before, after = (stage.batch(range(start, start + 8)) for start in (16, 24))
    with torch.no_grad():
        assert stage(before)[0] == 0 and stage(after)[0] > 0
    assert stage.batch([27]).final and not stage.batch([23]).final
    with pytest.raises(InputError, match=r"stage2\.final_share is 0"):
        stage2(folder, tiny, config, final_share=0.0)


def test_everything_runs_in_bfloat16(folder: Path, tiny: Any, config: TrainConfig) -> None:
    low = FrozenGenerator(tiny.trainable_copy(), "tiny", torch.bfloat16)
    everything = {"beta": 1.0, "motion": "given", "gamma": 0.5, "rollout": 0.5, "continued": 0.5}
    stage = stage2(folder, low, config, replace(MODEL, gate=0.1), **everything)
    with torch.autocast("cpu", torch.bfloat16, cache_enabled=False):
        loss, _ = stage(stage.batch(range(8)))
        with torch.no_grad():
            report = stage.eval().report()
    loss.backward()
    assert all(parameter.grad is not None for parameter in stage.parameters() if parameter.requires_grad)
    assert loss.dtype == torch.float32 and torch.isfinite(loss)
    assert all(np.isfinite(value) for value in report.numbers.values())


def test_the_drag_loss_of_random_steps_is_unbiased(folder: Path, tiny: Any, config: TrainConfig) -> None:
    full, some = (stage2(folder, tiny, config, alpha=0.0, drag_steps=steps) for steps in (None, 2))
    with torch.no_grad():
        expected = full(full.batch(range(16)))[0]
        drawn = torch.stack([some(some.batch(range(16 * i, 16 * i + 16)))[0] for i in range(12)]).mean()
    assert drawn.item() == pytest.approx(expected.item(), rel=0.25)


@pytest.mark.parametrize("skip", ["plain", "none"])
@pytest.mark.parametrize("n", [1, 5])
def test_ablations_run(folder: Path, tiny: Any, config: TrainConfig, skip: str, n: int) -> None:
    stage = stage2(folder, tiny, config, replace(MODEL, skip=skip, steps=n))
    loss, _ = stage(stage.batch(range(4)))
    assert torch.isfinite(loss)
    assert sum(len(group.parameters) for group in stage.groups()) == len(list(stage.parameters()))


def test_an_untrained_model_leaves_the_whole_distance(folder: Path, tiny: Any, config: TrainConfig) -> None:
    stage = stage2(folder, tiny, config).eval()
    with torch.no_grad():
        report = stage.report()
    assert report.numbers["left"] == pytest.approx(1.0) and report.numbers["left_twice"] == pytest.approx(1.0)
    assert set(report.numbers) == {"prediction", "distance", "left", "left_twice"}
    assert report.pictures["drags"].shape[0] == 3


def test_a_saved_stage_2_is_a_model(folder: Path, tiny: Any, config: TrainConfig, tmp_path: Path) -> None:
    stage = stage2(folder, tiny, config)
    stage.save(tmp_path / "weights.safetensors")
    assert AutoDrag.load(tmp_path / "weights.safetensors").config == MODEL


def test_shares_that_are_none_are_refused(folder: Path, tiny: Any, config: TrainConfig) -> None:
    with pytest.raises(InputError, match="at most 1"):
        stage2(folder, tiny, config, augmentation=AugmentationConfig(0.9, 0.9, 0.0, 0.0, 0.0))


def test_image_units_measure_the_change_of_features(tiny: Any) -> None:
    std = measure(tiny, 4, latents=500).w_std
    units = image_units(image_metric(tiny, std, 4, latents=16, chunk=8), std)
    assert units.shape == (32, 32)
    # One deviation in every direction keeps the size it had.
    assert (std[:, None] * units).square().sum().item() == pytest.approx(32, rel=1e-4)
    ws = tiny.map(torch.randn(16, tiny.z_dim, generator=torch.Generator().manual_seed(1)))

    def seen(direction: torch.Tensor) -> float:
        moved = ws.clone()
        moved[:, :6] += 0.3 * direction * std
        change = tiny.features(moved, block=4) - tiny.features(ws, block=4)
        return (
            change.square().mean(dim=(0, 2, 3)).div(tiny.features(ws, block=4).var(dim=(0, 2, 3))).mean().sqrt().item()
        )

    directions, counted, _ = torch.linalg.svd(std[:, None] * units)
    told = counted[[0, 10, 31]]
    shown = torch.tensor([seen(directions[:, i]) for i in (0, 10, 31)])
    assert torch.allclose(shown / shown[0], told / told[0], rtol=0.25)
    assert told[2] < told[0] / 2  # directions do differ


def test_the_metric_of_l_pred_is_chosen(folder: Path, tiny: Any, config: TrainConfig, learn: Any) -> None:
    plain = stage2(folder, tiny, config, metric="deviation")
    assert torch.allclose(plain.units, torch.diag(1 / plain.model.predictor.standardise.std))
    image = stage2(folder, tiny, config, metric="image", beta=0.0)
    batch = plain.batch(range(4))
    assert not torch.allclose(image(batch)[0], plain(batch)[0], rtol=1e-2)
    first, last = learn(image, batch, steps=100, lr=3e-3, enough=1 / 3)
    assert last < first / 3


def test_kept_rows_of_mixed_latents_do_not_reveal_the_clean_rows(tiny: Any, config: TrainConfig) -> None:
    plain = stage1(tiny, config, mixed=0.0).batch(range(8)).clean
    assert torch.allclose(plain[:, :6], plain[:, 6:7].expand(-1, 6, -1))  # of a mapped latent all rows are the same
    mixed = stage1(tiny, config, mixed=1.0).batch(range(8)).clean
    assert torch.allclose(mixed[:, :6], plain[:, :6], atol=1e-5)
    assert (mixed[:, :6] - mixed[:, 6:7]).abs().mean(dim=(1, 2)).min() > 0.05
    assert torch.allclose(stage1(tiny, config, mixed=1.0).batch([5]).clean[0], mixed[5], atol=1e-5)


def test_far_drags_lead_to_the_face_of_another_motion(folder: Path, tiny: Any) -> None:
    near = Trajectories(folder, tiny, 68, 4, 0, slice(None), 1, landmarks=1.0)
    far = Trajectories(folder, tiny, 68, 4, 0, slice(None), 1, landmarks=1.0, far=1.0)
    samples = list(zip(near.samples(range(24)), far.samples(range(24)), strict=True))
    ends = [motion.landmarks.handles for motion in far.motions]
    firsts = torch.stack([latent_motion(tiny, far.recipe.trajectory, 0, [(m.index, 0)])[0, 0] for m in far.motions])
    for one, other in samples:
        assert torch.allclose(one.ws[0], other.ws[0], atol=1e-5) and len(one.handles) == len(other.handles)
        reached = (firsts[:, :6] - other.ws[-1, :6]).abs().amax(dim=(1, 2)).argmin()
        assert torch.allclose(firsts[reached, :6], other.ws[-1, :6], atol=1e-4)
        assert torch.allclose(other.ws[:, 6:], one.ws[:, 6:], atol=1e-5)
        known = {tuple(point) for point in ends[int(reached)].tolist()}
        assert all(tuple(point) in known for point in other.targets.tolist())
        assert torch.allclose(other.ws[1] - other.ws[0], (other.ws[-1] - other.ws[0]) / 5, atol=1e-5)
