"""Preconditioned L-BFGS that yields after each evaluation."""

from collections.abc import Callable, Iterator

from jaxtyping import Float
from torch import Tensor

ENOUGH = 1e-4  # minimum fraction of the predicted decrease for a step to be accepted (Armijo)
CURVED = 1e-8  # minimum cosine between a step and its change of gradient, for the pair to be used
SHORTEN = (0.1, 0.5)  # bounds of the backtracking factor
FIRST = 0.5  # predicted decrease of the first step, as a fraction of the value

Vector = Float[Tensor, " N"]


def minimise(
    evaluate: Callable[[Vector], tuple[float, Vector]],
    start: Vector,
    solve: Callable[[Vector], Vector],
    evaluations: int,
    memory: int = 20,
) -> Iterator[tuple[float, Vector]]:
    """Yield the best value so far and its point after each evaluation (Nocedal and Wright 2006, algorithms 7.4, 3.1).

    evaluate: value and gradient at a point. solve: applies the preconditioner, an approximate inverse Hessian up to a
    factor, which is estimated. Steps that fail the Armijo condition are shortened by quadratic interpolation.
    """
    x = start
    value, gradient = evaluate(x)
    pairs: list[tuple[Vector, Vector]] = []
    direction, share = _first(value, gradient, solve), 1.0
    yield value, x
    for _ in range(evaluations - 1):
        candidate = x + share * direction
        new_value, new_gradient = evaluate(candidate)
        predicted = share * float(gradient @ direction)
        if new_value <= value + ENOUGH * predicted:
            step, change = candidate - x, new_gradient - gradient
            if float(step @ change) > CURVED * float(step.norm() * change.norm()):
                pairs = [*pairs, (step, change)][-memory:]
            x, value, gradient = candidate, new_value, new_gradient
            direction = -_times_inverse(gradient, pairs, solve) if pairs else _first(value, gradient, solve)
            share = 1.0
        else:
            low, high = SHORTEN
            share *= min(high, max(low, -predicted / (2 * (new_value - value - predicted))))
        yield value, x


def _first(value: float, gradient: Vector, solve: Callable[[Vector], Vector]) -> Vector:
    solved = solve(gradient)
    return -FIRST * value / max(float(gradient @ solved), 1e-20) * solved


def _times_inverse(gradient: Vector, pairs: list[tuple[Vector, Vector]], solve: Callable[[Vector], Vector]) -> Vector:
    """L-BFGS two-loop recursion: the gradient times the approximate inverse Hessian."""
    q, alphas = gradient, []
    for step, change in reversed(pairs):
        alphas.append(step @ q / (step @ change))
        q = q - alphas[-1] * change
    step, change = pairs[-1]
    q = step @ change / (change @ solve(change)) * solve(q)
    for (step, change), alpha in zip(pairs, reversed(alphas), strict=True):
        q = q + (alpha - change @ q / (step @ change)) * step
    return q
