"""The training state on a device that is not the CPU: a fake one, which refuses what CUDA refuses."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from autodrag.training.checkpoint import Progress, _restore_optimizer, restore_checkpoint, save_checkpoint


class Gated(nn.Module):
    """A network with a scalar parameter, as the gate of AutoDrag's regularizer."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.zeros(()))
        self.weights = nn.Parameter(torch.ones(3))


def trained(steps: int) -> tuple[Gated, torch.optim.Optimizer]:
    network = Gated()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        (network.gate - network.weights).square().sum().backward()
        optimizer.step()
    return network, optimizer


@pytest.mark.parametrize("kind", ["foreach", "fused", "plain"])
def test_adams_state_of_a_scalar_is_on_its_device(kind: str) -> None:
    with FakeTensorMode():
        before, optimizer = trained(2)
        names = {parameter: name for name, parameter in before.named_parameters()}
        stored = {f"{names[p]}/{key}": t for p, state in optimizer.state.items() for key, t in state.items()}
        with torch.device("cuda:0"):
            network = Gated()
        resumed = torch.optim.Adam(network.parameters(), lr=0.1, foreach=kind == "foreach", fused=kind == "fused")
        _restore_optimizer(network, resumed, stored)
        for parameter, state in resumed.state.items():
            assert {key: t.device.type for key, t in state.items()} == {
                "step": "cuda" if kind == "fused" else "cpu",
                "exp_avg": "cuda",
                "exp_avg_sq": "cuda",
            }
            parameter.grad = torch.zeros_like(parameter)
        resumed.step()  # raises where one of them is on the wrong side


def test_a_resumed_optimiser_continues_exactly(tmp_path: Path) -> None:
    network, optimizer = trained(2)
    save_checkpoint(tmp_path, network, {}, optimizer, Progress(step=2))
    again = Gated()
    resumed = torch.optim.Adam(again.parameters(), lr=0.1)
    assert restore_checkpoint(tmp_path, again, {}, resumed) == Progress(step=2)
    for _ in range(2):
        for model, adam in ((network, optimizer), (again, resumed)):
            adam.zero_grad()
            (model.gate - model.weights).square().sum().backward()
            adam.step()
    assert torch.equal(again.gate, network.gate) and torch.equal(again.weights, network.weights)
