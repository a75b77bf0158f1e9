"""What is checked, in one form: a function of arrays, and its derivative as someone claims it."""

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .line import FIRST_STEP, Line, Sample, jitter_of

Arrays = list[np.ndarray[Any, Any]]
JITTER_STEP = 2.0**-34  # of the steps that measure noise: no smooth function changes there


class Problem:
    """A function f of arrays, at a point, with the derivative to be checked.

    arrays: the point, float64 arrays; f and the derivative take a list of such arrays.
    values: f, whose results are a list of arrays.
    gradient: a function of (arrays, weights) that returns the claimed gradients of
    sum(weights * f), one for each array; weights are arrays, one for each result. None if only
    `along` is known.
    along: a function of (arrays, directions) that returns the claimed derivatives of the results
    along a direction (a Jacobian-vector product).
    title, names: of f, and of the arrays, in messages.
    jitter_step: of the steps that measure noise; larger ones show the noise of float32.
    """

    def __init__(
        self,
        title: str,
        names: Sequence[str],
        arrays: Arrays,
        values: Callable[[Arrays], Arrays],
        gradient: Callable[[Arrays, Arrays], Arrays] | None,
        along: Callable[[Arrays, Arrays], Arrays] | None = None,
        jitter_step: float = JITTER_STEP,
    ) -> None:
        self.title, self.names, self.arrays = title, list(names), arrays
        self.values, self.gradient, self.along = values, gradient, along
        self.jitter_step = jitter_step
        self.here = values(arrays)
        self.scales = [scale_of(x) for x in arrays]

    def moved_to(self, arrays: Arrays) -> "Problem":
        """Return the same problem at another point."""
        functions = self.values, self.gradient, self.along
        return Problem(self.title, self.names, arrays, *functions, self.jitter_step)

    def weights(self, rng: np.random.Generator) -> Arrays:
        """Return random weights of the results."""
        return [rng.standard_normal(v.shape) for v in self.here]

    def claim(self, weights: Arrays) -> "Claim":
        """Return the derivative of sum(weights * f) that is claimed."""
        return Claim(self, weights)


class Claim:
    """The claimed derivative of sum(weights * f) at the point of a Problem.

    gradients: an array for each argument; None for a Problem with Jacobian-vector products alone.
    """

    def __init__(self, problem: Problem, weights: Arrays) -> None:
        self.problem, self.weights = problem, weights
        self.gradients = problem.gradient and problem.gradient(problem.arrays, weights)

    def along(self, direction: Arrays, at: Arrays | None = None) -> float:
        """Return the claimed derivative along `direction`: at the point, or at other arrays."""
        problem = self.problem
        if self.gradients is None:
            assert problem.along is not None
            changes = problem.along(problem.arrays if at is None else at, direction)
            return inner(self.weights, changes)
        gradients = self.gradients
        if at is not None:
            assert problem.gradient is not None
            gradients = problem.gradient(at, self.weights)
        return inner(gradients, direction)

    def size(self, direction: Arrays) -> float:
        """Return the usual size of derivatives along such directions."""
        if self.gradients is None:
            return abs(self.along(direction))
        return math.sqrt(
            sum(
                _sum_of_squares(g[v != 0]) * np.mean(v[v != 0] ** 2)
                for g, v in zip(self.gradients, direction)
                if np.any(v)
            )
        )

    def line(self, direction: Arrays, first: float = FIRST_STEP) -> Line:
        """Return the Line from the point along `direction`."""
        problem, here = self.problem, self.problem.here
        claimed = self.along(direction)

        def values_at(t: float) -> tuple[Arrays, Arrays]:
            moved = [x + t * v if np.any(v) else x for x, v in zip(problem.arrays, direction)]
            return moved, problem.values(moved)

        def measure(h: float) -> Sample:
            (ahead, up), (behind, down) = values_at(h), values_at(-h)
            change = inner(self.weights, [a - b for a, b in zip(up, down)])
            bend = inner(self.weights, [(a - c) + (b - c) for a, b, c in zip(up, down, here)])
            if self.gradients is None:
                expected = 2 * h * claimed
            else:  # along the steps as they are after rounding
                expected = inner(self.gradients, [a - b for a, b in zip(ahead, behind)])
            noise = rounding(self.weights, up, down) / h
            return Sample(h, (change - expected) / (2 * h), bend / (2 * h), noise)

        def jitter() -> tuple[float, float]:
            ts = [k * first * problem.jitter_step for k in range(12)]
            points = [values_at(t) for t in ts]
            phi = [inner(self.weights, [a - b for a, b in zip(v, here)]) for _, v in points]
            slopes = [self.along(direction, at=moved) for moved, _ in points]
            return 2 * jitter_of(phi), jitter_of(slopes)

        return Line(
            measure,
            self.size(direction),
            claimed,
            jitter,
            first=first,
            direction=direction,
            weights=self.weights,
        )


def inner(a: Arrays, b: Arrays) -> float:
    """Return the inner product of two lists of arrays. Where b is 0, a does not count, even if
    it is infinite; NaN stays NaN."""
    total = 0.0
    for x, y in zip(a, b):
        x, y = np.ravel(x), np.ravel(y)
        product = float(x @ y) if x.size else 0.0
        if not math.isfinite(product):
            product = float(np.sum(x[y != 0] * y[y != 0]))
        total += product
    return total


def rounding(weights: Arrays, *values: Arrays) -> float:
    """Return the size of the rounding error of sum(weights * values)."""
    squares = 0.0
    for i, w in enumerate(weights):
        largest = np.max([np.abs(v[i]) for v in values], 0)
        eps = max(np.finfo(v[i].dtype).eps for v in values)
        squares += float(eps) ** 2 * _sum_of_squares(np.ravel(w * largest))
    return 2 * math.sqrt(squares)


def scale_of(x: np.ndarray[Any, Any]) -> float:
    """Return the root of the mean square of x, or 1 for an array of zeros."""
    scale = math.sqrt(_sum_of_squares(np.ravel(x)) / max(x.size, 1))
    return scale if 0 < scale < math.inf else 1.0


def _sum_of_squares(x: np.ndarray[Any, Any]) -> float:
    return float(np.vdot(x, x))


def parameter_names(f: Callable[..., Any], count: int) -> list[str]:
    """Return the names of the first `count` parameters of f, or "input 0" and so on."""
    try:
        names = [
            p.name
            for p in inspect.signature(f).parameters.values()
            if p.kind in (p.POSITIONAL_OR_KEYWORD, p.POSITIONAL_ONLY)
        ]
    except (TypeError, ValueError):
        names = []
    return names[:count] if len(names) >= count else [f"input {i}" for i in range(count)]
