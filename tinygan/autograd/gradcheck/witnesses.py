"""Independent witnesses: other tests of the same derivative.

Each is used where it applies. Most of them are exact up to rounding: they have no truncation error.

* adjoint: for an argument in which f is linear, <A v, w> = <v, A' w>, where A v comes from f and
  A' w is the claimed gradient;
* bilinearity: where f is linear in a and in b, the gradient of a is linear in b, and the same for
  all a;
* symmetry: u . H v = v . H u for the Hessian H, which is computed as the gradient of gradients;
* differences of values: (phi(h) - 2 phi(0) + phi(-h)) / h^2 - v . H v falls like h^2. So the second
  derivatives are compared with the function itself, and not only with its gradients;
* float32: the gradient in float32 is that in float64, up to rounding.

plain.py has one more, the complex step, and optable/exact.py the derivatives from mpmath.
"""

import math
from collections.abc import Callable

import numpy as np

from .line import ROUNDING, Line, Sample
from .problem import Arrays, Claim, Problem, inner, length, length_of_all
from .report import Witness

LIMIT = 2.0**-33  # 1.2e-10: far above the rounding of 1e-15, far below any mistake
# Smaller and larger gradients, or what they are computed from, may leave the range of float32.
SMALLEST, LARGEST = 1e-30, 1e30
POINTS = 8  # nearby: there, rounding is another, and a mistake is the same
PART = 0.377  # of a step: no whole number
SINGLE = 2.0**-13  # 1.2e-4: the same for float32, whose rounding is 6e-8


def of_linear_arguments(problem: Problem, rng: np.random.Generator) -> list[Witness]:
    """Return the witnesses `adjoint` and `bilinearity` of the arguments in which f is linear."""
    gradient = problem.gradient
    if gradient is None or not problem.here:
        return []
    found, linear = [], []
    weights = problem.weights(rng)
    claimed = gradient(problem.arrays, weights)
    for i, x in enumerate(problem.arrays):
        if not x.size:
            continue
        v = problem.scales[i] * rng.standard_normal(x.shape)
        at = lambda t: problem.values(_with(problem.arrays, i, x + t * v))
        ahead, behind, far, part = at(1.0), at(-1.0), at(2.0), at(PART)
        change = [(a - b) / 2 for a, b in zip(ahead, behind)]
        bends = [
            [a - 2 * b + c for a, b, c in zip(left, middle, right)]
            for left, middle, right in ((ahead, problem.here, behind), (far, ahead, problem.here))
        ]
        # Saturated functions and steps may look linear at whole numbers.
        bends.append([a - b - PART * c for a, b, c in zip(part, problem.here, change)])
        size, rounding = (
            length_of_all(change),
            1e-13 * (length_of_all(problem.here) + length_of_all(far)),
        )
        if not sum(map(length_of_all, bends)) <= rounding < LIMIT * size:
            continue
        linear.append((i, v))
        error = abs(inner(weights, change) - inner([claimed[i]], [v]))
        value = error / (length_of_all(weights) * size)
        found.append(Witness("adjoint, <Av, w> = <v, A'w>", problem.names[i], value, LIMIT))
    for first, (i, u) in enumerate(linear):
        for j, v in linear[first + 1 :]:
            witness = _bilinearity(problem, weights, claimed, i, u, j, v)
            if witness:
                found.append(witness)
    return found


def _bilinearity(
    problem: Problem,
    weights: Arrays,
    claimed: Arrays,
    i: int,
    u: "np.ndarray",
    j: int,
    v: "np.ndarray",
) -> Witness | None:
    """Return the witness that the gradient of argument i is linear in j and does not depend on i;
    None if f has no product of the two."""
    assert problem.gradient is not None
    x, y = problem.arrays[i], problem.arrays[j]
    at = lambda s, t: problem.gradient(
        _with(_with(problem.arrays, i, x + s * u), j, y + t * v), weights
    )[i]
    here, near, far, other = claimed[i], at(0.0, 1.0), at(0.0, 2.0), at(1.0, 0.0)
    if not np.any(near - here):
        return None
    errors = length(far - 2 * near + here), length(other - here)
    value = max(errors) / (length(near) + length(here))
    about = f"{problem.names[i]} and {problem.names[j]}"
    return Witness("bilinearity of the gradient", about, value, LIMIT)


