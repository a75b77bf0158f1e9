"""What can be said about a derivative where the function has a kink: at relu(0), at a tie of max.

The gradients near the point are ordinary ones, which are checked by themselves. At the kink, the
derivative along a direction must lie between those nearby: a tie that counts twice, or a relu with
the slope 2 at 0, is wrong. That holds where the nearby derivatives take one value, or two (of the
two sides of one kink); where several kinks meet, any mixture is possible, and nothing is said.
"""

from collections.abc import Iterator

import numpy as np

from .problem import Arrays, Problem
from .report import Failure, fail, relative_error

NEARBY, DISTANCE = 12, 1e-6  # points, and how far they are from the kink, relative to the argument
MOST_ENTRIES = 10_000  # of an argument whose entries are looked at one by one
MOST_LOOKS = 50  # at entries that seem wrong


def look_at_the_kink(problem: Problem, order: int, rng: np.random.Generator) -> None:
    """Raise GradientError if the derivative at the point of a Problem does not lie between those
    nearby: along each entry (of arguments with at most MOST_ENTRIES), and along directions that
    change all entries alike."""
    if problem.gradient is None:
        return
    weights = problem.weights(rng)
    exact = sum(w.size for w in weights) == 1
    unit = float(sum(np.sum(w) for w in weights)) if exact else 1.0
    here = problem.gradient(problem.arrays, weights)
    nearby = []
    for _ in range(NEARBY // 2):  # in pairs, on both sides of each kink
        step = [
            DISTANCE * s * rng.standard_normal(x.shape)
            for x, s in zip(problem.arrays, problem.scales)
        ]
        nearby += [_gradient_beside(problem, weights, step, sign) for sign in (1.0, -1.0)]
    looked = 0
    for i, name, index, d, others in _derivatives(problem, here, nearby):
        if _may_be(d, others):
            continue
        # Of many that tie, an entry may have won or lost at all these points: change it alone.
        looked += 1
        if index is not None:
            others = others + _beside_along(problem, weights, i, index, rng)
        if looked > MOST_LOOKS or _may_be(d, others):
            continue
        d, low, high = d / unit, *sorted((min(others) / unit, max(others) / unit))
        nearest = low if d < low else high
        where = f"at index {index}" if index is not None else "along equal changes of all entries"
        fail(
            Failure(
                problem.title,
                order,
                name,
                index,
                where,
                d,
                nearest,
                relative_error(d, nearest, 1e-300),
                exact=exact,
                suspects=[
                    "f has a kink at this point, and the derivative does not lie between those of "
                    f"both sides, {low:.6g} and {high:.6g}: how does it treat ties, or 0?"
                ],
            )
        )


def _may_be(d: float, others: list[float]) -> bool:
    """Return whether d may be the derivative at a kink: it lies between those nearby, or these have
    more than two values."""
    low, high = min(others), max(others)
    margin = 1e-3 * max(abs(low), abs(high)) + 1e-12
    between = any(low + margin < v < high - margin for v in others)
    return between or low - margin <= d <= high + margin


def _gradient_beside(problem: Problem, weights: Arrays, step: Arrays, sign: float) -> Arrays:
    assert problem.gradient is not None
    return problem.gradient([x + sign * d for x, d in zip(problem.arrays, step)], weights)


def _beside_along(
    problem: Problem, weights: Arrays, i: int, index: tuple[int, ...], rng: np.random.Generator
) -> list[float]:
    """Return the derivative along an entry of argument i at more points nearby; at the first of
    them, this entry has changed most, up or down."""
    found = []
    for k in range(2 * NEARBY):
        size = DISTANCE if k >= 4 else DISTANCE / 100
        step = [
            size * s * rng.standard_normal(x.shape) for x, s in zip(problem.arrays, problem.scales)
        ]
        if k < 4:
            step[i][index] += (-1.0) ** k * DISTANCE * problem.scales[i]
        gradient = _gradient_beside(problem, weights, step, 1.0)[i]
        found.append(float(gradient[index]))
    return found


def _derivatives(
    problem: Problem, here: Arrays, nearby: list[Arrays]
) -> Iterator[tuple[int, str, tuple[int, ...] | None, float, list[float]]]:
    """Yield (argument, its name, index, derivative here, derivatives nearby)."""
    for i, name in enumerate(problem.names):
        for index in np.ndindex(here[i].shape) if here[i].size <= MOST_ENTRIES else ():
            yield i, name, index, float(here[i][index]), [float(g[i][index]) for g in nearby]
        yield i, name, None, float(np.sum(here[i])), [float(np.sum(g[i])) for g in nearby]
    totals = [sum(float(np.sum(x)) for x in g) for g in (here, *nearby)]
    yield 0, " and ".join(problem.names), None, totals[0], totals[1:]
