"""The moving average of the weights, in closed form."""

import torch
from torch import nn

from autodrag.training.ema import new_average, update_average


def test_the_average_moves_towards_the_weights() -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    average = {name: torch.zeros_like(tensor) for name, tensor in new_average(network).items()}
    del average["1.bias"]  # what is not averaged is left alone
    update_average(average, network, decay=0.9, step=1000)
    update_average(average, network, decay=0.9, step=1000)
    for name, parameter in network.named_parameters():
        if name in average:
            assert torch.allclose(average[name], (1 - 0.9**2) * parameter, rtol=1e-5)
    assert "1.bias" not in average


def test_the_decay_is_lower_in_the_first_steps() -> None:
    network = nn.Linear(1, 1)
    average = {name: torch.zeros_like(tensor) for name, tensor in new_average(network).items()}
    update_average(average, network, decay=0.999, step=0)
    assert torch.allclose(average["weight"], 0.9 * network.weight, rtol=1e-5)
