"""Mean distance decay, judged by the renderer on synthface."""

from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from autodrag.config import compose, load_dataset, typed
from autodrag.domains.synthface.reader import Reader, reader_path
from autodrag.errors import InputError
from autodrag.evaluation.metric_networks import MetricNetworks
from autodrag.evaluation.run import EvalConfig
from autodrag.evaluation.tasks import make_task
from autodrag.evaluation.tasks.base import Item
from autodrag.evaluation.tasks.mdd import FITS, Mdd, MddConfig, _spread
from autodrag.evaluation.truth import JUDGE
from autodrag.generator import FrozenGenerator
from autodrag.loading import load_generator
from autodrag.methods import Step
from autodrag.methods.base import Points
from autodrag.vision.flow import Flow


@dataclass(frozen=True)
class Walk:
    """A drag method that goes straight to given latents, in so many steps."""

    goal: Tensor
    steps: int

    def drag(self, ws: Tensor, handles: Points, targets: Points, mask: object = None) -> Iterator[Step]:
        for number in range(1, self.steps + 1):
            there = torch.lerp(ws, self.goal, number / self.steps)
            done = torch.full((len(ws),), number == self.steps)
            yield Step(
                number,
                there,
                0.1 * number,
                done,
                None,
                lambda: torch.as_tensor(handles)[None],
                torch.ones(1, 1, dtype=torch.bool),
            )


@pytest.fixture(scope="module")
def task() -> Mdd:
    generator = load_generator("synthface")
    config = MddConfig("mdd", 1, None, 1.0, 1, 60.0, "dis", 30)
    return Mdd(generator, 0, config, 1.0, Flow("dis"), None, Reader.load(reader_path("synthface"), torch.device("cpu")))


@pytest.fixture(scope="module")
def item(task: Mdd) -> Item:
    return next(found for attempt in range(50) if (found := task.try_item(0, attempt)) is not None)


@pytest.mark.parametrize(("share", "low", "high"), [(0.0, 0.85, 1.15), (1.0, 0.0, 0.4)])
def test_the_renderer_measures_the_distance_of_a_handle(
    task: Mdd, item: Item, share: float, low: float, high: float
) -> None:
    latents = task.latents([item])
    assert latents.goal is not None
    method = Walk(torch.lerp(latents.source, latents.goal, share), 2)
    prediction = task.predict(method, "1", [item])
    trace = prediction.notes[0]["trace"]
    assert isinstance(trace, list)
    assert trace[0] == [0.0, 1.0] and [seconds for seconds, _ in trace[1:]] == pytest.approx([0.1, 0.2])
    assert prediction.notes[0]["steps"] == 2
    assert low <= trace[-1][1] <= high
    assert task.score("1", [item], prediction) == [{"mdd": trace[-1][1]}]


def test_the_tools_name_the_judge(task: Mdd) -> None:
    assert task.tools == {"flow": "dis", "handles": "renders of 128 px"}


@pytest.mark.parametrize("count", [0, 1, 2, 5, FITS, 100, 300])
def test_long_edits_are_measured_at_a_sample_of_steps(count: int) -> None:
    chosen = _spread(count)
    assert len(chosen) <= min(count, FITS) and chosen == sorted(set(chosen))
    assert count == 0 or (chosen[0] == 0 and chosen[-1] == count - 1)


def test_a_file_that_is_called_synthface_is_not_judged_by_its_renderer(tiny: FrozenGenerator) -> None:
    task = typed(EvalConfig, compose("eval", ["task=mdd", "task.psi=1", "task.flow=dis"])).task
    reader = Reader.load(reader_path("synthface"), torch.device("cpu"))
    networks = MetricNetworks(None, reader, [reader], {})
    named = copy(tiny)
    named.name = "synthface"
    own, user = load_dataset("synthface"), load_dataset("/elsewhere/synthface.safetensors")
    judges = [make_task(task, dataset, named, networks, 0).tools["handles"] for dataset in (own, user)]
    assert judges == [JUDGE, "tracker"]
    with pytest.raises(InputError, match="Identity is measured on synthface only, not on /elsewhere/synthface"):
        reader_path(user.domain)
    pulls = typed(EvalConfig, compose("eval", ["task=pulls"])).task
    with pytest.raises(InputError, match=r"renderer of synthface, not of /elsewhere/synthface\.safetensors"):
        make_task(pulls, user, named, networks, 0)
