"""The calls of `torch.distributed` that let ranks wait for each other; NCCL itself needs GPUs."""

from datetime import timedelta

import pytest
import torch
from torch import distributed as dist

from autodrag.runs.ranks import Ranks, join_ranks


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The recorded calls of `torch.distributed`."""
    calls: list[object] = []
    monkeypatch.setattr(dist, "init_process_group", lambda backend, timeout: calls.append((backend, timeout)))
    monkeypatch.setattr(dist, "destroy_process_group", lambda: calls.append("destroyed"))
    monkeypatch.setattr(dist, "barrier", lambda: calls.append("barrier"))
    return calls


def test_waiting_is_a_barrier(asked: list[object]) -> None:
    """The result of an all_reduce that nobody reads is not waited for under NCCL."""
    Ranks(0, 1, torch.device("cpu")).wait()
    assert asked == []
    Ranks(1, 2, torch.device("cpu")).wait()
    assert asked == ["barrier"]


def test_ranks_agree_on_what_the_first_one_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[list[str | None]] = []

    def broadcast(said: list[str | None], device: torch.device) -> None:
        sent.append(list(said))
        said[0] = "first"

    monkeypatch.setattr(dist, "broadcast_object_list", broadcast)
    assert Ranks(0, 1, torch.device("cpu")).agree(lambda: "alone") == "alone" and sent == []
    assert Ranks(0, 2, torch.device("cpu")).agree(lambda: "first") == "first"
    assert Ranks(1, 2, torch.device("cpu")).agree(lambda: "second") == "first" and sent == [["first"], [None]]


def test_ranks_take_their_gpu_and_wait_long_enough(asked: list[object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: asked.append(device))
    for key, value in {"WORLD_SIZE": "8", "RANK": "6", "LOCAL_RANK": "2"}.items():
        monkeypatch.setenv(key, value)
    with join_ranks("auto") as ranks:
        assert ranks == Ranks(6, 8, torch.device("cuda:2")) and not ranks.first
    device, (backend, timeout), end = asked
    assert (device, backend, end) == (torch.device("cuda:2"), "nccl", "destroyed")
    assert timeout >= timedelta(hours=12)  # shares of an evaluation differ by hours
