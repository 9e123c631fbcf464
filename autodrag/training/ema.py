"""Exponential moving average (EMA) of a network's weights."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def new_average(network: nn.Module) -> dict[str, Tensor]:
    """A copy of the parameters, by name."""
    return {name: parameter.detach().clone() for name, parameter in network.named_parameters()}


@torch.no_grad()
def update_average(average: Mapping[str, Tensor], network: nn.Module, decay: float, step: int) -> None:
    """EMA update in place. The decay is lower in the first steps, so that the initial weights are forgotten quickly."""
    decay = min(decay, (1 + step) / (10 + step))
    pairs = [(average[name], parameter) for name, parameter in network.named_parameters() if name in average]
    if pairs:
        averages, parameters = map(list, zip(*pairs, strict=True))
        torch._foreach_lerp_(averages, parameters, 1 - decay)  # one kernel for all tensors


@contextmanager
def averaged(network: nn.Module, average: Mapping[str, Tensor]) -> Iterator[None]:
    """Swap in the averaged parameters within the context."""
    own = {name: parameter.detach().clone() for name, parameter in network.named_parameters() if name in average}
    network.load_state_dict(average, strict=False)
    try:
        yield
    finally:
        network.load_state_dict(own, strict=False)
