"""Timing of single edits."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from autodrag.evaluation.drag_batch import time_edits
from autodrag.generator import FrozenGenerator
from autodrag.methods import Step
from autodrag.methods.base import Points


class Slow:
    """A drag method as on a GPU: slow at its first two calls, and quick for the image that it saw last."""

    def __init__(self) -> None:
        self.calls, self.last = 0, torch.zeros(0)

    def drag(self, ws: Tensor, handles: Points, targets: Points, mask: object = None) -> Iterator[Step]:
        self.calls += 1
        seconds = 100.0 if self.calls <= 2 else 1.0 if torch.equal(ws, self.last) else 10.0
        self.last = ws
        yield Step(1, ws, seconds, torch.ones(1, dtype=torch.bool), None, lambda: ws, torch.ones(1, 1).bool())


@pytest.mark.parametrize("count", [1, 3])
def test_edits_are_timed_warmed_up_and_of_images_that_are_new_to_the_method(tiny: FrozenGenerator, count: int) -> None:
    ws = tiny.map(torch.randn(count, tiny.z_dim))
    points = [torch.full((1, 2), 9.0)] * count
    timing = time_edits(tiny, Slow(), ws, points, points)
    assert timing.method == [10.0] * count
    assert len(timing.rendered) == count and all(seconds > 10 for seconds in timing.rendered)
