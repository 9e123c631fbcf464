"""Limited-memory BFGS, one evaluation at a time, for functions whose curvature is roughly known."""

from collections.abc import Callable, Iterator

from jaxtyping import Float
from torch import Tensor

ENOUGH = 1e-4  # share of the expected decrease that a step must bring
CURVED = 1e-8  # smallest cosine between a step and its change of gradient; other pairs are not used
SHORTEN = (0.1, 0.5)  # bounds of the factor that shortens a step
FIRST = 0.5  # expected decrease of the first step, as a share of the value

Vector = Float[Tensor, " N"]


def minimise(
    evaluate: Callable[[Vector], tuple[float, Vector]],
    start: Vector,
    solve: Callable[[Vector], Vector],
    evaluations: int,
    memory: int = 20,
) -> Iterator[tuple[float, Vector]]:
    """Yield the lowest value so far and its point after each evaluation (Nocedal and Wright 2006, algorithms 7.4, 3.1).

    evaluate: value and gradient at a point. solve: multiplies a gradient by the inverse of the known curvature, up to a
    factor, which is estimated. A step that decreases the value too little is shortened to the minimum of a parabola.
    """
    x = start
    value, slope = evaluate(x)
    pairs: list[tuple[Vector, Vector]] = []
    direction, share = _first(value, slope, solve), 1.0
    yield value, x
    for _ in range(evaluations - 1):
        candidate = x + share * direction
        there, slope_there = evaluate(candidate)
        promised = share * float(slope @ direction)
        if there <= value + ENOUGH * promised:
            step, bend = candidate - x, slope_there - slope
            if float(step @ bend) > CURVED * float(step.norm() * bend.norm()):
                pairs = [*pairs, (step, bend)][-memory:]
            x, value, slope = candidate, there, slope_there
            direction = -_times_inverse(slope, pairs, solve) if pairs else _first(value, slope, solve)
            share = 1.0
        else:
            least, most = SHORTEN
            share *= min(most, max(least, -promised / (2 * (there - value - promised))))
        yield value, x


def _first(value: float, slope: Vector, solve: Callable[[Vector], Vector]) -> Vector:
    solved = solve(slope)
    return -FIRST * value / max(float(slope @ solved), 1e-20) * solved


def _times_inverse(slope: Vector, pairs: list[tuple[Vector, Vector]], solve: Callable[[Vector], Vector]) -> Vector:
    """The gradient times the inverse curvature: the known one, corrected by the steps so far."""
    q, amounts = slope, []
    for step, bend in reversed(pairs):
        amounts.append(step @ q / (step @ bend))
        q = q - amounts[-1] * bend
    step, bend = pairs[-1]
    q = step @ bend / (bend @ solve(bend)) * solve(q)
    for (step, bend), amount in zip(pairs, reversed(amounts), strict=True):
        q = q + (amount - bend @ q / (step @ bend)) * step
    return q
