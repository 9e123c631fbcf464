"""Quasi-Newton steps: known minima, found in few evaluations."""

from itertools import pairwise

import torch
from torch import Tensor

from autodrag.editor.quasi_newton import minimise


def test_a_quadratic_whose_curvature_is_known_needs_two_steps() -> None:
    draw = torch.Generator().manual_seed(0)
    root = torch.randn(12, 12, generator=draw)
    curvature, minimum = root @ root.T + torch.eye(12), torch.randn(12, generator=draw)

    def evaluate(x: Tensor) -> tuple[float, Tensor]:
        off = x - minimum
        return float(off @ curvature @ off) / 2, curvature @ off

    inverse = torch.linalg.inv(curvature)
    for factor in (1.0, 50.0):  # known up to a factor only
        *_, (value, x) = minimise(evaluate, torch.zeros(12), lambda slope, f=factor: f * inverse @ slope, 4)
        assert value < 1e-5
        assert torch.allclose(x, minimum, atol=1e-2)


def test_a_curved_valley_is_followed_and_the_value_never_rises() -> None:
    """Rosenbrock's function, minimum 0 at (1, 1)."""

    def evaluate(x: Tensor) -> tuple[float, Tensor]:
        x = x.detach().requires_grad_()
        value = (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2
        return float(value.detach()), torch.autograd.grad(value, x)[0]

    found = list(minimise(evaluate, torch.tensor([-1.2, 1.0]), lambda slope: slope, 80))
    values = [value for value, _ in found]
    assert len(found) == 80
    assert all(after <= before for before, after in pairwise(values))
    assert values[-1] < 1e-6
    assert torch.allclose(found[-1][1], torch.ones(2), atol=1e-2)
