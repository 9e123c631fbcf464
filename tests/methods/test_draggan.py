"""DragGAN against recordings of the official code, and in closed form on a generator that only shifts a blob."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from autodrag.generator import FrozenGenerator
from autodrag.loading import load_generator
from autodrag.methods import load_method
from autodrag.methods.base import Step


@pytest.mark.parametrize("name", ["sg2_128", "sg2_256"])
@pytest.mark.parametrize("masked", ["", "_mask"])
def test_follows_the_official_code(golden: Callable[[str], Path], name: str, masked: str) -> None:
    record = np.load(golden(f"{name}_draggan{masked}.npz"))
    mask = 1 - record["mask_fixed"] if masked else None  # recorded with 1 = fixed
    length = len(record["w_edit"]) if name == "sg2_128" else 20  # the larger one for its beginning
    method = load_method("draggan", load_generator(golden(f"{name}.pkl")), lr=float(record["lr"]), max_steps=length)
    ws = torch.from_numpy(record["ws"])
    steps = list(method.drag(ws, record["handles_xy"], record["targets_xy"], mask))
    assert [step.index for step in steps] == list(range(1, length + 1))
    heads = np.stack([step.ws[0, :6].numpy() for step in steps])
    motion = np.abs(record["w_edit"][-1] - record["ws"][0, :6]).max()
    error = np.abs(heads - record["w_edit"][:length]).max(axis=(1, 2)) / motion
    assert error[:20].max() < 1e-3
    assert error.max() < 2e-2
    points = np.stack([step.points.numpy() for step in steps])
    assert np.abs(points - record["tracked_xy"][:length]).max() <= 1
    assert [bool(step.done) for step in steps] == record["stopped"][:length].tolist()
    assert all(torch.equal(step.ws[:, 6:], ws[:, 6:]) for step in steps)


def drag(blob: FrozenGenerator, start: list[list[float]], handles, targets, **options: float) -> list[Step]:
    ws = torch.zeros(len(start), blob.num_ws, blob.w_dim)
    ws[:, 0, :2] = torch.tensor(start)
    return list(load_method("draggan", blob, lr=0.2, **options).drag(ws, handles, targets))


def test_tracking_finds_the_blob_where_it_was_moved(blob: FrozenGenerator) -> None:
    steps = drag(blob, [[0.0, 0.0]], [[16.0, 32.0]], [[22.0, 25.0]], max_steps=80)
    assert len(steps) < 80 and bool(steps[-1].done)  # arrived: stopped by itself
    for step in steps:
        moved = torch.tensor([[16.0, 32.0]]) + step.ws[:, 0, :2]
        assert (step.points - moved).abs().max() <= 1.5
    assert (steps[-1].points - torch.tensor([[22.0, 25.0]])).norm() <= 2


def test_the_first_step_goes_towards_the_target(blob: FrozenGenerator) -> None:
    (step,) = drag(blob, [[0.0, 0.0]], [[16.0, 32.0]], [[8.0, 40.0]], max_steps=1)
    # Adam's first step is lr times the sign of the gradient.
    assert torch.allclose(step.ws[0, 0, :2], torch.tensor([-0.2, 0.2]), atol=1e-4)


def test_arrived_handles_need_no_step(blob: FrozenGenerator) -> None:
    assert drag(blob, [[0.0, 0.0]], [[16.0, 32.0]], [[17.0, 32.0]]) == []


def test_a_batch_equals_single_runs(blob: FrozenGenerator) -> None:
    starts = [[0.0, 0.0], [2.0, -3.0], [-1.0, 4.0]]
    handles = [[[16.0, 32.0]], [[18.0, 29.0], [14.0, 27.0]], [[15.0, 36.0]]]
    targets = [[[20.0, 28.0]], [[18.0, 49.0], [14.0, 47.0]], [[15.5, 36.0]]]
    batch = drag(blob, starts, handles, targets, max_steps=40)
    assert batch[0].done.tolist() == [False, False, True]
    for image in range(3):
        single = drag(blob, [starts[image]], handles[image], targets[image], max_steps=40)
        for index, step in enumerate(batch):
            if index < len(single):
                assert torch.allclose(step.ws[image], single[index].ws[0], atol=1e-4)
                assert torch.allclose(step.points[image], single[index].points, atol=1e-3)
                assert bool(step.done[image]) == bool(single[index].done)
            elif index > 0:  # finished: nothing changes any more
                assert torch.equal(step.ws[image], batch[index - 1].ws[image])
                assert torch.equal(step.points[image], batch[index - 1].points[image])


def test_steps_are_not_changed_by_later_ones_and_time_runs(blob: FrozenGenerator) -> None:
    ws = torch.zeros(1, blob.num_ws, blob.w_dim)
    seen, copies = [], []
    for step in load_method("draggan", blob, max_steps=5).drag(ws, [[16, 32]], [[26, 32]]):
        seen.append(step)
        copies.append((step.ws.clone(), step.points.clone()))
    assert ws.abs().max() == 0
    for step, (latents, points) in zip(seen, copies, strict=True):
        assert torch.equal(step.ws, latents) and torch.equal(step.points, points)
    assert all(a.seconds < b.seconds for a, b in pairwise(seen))


def test_a_mask_that_fixes_everything_but_the_blob_changes_nothing_in_the_first_step(tiny: FrozenGenerator) -> None:
    ws = tiny.map(torch.randn(1, tiny.z_dim, generator=torch.Generator().manual_seed(1)))
    free, masked = (
        next(load_method("draggan", tiny, max_steps=1).drag(ws, [[30, 30]], [[40, 30]], mask)).ws
        for mask in (None, torch.zeros(64, 64))
    )
    assert torch.allclose(free, masked)  # F = F_0 at the start, where the term has no slope


def test_masked_regions_stay(tiny: FrozenGenerator) -> None:
    ws = tiny.map(torch.randn(1, tiny.z_dim, generator=torch.Generator().manual_seed(1)))
    mask = torch.zeros(64, 64)
    mask[20:44, 20:44] = 1
    start = tiny.features(ws)
    outside = torch.nn.functional.interpolate(1 - mask[None, None], start.shape[-2:])
    changes = []
    for kept in (None, mask):
        *_, last = load_method("draggan", tiny, lr=0.02, max_steps=10).drag(ws, [[30, 30]], [[40, 30]], kept)
        changes.append(((tiny.features(last.ws) - start).abs() * outside).mean())
    assert changes[1] < 0.6 * changes[0]
