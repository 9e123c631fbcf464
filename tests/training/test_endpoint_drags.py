"""The stages `motion` and `aim`, which need no images: their samples, and that they learn."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from autodrag.data.dataset import Trajectories
from autodrag.data.outlines import NO_OUTLINES
from autodrag.errors import InputError
from autodrag.models import Aim, AimConfig, Landing, LandingConfig, PointMotion, PointMotionConfig
from autodrag.training.build import TrainConfig
from autodrag.training.latent_statistics import image_metric, measure, measure_manifold
from autodrag.training.stages.aim import AimStage
from autodrag.training.stages.point_motion import MotionStage

NUMBERS = {f"{kind}_{count}" for kind in ("matches", "landmarks", "outlines") for count in (1, 5, 8)}


def aim_stage(
    folder: Path, tiny: Any, config: TrainConfig, motion: PointMotion | None = None, **changes: Any
) -> AimStage:
    statistics = measure(tiny, 4, latents=500)
    torch.manual_seed(0)
    aim = Aim(AimConfig(grid=8, width=64, layers=2), tiny.w_dim, statistics.w_mean, statistics.w_std)
    section = replace(config.aim, **{"validation": 4, "points": 8, **changes})
    return AimStage(aim, Trajectories(folder, tiny, 8, 1, 0, landmarks=section.landmarks), 4, section, 0, motion)


def motion_stage(folder: Path, tiny: Any, config: TrainConfig, folders: int = 1, **changes: Any) -> MotionStage:
    statistics = measure(tiny, 4, latents=500)
    torch.manual_seed(0)
    motion = PointMotion(PointMotionConfig(128), tiny.w_dim, statistics.w_mean, statistics.w_std)
    metric = image_metric(tiny, statistics.w_std, 4, latents=1)
    landing = Landing(LandingConfig(), motion, measure_manifold(tiny, metric, 1.0, latents=500))
    section = replace(config.motion, **{"validation": 4, "points": 8, "landmarks": 0.5, **changes})
    return MotionStage(landing, [Trajectories(folder, tiny, 8, 1, 0, landmarks=0.5)] * folders, section, seed=0)


def test_the_motion_overfits_one_batch(folder: Path, tiny: Any, config: TrainConfig, learn: Any) -> None:
    stage = motion_stage(folder, tiny, config)
    batch = stage.batch(range(16))
    assert torch.equal(batch.handles, stage.batch(range(16)).handles)
    first, last = learn(stage, batch, steps=400, lr=5e-3, enough=1 / 4)
    assert last < first / 4
    assert set(stage.report().numbers) == NUMBERS


def test_outlines_count_across_their_edges_alone(folder: Path, tiny: Any, config: TrainConfig) -> None:
    stage = motion_stage(folder, tiny, config, outlines=1.0, landmarks=0.0)
    batch = stage.batch(range(8))
    assert batch.normals is not None
    assert torch.allclose(batch.normals.norm(dim=2)[batch.mask], torch.ones(1), atol=1e-4)
    loss = stage(batch)[0]
    along = 9 * torch.stack([-batch.normals[..., 1], batch.normals[..., 0]], dim=2)
    assert stage(replace(batch, targets=batch.targets + along))[0].item() == pytest.approx(loss.item(), rel=1e-3)
    assert stage(replace(batch, targets=batch.targets + 9 * batch.normals))[0].item() > loss.item()


def test_an_untrained_network_predicts_no_motion(folder: Path, tiny: Any, config: TrainConfig) -> None:
    stage = motion_stage(folder, tiny, config)
    for parameter in stage.motion.locate.answer.parameters():
        parameter.detach().zero_()
    assert all(value == pytest.approx(1.0) for value in stage.report().numbers.values())
    batch = stage.batch(range(8))
    way = ((batch.targets - batch.handles).abs() / 64 * 100).mean(dim=2)
    expected = (way * batch.mask).sum(dim=1) / batch.mask.sum(dim=1)
    assert stage(batch)[0].item() == pytest.approx(expected.mean().item(), rel=1e-4)


def test_batches_alternate_between_folders(folder: Path, tiny: Any, config: TrainConfig) -> None:
    stage = motion_stage(folder, tiny, config, folders=2)
    stage.config = replace(stage.config, budget=replace(stage.config.budget, batch=8))
    stage._ends[1]._seed = 1  # other drags than those of the first folder
    for start, number in ((0, 0), (8, 1), (16, 0)):
        positions = range(start, start + 8)
        budget, device = stage.config.budget, torch.device("cpu")
        shown, expected = stage.batch(positions), stage._ends[number].batch(positions, budget, device)
        assert torch.equal(shown.handles, expected.handles)
        assert not torch.equal(shown.handles, stage._ends[1 - number].batch(positions, budget, device).handles)
    assert {"matches_1", "1_matches_1"} <= stage.report().numbers.keys()


def test_ranks_get_the_drags_of_one_process(folder: Path, tiny: Any, config: TrainConfig) -> None:
    stage = aim_stage(folder, tiny, config, landmarks=0.5)
    stage.config = replace(stage.config, budget=replace(stage.config.budget, batch=8))
    whole, parts = stage.batch(range(8, 16)), [stage.batch(range(8 + rank, 16, 2)) for rank in (0, 1)]
    for field in ("source", "goal", "handles", "targets", "mask"):
        together = torch.stack([getattr(part, field) for part in parts], dim=1).flatten(0, 1)
        assert torch.equal(together, getattr(whole, field))


def test_the_aim_overfits_one_batch(folder: Path, tiny: Any, config: TrainConfig, learn: Any) -> None:
    stage = aim_stage(folder, tiny, config, landmarks=0.5)
    batch = stage.batch(range(16))
    assert torch.equal(batch.handles, stage.batch(range(16)).handles)
    first, last = learn(stage, batch, steps=200, lr=3e-3, enough=1 / 4)
    assert last < first / 4
    assert set(stage.report().numbers) == NUMBERS


def test_the_landing_loss_moves_handles_closer_to_their_targets(
    folder: Path, tiny: Any, config: TrainConfig, learn: Any
) -> None:
    taught = motion_stage(folder, tiny, config)
    learn(taught, taught.batch(range(16)), steps=200, lr=5e-3, enough=1 / 4)
    before = {name: value.clone() for name, value in taught.motion.state_dict().items()}
    landings = []
    for gamma in (0.0, 1.0):
        stage = aim_stage(folder, tiny, config, taught.motion, landmarks=0.5, gamma=gamma)
        batch = stage.batch(range(16))
        learn(stage, batch, steps=60, lr=3e-3)
        landings.append(stage(batch)[1]["landing"].item())
        assert set(stage.report().numbers) == NUMBERS | {f"{name}_lands" for name in NUMBERS}
    assert landings[1] < landings[0] / 2
    assert all(torch.equal(value, before[name]) for name, value in taught.motion.state_dict().items())


def test_samples_are_drags_between_known_faces(folder: Path, tiny: Any, config: TrainConfig) -> None:
    stage = aim_stage(folder, tiny, config, landmarks=1.0, far=1.0, partial=0.0, still=0.0)
    batch = stage.batch(range(64))
    motions = Trajectories(folder, tiny, 8, 1, 0, landmarks=1.0).motions[:-4]
    places = [points for m in motions for points in (m.landmarks.handles, m.landmarks.targets)]
    for handles, targets in zip(batch.handles.numpy(), batch.targets.numpy(), strict=True):
        start = next(i for i, place in enumerate(places) if handles[0] in place)
        assert all(point in places[start] for point in handles)
        goal = next(i for i, place in enumerate(places) if targets[0] in place)
        match = np.abs(places[start][:, None] - handles).sum(-1).argmin(0)  # the same landmarks in both faces
        assert np.allclose(places[goal][match], targets)
    resting = aim_stage(folder, tiny, config, landmarks=1.0, still=1.0).batch(range(8))
    assert torch.allclose(resting.handles, resting.targets) and torch.allclose(resting.source, resting.goal)
    near = aim_stage(folder, tiny, config, landmarks=1.0, partial=1.0, still=0.0).batch(range(64))
    moved, asked = (near.goal - near.source).norm(dim=(1, 2)), (batch.goal - batch.source).norm(dim=(1, 2))
    assert 0.3 < moved.mean() / asked.mean() < 0.7


def test_too_few_motions_are_refused(folder: Path, tiny: Any, config: TrainConfig) -> None:
    with pytest.raises(InputError, match=r"aim\.validation=24 leaves no trajectories"):
        aim_stage(folder, tiny, config, validation=24)


def test_outlines_that_nobody_stored_are_refused(folder: Path, tiny: Any, config: TrainConfig) -> None:
    trajectories = Trajectories(folder, tiny, 8, 1, 0)
    trajectories.motions = [replace(motion, outlines=NO_OUTLINES) for motion in trajectories.motions]
    section = replace(config.motion, validation=4, outlines=0.25)
    landing = motion_stage(folder, tiny, config).model
    with pytest.raises(InputError, match=r"motion\.outlines=0\.25, but the trajectories have no outlines"):
        MotionStage(landing, [trajectories], section, seed=0)
