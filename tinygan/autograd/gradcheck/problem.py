"""What is checked, in one form: a function of arrays, and its derivative as someone claims it."""

import copy
import functools
import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygan.errors import InputError

from .line import FIRST_STEP, SINGLE_STEP, Line, Sample

Arrays = list[np.ndarray[Any, Any]]
WEIGHTS = math.sqrt(7 / 3)  # the root mean square of weights; the smallest is 1
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
    title, names: of f, and of the arrays, in messages. movable: whether the derivative is known at
    other points too. jitter_step: of the steps that measure noise; larger ones show the noise of
    float32.
    """

    movable = True
    of_hessian = False  # whether the derivative is a Hessian, written by hand, times weights

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
        self.first_claim: Claim | None = None  # if it was computed already
        self.latest_claim: Claim | None = None
        self.here = values(arrays)
        self.scales = [scale_of(x) for x in arrays]

    def moved_to(self, arrays: Arrays) -> "Problem":
        """Return the same problem at another point."""
        functions = self.values, self.gradient, self.along
        moved = Problem(self.title, self.names, arrays, *functions, self.jitter_step)
        moved.of_hessian = self.of_hessian
        return moved

    def weights(self, rng: np.random.Generator) -> Arrays:
        """Return random weights of the results: between 1 and 2, of either sign. None is near 0,
        so none hides a mistake in one result."""
        shapes = [v.shape for v in self.here]
        return [rng.choice([-1.0, 1.0], s) * rng.uniform(1.0, 2.0, s) for s in shapes]

    def claim(self, rng: np.random.Generator) -> "Claim":
        """Return the derivative of sum(weights * f) that is claimed, for random weights."""
        claim, self.first_claim = self.first_claim, None
        self.latest_claim = claim or Claim(self, self.weights(rng))
        return self.latest_claim


class Claim:
    """The claimed derivative of sum(weights * f) at the point of a Problem.

    gradients: an array for each argument, computed unless they are given; None for a Problem with
    Jacobian-vector products alone.
    """

    def __init__(self, problem: Problem, weights: Arrays, gradients: Arrays | None = None) -> None:
        self.problem, self.weights, self.gradients = problem, weights, gradients
        if gradients is None and problem.gradient:
            self.gradients = problem.gradient(problem.arrays, weights)

    def finite(self) -> "Claim":
        """Return the same claim with 0 in place of NaN and infinity."""
        claim = copy.copy(self)
        if self.gradients is not None:
            claim.gradients = [np.nan_to_num(g, posinf=0.0, neginf=0.0) for g in self.gradients]
        return claim

    def along(self, direction: Arrays, at: Arrays | None = None) -> float:
        """Return the claimed derivative along `direction`: at the point, or at other arrays."""
        problem = self.problem
        if self.gradients is None:
            return inner(self.weights, self.changes(direction, at))
        gradients = self.gradients
        if at is not None:
            assert problem.gradient is not None
            gradients = problem.gradient(at, self.weights)
        return inner(gradients, direction)

    def changes(self, direction: Arrays, at: Arrays | None = None) -> Arrays:
        """Return the claimed Jacobian-vector product of each result."""
        assert self.problem.along is not None
        return self.problem.along(self.problem.arrays if at is None else at, direction)

    def sizes(self, direction: Arrays, scales: list[float]) -> list[float]:
        """Return the root mean square of the gradient of each argument, times its scale. From a
        Jacobian-vector product along a Gaussian direction, it is estimated, for all alike."""
        if self.gradients is None:
            entries = sum(np.count_nonzero(v) for v in direction)
            return [self.size(direction) / math.sqrt(max(entries, 1))] * len(scales)
        return [scale * root_mean_square(g) for g, scale in zip(self.gradients, scales)]

    def size(self, direction: Arrays) -> float:
        """Return the usual size of derivatives along such directions."""
        if self.gradients is None:
            return length_of_all([w * c for w, c in zip(self.weights, self.changes(direction))])
        sizes = [0.0]
        for g, v in zip(self.gradients, direction):
            used = v != 0
            if np.any(used):
                part = g if np.all(used) else g[used]
                sizes.append(length(part) * length(v) / math.sqrt(np.count_nonzero(used)))
        return math.hypot(*sizes)

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

        def jitter(
            step: float = first * problem.jitter_step,
            widest: float = 0.0,
            of_derivative: bool = True,
        ) -> tuple[float, float]:
            # Noise may repeat itself with one spacing, and be a staircase of wider steps.
            spacings = [1.0, *(s for s in (0.618, 1024.0) if s * step <= widest)]
            found = [jitter_with(spacing * step, of_derivative) for spacing in spacings]
            return max(phi for phi, _ in found), max(slope for _, slope in found)

        def jitter_with(step: float, of_derivative: bool) -> tuple[float, float]:
            # Without the point itself, where the derivative may jump: at a kink.
            points = [values_at(k * step) for k in range(1, 11)]
            slopes = [self.along(direction, at=moved) for moved, _ in points if of_derivative]
            phi = [inner(self.weights, [a - b for a, b in zip(v, here)]) for _, v in points]
            if claimed and len(set(phi)) == 1:  # f computes in float32, or worse
                far = [values_at(k * SINGLE_STEP)[1] for k in range(1, 11)]
                phi = [inner(self.weights, [a - b for a, b in zip(v, here)]) for v in far]
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


def jitter_of(values: Any) -> float:
    """Return the standard deviation of the noise in equally spaced values of a smooth function.

    From their fourth differences, which the noise multiplies by sqrt(70) (Moré and Wild 2011).
    """
    differences = np.diff(np.asarray(values, np.float64), 4, axis=0)
    finite = np.nan_to_num(differences, nan=0.0, posinf=0.0, neginf=0.0)
    return float(np.sqrt(np.mean(finite**2) / 70)) if finite.size else 0.0


def generator(seed: int) -> np.random.Generator:
    """Return the generator of a check. Its numbers differ from those of default_rng(seed), of which
    the caller may have drawn the arrays: weights equal to x would hide mistakes."""
    return np.random.default_rng([seed, 27])


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
    sizes = []
    for i, w in enumerate(weights):
        largest = functools.reduce(np.maximum, [np.abs(v[i]) for v in values])
        sizes.append(float(max(np.finfo(v[i].dtype).eps for v in values)) * length(w * largest))
    return 2 * math.hypot(*sizes)


def root_mean_square(x: np.ndarray[Any, Any]) -> float:
    """Return the root of the mean square of x; 0 for an array without entries."""
    return length(x) / math.sqrt(max(x.size, 1))


def scale_of(x: np.ndarray[Any, Any]) -> float:
    """Return the root of the mean square of x, or 1 for an array of zeros."""
    scale = root_mean_square(x)
    return scale if 0 < scale < math.inf else 1.0


def length_of_all(arrays: Arrays) -> float:
    """Return the root of the sum of squares of several arrays."""
    return math.hypot(*map(length, arrays))


def length(x: np.ndarray[Any, Any]) -> float:
    """Return the root of the sum of squares of x, which may be too large or small for float64."""
    squares = float(np.vdot(x, x))
    if 1e-280 < squares < math.inf or not x.size:
        return math.sqrt(squares)
    largest = float(np.max(np.abs(x)))
    if not 0 < largest < math.inf:
        return largest
    return largest * math.sqrt(float(np.vdot(x / largest, x / largest)))


def argument_names(names: Sequence[str] | None, f: Callable[..., Any], count: int) -> list[str]:
    """Return `names` if they are given, or else the names of the first `count` parameters of f, or
    else "input 0" and so on. Raise InputError if not `count` names are given."""
    if names:
        if len(names) != count:
            raise InputError(
                f"names has {len(names)} names, but there are {count} inputs: give one for each"
            )
        return list(names)
    try:
        found = [
            p.name
            for p in inspect.signature(f).parameters.values()
            if p.kind in (p.POSITIONAL_OR_KEYWORD, p.POSITIONAL_ONLY)
        ]
    except (TypeError, ValueError):
        found = []
    return found[:count] if len(found) >= count else [f"input {i}" for i in range(count)]
