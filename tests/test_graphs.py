"""When a function is recorded and replayed, with a recorder that needs no GPU."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from autodrag.graphs import REMEMBERED, Graphed, Work


class Tape:
    """Replays by working again on the recorded inputs, into the recorded outputs, as a CUDA graph does."""

    def __init__(self) -> None:
        self.recorded = self.replayed = 0

    def __call__(self, work: Work) -> tuple[Callable[[], object], Sequence[Tensor]]:
        self.recorded += 1
        outputs = work()

        def replay() -> None:
            self.replayed += 1
            for mine, new in zip(outputs, work(), strict=True):
                mine.copy_(new)

        return replay, outputs


def twice_and_sum(x: Tensor, y: Tensor | None) -> list[Tensor]:
    return [2 * x, x.sum() if y is None else x.sum() + y.sum()]


def test_the_first_call_is_plain_the_second_recorded_the_others_replayed() -> None:
    tape = Tape()
    graphed = Graphed(twice_and_sum, tape)
    counts, results = [], []
    for number in range(4):
        x = torch.full((3,), float(number))
        results.append(graphed(x, None))
        counts.append((tape.recorded, tape.replayed))
    assert counts == [(0, 0), (1, 1), (1, 2), (1, 3)]
    for number, (double, total) in enumerate(results):  # none was overwritten by a later call
        assert double.tolist() == [2.0 * number] * 3 and total.item() == 3.0 * number


def test_every_value_of_a_setting_has_its_own_recording() -> None:
    tape = Tape()
    graphed = Graphed(lambda x, times: [x * times], tape)
    for times in (2, 3, 2, 3):
        assert graphed(torch.ones(1), times=times)[0].item() == times
    assert tape.recorded == 2


def test_every_shape_type_and_absence_has_its_own_recording() -> None:
    tape = Tape()
    graphed = Graphed(twice_and_sum, tape)
    some: list[tuple[Tensor, Tensor | None]] = [
        (torch.ones(3), None),
        (torch.ones(4), None),
        (torch.ones(3), torch.ones(2)),
        (torch.ones(3, dtype=torch.float64), None),
    ]
    for x, y in some + some:
        assert graphed(x, y)[1].item() == len(x) + (0 if y is None else len(y))
    assert tape.recorded == 4


def test_old_recordings_are_dropped_and_recorded_again() -> None:
    tape = Tape()
    graphed = Graphed(twice_and_sum, tape)
    for size in [*range(1, REMEMBERED + 2)] * 2:
        graphed(torch.ones(size), None)
    assert tape.recorded == 0  # each was forgotten before it came again
    for _ in range(2):
        assert graphed(torch.ones(5), None)[1].item() == 5
    assert tape.recorded == 1


def test_a_failed_recording_is_reported_once_and_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    tried = []

    def fails(work: Work) -> tuple[Callable[[], object], Sequence[Tensor]]:
        tried.append(work)
        raise RuntimeError("operation not permitted when stream is capturing\nmore")

    graphed = Graphed(twice_and_sum, fails)
    for _ in range(4):
        assert graphed(torch.ones(3), None)[1].item() == 3
    assert len(tried) == 1
    said = capsys.readouterr().err
    assert said.count("CUDA graphs are off") == 1 and "stream is capturing" in said and "more" not in said


def test_gradients_are_never_recorded() -> None:
    tape = Tape()
    graphed = Graphed(twice_and_sum, tape)
    x = torch.ones(3, requires_grad=True)
    for _ in range(3):
        (gradient,) = torch.autograd.grad(graphed(x, None)[1], x)
        assert gradient.tolist() == [1.0] * 3
    assert tape.recorded == 0


def test_a_cpu_records_nothing() -> None:
    graphed = Graphed(twice_and_sum)
    assert [graphed(torch.ones(3), None)[1].item() for _ in range(3)] == [3.0] * 3
    assert not graphed._recorded


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_replays_what_it_recorded() -> None:
    graphed = Graphed(twice_and_sum)
    for number in range(4):
        double, total = graphed(torch.full((3,), float(number), device="cuda"), None)
        assert double.tolist() == [2.0 * number] * 3 and total.item() == 3.0 * number
    assert all(recording is not None for recording in graphed._recorded.values()) and not graphed._failed