def of_the_hessian(claim: Claim, below: Problem, first: Line) -> list[Witness]:
    """Return the witnesses `symmetry` and `differences of values` of second derivatives.

    claim: of second order: the gradients of u . grad, where grad are the gradients of `below`, with
    the weights of its first line, `first`, and u the weights of the claim.
    """
    problem, n = claim.problem, len(below.arrays)
    assert problem.gradient is not None and claim.gradients is not None
    u, v, hu = claim.weights, first.direction, claim.gradients[:n]
    hv = problem.gradient(problem.arrays, v)[:n]
    found = []
    if length_of_all(hv):
        value = abs(inner(u, hv) - inner(v, hu)) / (length_of_all(u) * length_of_all(hv))
        found.append(Witness("symmetry, u.Hv = v.Hu", "all arguments", value, LIMIT))
    return found + (_differences_of_values(first, hv) if first.is_regular() else [])


def _differences_of_values(first: Line, hv: Arrays) -> list[Witness]:
    """Return the witness that v.Hv is the second difference along the direction v of a line."""
    v = first.direction
    claimed = inner(v, hv)

    def measure(h: float) -> Sample:
        s = first.sample_at(h)
        return Sample(h, 2 * s.bend / h - claimed, 0.0, 4 * s.noise / h)

    size = length_of_all([a * b for a, b in zip(v, hv)])
    line = Line(measure, size, claimed, first.jitter, power=2, first=first.first)
    verdict = line.examine()
    if not size or verdict.kind == "kink" or not verdict.allowed < 1e-3 * size:  # also NaN
        return []
    value, limit = abs(verdict.error) / size, max(verdict.allowed / size, ROUNDING)
    return [Witness("differences of values, v.Hv", "all arguments", value, limit)]


def in_single_precision(
    claim: Claim,
    gradient: Callable[[Arrays, Arrays, str], Arrays | None],
    without_influence: list[str],
    rng: np.random.Generator,
) -> list[Witness]:
    """Return the witness that gradients in float32 are those in float64, up to rounding.

    gradient: a function of (arrays, weights, dtype) that returns the gradients, or None if f cannot
    compute in that dtype, or not these results. without_influence: arguments whose gradients are
    nothing but rounding. Rounding differs from point to point, and a mistake does not: where the
    two differ much, more points nearby tell.
    """
    arrays, weights = claim.problem.arrays, claim.weights
    rounded = lambda parts: [np.float64(np.float32(part)) for part in parts]

    def differences(xs: Arrays, double: Arrays | None = None) -> Arrays | None:
        """Return what the gradients in float32 differ by. double: those in float64, if known."""
        double = double or gradient(rounded(xs), rounded(weights), "float64")
        single = gradient(rounded(xs), rounded(weights), "float32")
        if single is None or double is None:
            return None
        return [np.subtract(a, b, dtype=np.float64) for a, b in zip(single, double)]

    assert claim.gradients is not None
    here, found, more = differences(arrays, claim.gradients), [], None
    for i, (name, g) in enumerate(zip(claim.problem.names, claim.gradients)):
        largest = np.max(np.abs(g), initial=0.0)
        if here is None or name in without_influence or not SMALLEST < largest < LARGEST:
            continue
        size, error, limit = length(g), length(here[i]), SINGLE
        if not math.isfinite(error):
            error = math.inf
        elif error > SINGLE * size:
            if more is None:
                nearby = [
                    [a * (1 + 0.1 * rng.standard_normal(a.shape)) for a in arrays]
                    for _ in range(POINTS)
                ]
                more = [d for d in map(differences, [arrays, *nearby]) if d is not None]
            if not more:  # they overflow at all of them
                continue
            mean = np.mean([d[i] for d in more], 0)
            spread = np.mean([length(d[i] - mean) for d in more])
            error, limit = length(mean), max(SINGLE, 4 * float(spread) / size)
        found.append(Witness("float32 against float64", name, error / size, limit))
    return found


def _with(arrays: Arrays, i: int, x: "np.ndarray") -> Arrays:
    return [*arrays[:i], x, *arrays[i + 1 :]]
