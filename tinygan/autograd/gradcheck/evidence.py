"""What is known about a wrong gradient, in a form in which symptoms are easy to test."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from .line import SAFETY
from .problem import Arrays, Claim, Problem, root_mean_square

if TYPE_CHECKING:
    from .report import Failure

MOST_RESULTS, MOST_ENTRIES = 16, 256  # that are looked at one by one

Array = np.ndarray[Any, Any]


class Evidence:
    """The claimed gradient of an argument beside its differences.

    whole: the claimed gradient. known: the indices of the entries whose differences are known;
    claimed, found, allowed: at these entries, each of shape (n,). wrong: which of them are wrong.
    tolerance: what an explanation may leave of the error of each: far less than the error itself.
    name, x: of the argument. everywhere: all entries are known. weights: of the results. only: the
    one result that counts, or None for all.
    """

    def __init__(
        self, failure: "Failure", problem: Problem, argument: int, only: int | None = None
    ) -> None:
        assert failure.claimed is not None and failure.found is not None
        self.only = only
        self.failure, self.problem, self.argument = failure, problem, argument
        self.name, self.x = problem.names[argument], np.atleast_1d(problem.arrays[argument])
        self.whole, differences = np.atleast_1d(failure.claimed, failure.found)
        self.known = np.nonzero(np.isfinite(differences))
        self.everywhere = len(self.known[0]) == differences.size
        self.claimed, self.found = self.whole[self.known], differences[self.known]
        self.error = abs(self.claimed - self.found)
        self.size = root_mean_square(np.concatenate([self.claimed, self.found]))
        allowed = np.full(self.x.shape, 1e-8 * self.size)
        if failure.allowed is not None:
            allowed = np.atleast_1d(failure.allowed)
        self.allowed = allowed[self.known]
        self.wrong = ~(self.error <= self.allowed)
        largest = float(np.max(self.error, initial=0.0))
        self.tolerance = self.allowed / 4 + min(1e-5 * self.size, 1e-2 * largest)
        self.weights = self.masked(failure.line.weights if failure.line else [])
        # A single result has a weight, too, by which the numbers of the Failure are divided.
        self.unit = float(np.sum(self.weights[0])) if failure.exact and self.weights else 1.0

    @property
    def order(self) -> int:
        """The order of the wrong derivative."""
        return self.failure.order

    @property
    def differences(self) -> Array:
        """The differences of all entries."""
        assert self.everywhere
        return self.found.reshape(self.x.shape)

    def is_found(self, array: Any) -> bool:
        """Return whether an array of the shape of x agrees with the differences."""
        return bool(np.all(abs(array[self.known] - self.found) <= self.tolerance))

    def is_claimed(self, array: Any) -> bool:
        """Return whether an array of the shape of x agrees with the claimed gradient."""
        return bool(np.all(abs(array[self.known] - self.claimed) <= self.tolerance))

    def result(self, k: int) -> str:
        """Return the name of a result of f."""
        if self.order > 1:
            return f"the gradient of {self.problem.names[k]}"
        return f"result {k}" if len(self.problem.here) > 1 else "the result"

    def lengths(self) -> dict[int, list[str]]:
        """Return {N: what has N entries}, the most likely first."""
        found: dict[int, list[str]] = {}
        arrays = [(self.name, self.x), *zip(self.problem.names, self.problem.arrays)]
        arrays += [(self.result(k), y) for k, y in enumerate(self.problem.here)]
        names = dict.fromkeys(name for name, _ in arrays)
        arrays = [next(pair for pair in arrays if pair[0] == name) for name in names]
        for name, array in arrays:
            found.setdefault(array.size, []).append(f"the number of entries of {name}")
        for name, array in arrays:
            for count in range(1, array.ndim):
                for axes in itertools.combinations(range(array.ndim), count):
                    length = math.prod(array.shape[axis] for axis in axes)
                    text = f"the length of axis {axes[0]} of {name}"
                    if count > 1:
                        text = f"the number of entries along the axes {axes} of {name}"
                    found.setdefault(length, []).append(text)
        return found

    def others(self) -> Iterator[tuple[str, Array]]:
        """Yield (name, array) of the arguments and results that can be broadcast to x."""
        arrays = [(self.name, self.x)]
        arrays += [
            (name, x)
            for j, (name, x) in enumerate(zip(self.problem.names, self.problem.arrays))
            if j != self.argument
        ]
        arrays += [(f"y ({self.result(k)})", y) for k, y in enumerate(self.problem.here)]
        for name, array in arrays:
            try:
                yield name, np.broadcast_to(array, self.x.shape)
            except ValueError:
                pass

    def masked(self, weights: Arrays, only: int | None = None) -> Arrays:
        """Return weights that are 0 for all results but one."""
        only = self.only if only is None else only
        return [w if only in (None, k) else np.zeros(w.shape) for k, w in enumerate(weights)]

    @functools.cached_property
    def parts(self) -> dict[int, tuple[float, float, bool]]:
        """{result: (claimed derivative, differences, whether it is wrong)}, each along a random
        direction; empty if there are too many results to try."""
        found = {}
        for k in range(len(self.weights)) if len(self.weights) <= MOST_RESULTS else ():
            weights = self.masked(self.weights, k)
            claimed, differences, allowed = self.line(self.problem, weights, self.argument)
            found[k] = claimed, differences, not abs(claimed - differences) <= allowed
        return found

    def of_result(self, k: int) -> "Evidence | None":
        """Return the evidence about the derivative of one result alone; None if that takes long."""
        if len(self.weights) < 2 or self.x.size > MOST_ENTRIES or self.failure.line is None:
            return None
        claim = Claim(self.problem, self.masked(self.weights, k))
        shape, scale = self.problem.arrays[self.argument].shape, self.problem.scales[self.argument]
        claimed, found, allowed = (np.empty(shape) for _ in range(3))
        target = abs(self.parts[k][0] - self.parts[k][1]) / 8
        for index in np.ndindex(shape):
            direction = [np.zeros(x.shape) for x in self.problem.arrays]
            direction[self.argument][index] = scale
            line = claim.line(direction)
            verdict = line.estimate(target)
            claimed[index] = line.claimed / scale
            found[index] = (line.claimed + verdict.error) / scale
            allowed[index] = verdict.allowed / scale
        failure = dataclasses.replace(
            self.failure, claimed=claimed, found=found, allowed=allowed, exact=False
        )
        return Evidence(failure, self.problem, self.argument, k)

    def line(self, problem: Problem, weights: Arrays, argument: int) -> tuple[float, float, float]:
        """Return (claimed derivative, differences, allowed error) along a random direction of one
        argument."""
        rng = np.random.default_rng(0)
        direction: Arrays = [np.zeros(x.shape) for x in problem.arrays]
        x = problem.arrays[argument]
        direction[argument] = np.asarray(problem.scales[argument] * rng.standard_normal(x.shape))
        line = Claim(problem, weights).line(direction)
        verdict = line.examine()
        return line.claimed, line.claimed + verdict.error, verdict.allowed

    @functools.cached_property
    def elsewhere(self) -> tuple[Problem, float, float] | None:
        """(the problem at another point, claimed derivative / differences there, its uncertainty),
        with other weights. None if they cannot be had, or if the claim knows one point only."""
        problem, rng = self.problem, np.random.default_rng(1)
        try:
            moved = problem.moved_to([x + 0.5 * x * rng.random(x.shape) for x in problem.arrays])
            if problem.gradient is not None:  # it may be given as an array, for one point
                weights = self.masked(problem.weights(np.random.default_rng(2)))
                here = problem.gradient(problem.arrays, weights)[self.argument]
                if np.array_equal(here, problem.gradient(moved.arrays, weights)[self.argument]):
                    moved = problem
            weights = self.masked(moved.weights(np.random.default_rng(3)))
            claimed, found, allowed = self.line(moved, weights, self.argument)
        except Exception:  # f may refuse other points; the failure is reported all the same
            return None
        if not found or not math.isfinite(claimed / found):
            return None
        return moved, claimed / found, abs(allowed / found / SAFETY * 4)


def beside(flats: list[int], shape: tuple[int, ...], rng: np.random.Generator) -> list[int]:
    """Return the flat indices of some entries in the same rows, columns and so on as others."""
    found = []
    for index in (np.unravel_index(flat, shape) for flat in flats):
        for axis, n in enumerate(shape):
            for k in rng.choice(n, min(n, 8), replace=False):
                found.append(
                    int(np.ravel_multi_index((*index[:axis], k, *index[axis + 1 :]), shape))
                )
    return found


def subsets(n: int) -> Iterator[tuple[int, ...]]:
    """Yield all choices of at least one of n axes."""
    for count in range(1, n + 1):
        yield from itertools.combinations(range(n), count)


def axes_text(axes: tuple[int, ...]) -> str:
    """Return the name of an axis, or of several."""
    return f"axis {axes[0]}" if len(axes) == 1 else f"the axes {axes}"


def near(a: float, b: float, precision: float) -> bool:
    """Return whether two numbers agree, up to a relative error."""
    return abs(a - b) <= precision * max(abs(a), abs(b))
