"""The device that a config names, on a simulated machine with GPUs, and temporary threads."""

import threading

import pytest
import torch

from autodrag.devices import in_passing, pick_device
from autodrag.errors import InputError


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> list[torch.device]:
    """A simulated machine with two CUDA devices; the devices that were set."""
    chosen: list[torch.device] = []

    def set_device(device: torch.device) -> None:
        if device.index is None:  # as PyTorch does
            raise ValueError("Expected a torch.device with a specified index or an integer, but got:cuda")
        chosen.append(device)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", set_device)
    return chosen


@pytest.mark.parametrize(
    ("device", "local", "expected"),
    [("auto", None, "cuda:0"), ("cuda", None, "cuda:0"), ("cuda:1", None, "cuda:1"), ("auto", 1, "cuda:1")],
)
def test_a_gpu_is_set_by_its_number(
    two_gpus: list[torch.device], device: str, local: int | None, expected: str
) -> None:
    assert pick_device(device, local) == torch.device(expected)
    assert two_gpus == [torch.device(expected)]


@pytest.mark.parametrize(("device", "local"), [("cuda:2", None), ("auto", 2)])
def test_a_gpu_that_is_not_there_is_refused(two_gpus: list[torch.device], device: str, local: int | None) -> None:
    with pytest.raises(InputError, match=r"cuda:2 does not exist: PyTorch sees 2"):
        pick_device(device, local)
    assert two_gpus == []


def test_the_cpu_is_never_set_as_current_device(two_gpus: list[torch.device]) -> None:
    assert pick_device("cpu", 1) == torch.device("cpu") and two_gpus == []


def test_temporary_threads_end() -> None:
    before = threading.active_count()
    worker = in_passing(threading.current_thread)
    assert worker is not threading.main_thread() and not worker.is_alive()
    assert threading.active_count() == before


def test_errors_in_a_temporary_thread_reach_the_caller() -> None:
    with pytest.raises(ZeroDivisionError):
        in_passing(lambda: 1 / 0)
