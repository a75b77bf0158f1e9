"""Where a derivative is wrong: in which argument, at which entry, of which results."""

import math

import numpy as np

from .evidence import beside
from .line import SAFETY, Line, Verdict
from .options import Options
from .problem import Arrays, Claim, Problem, root_mean_square
from .report import Failure, OrderReport, WrongResult, relative_error
from .suspects import suspects

MOST_EXAMINED = 16  # of the entries that seem wrong
MOST_RESULTS = 64  # numbers among the results of f that are looked at one by one
BETWEEN_STEPS = (
    "f does not change at all at small steps: it rounds its results, or computes in a low "
    "precision. Between its steps the derivative is 0; from step to step, it is what the "
    "differences show."
)


class Location:
    """The part of a check that finds what is wrong, once a direction has failed."""

    problem: Problem
    options: Options
    rng: np.random.Generator
    report: OrderReport
    scales: list[float]
    first: float  # step

    def gaussian(self, only: int | None = None) -> Arrays:
        """Return a Gaussian direction, of all arguments or of one."""
        return [
            scale * self.rng.standard_normal(x.shape) if only in (None, i) else np.zeros(x.shape)
            for i, (x, scale) in enumerate(zip(self.problem.arrays, self.scales))
        ]

    def unit(self, i: int, index: tuple[int, ...]) -> Arrays:
        """Return the direction that changes one entry of argument i."""
        direction = [np.zeros(x.shape) for x in self.problem.arrays]
        direction[i][index] = self.scales[i]
        return direction

    def locate(self, claim: Claim, direction: Arrays, line: Line, verdict: Verdict) -> Failure:
        """Find the argument and the entry that are wrong."""
        problem = self.problem
        used = [i for i, v in enumerate(direction) if np.any(v)]
        if len(used) > 1:
            alone = []
            for i in used:
                part = [v if j == i else np.zeros(v.shape) for j, v in enumerate(direction)]
                alone.append((i, part, *self.estimated(claim, part, line)))
            alone.sort(key=_badness, reverse=True)
            found = alone[0]
            for i, part, line_i, _ in alone:  # the estimates of good arguments may be wrong
                verdict_i = line_i.examine()
                if verdict_i.kind == verdict.kind:
                    found = i, part, line_i, verdict_i
                    break
            i, direction, line, verdict = found
            used = [i]
        i = used[0]
        if self.report.full:
            direction = self.gaussian(only=i)
        claimed, found, allowed, index, entry = self.entries(claim, i, direction, line)
        where, derivative, difference = "along a random direction", line.claimed, verdict.error
        difference += derivative
        if index is not None:
            where = f"at index {index}"
            line, verdict = entry
            derivative, difference = float(claimed[index]), float(found[index])
        exact = sum(w.size for w in claim.weights) == 1
        unit = float(sum(np.sum(w) for w in claim.weights)) if exact else 1.0
        small = line.size * 1e-3 / self.scales[i] if index is None else self._small(claim, i)
        failure = Failure(
            problem.title,
            self.report.order,
            problem.names[i],
            index,
            where,
            derivative / unit,
            difference / unit,
            relative_error(derivative, difference, small),
            claimed / unit,
            found / unit,
            allowed / abs(unit),
            line,
            exact,
            kind=verdict.kind,
        )
        failure.suspects = suspects(failure, problem, i)
        if line.between_steps():
            failure.suspects = [BETWEEN_STEPS]
        if index is not None and not exact:
            failure.results = self.wrong_results(i, index, line)
        return failure

    def wrong_results(self, i: int, index: tuple[int, ...], line: Line) -> list[WrongResult]:
        """Return those of the results of f whose derivative by one entry is wrong: a row of a
        Jacobian. [] if there are too many results."""
        problem, found = self.problem, []
        for k, value in enumerate(problem.here):
            for place in np.ndindex(value.shape) if value.size <= MOST_RESULTS else ():
                weights = [np.zeros(v.shape) for v in problem.here]
                weights[k][place] = 1.0
                one, verdict = self.estimated(Claim(problem, weights), self.unit(i, index), line)
                if verdict.kind != "right":
                    name = f"result {k}" if len(problem.here) > 1 else "result"
                    difference = one.claimed + verdict.error
                    numbers = one.claimed / self.scales[i], difference / self.scales[i]
                    found.append(WrongResult(f"{name} at index {place}", *numbers))
        return found

    def _small(self, claim: Claim, i: int) -> float:
        if claim.gradients is None:
            return 1e-300
        finite = claim.gradients[i][np.isfinite(claim.gradients[i])]
        return 1e-3 * root_mean_square(finite) + 1e-300

    def estimated(self, claim: Claim, direction: Arrays, like: Line) -> tuple[Line, Verdict]:
        """Return the Line along a part of the direction of another Line, and an estimate."""
        line = claim.line(direction, self.first)
        line.measured_jitter = like.measured_jitter
        error, _, _ = like.best_window(min(like.by_level)) if like.by_level else (math.nan, 0, 0)
        return line, line.estimate(abs(error) / 8 if math.isfinite(error) else math.inf)

    def entries(self, claim, i, direction, line):
        """Return, for argument i, (the claimed gradient, the differences of each entry, the errors
        that they may have, the worst index or None, its (line, verdict)). What was not computed is
        NaN. line: that of `direction`."""
        x, scale, wrong = self.problem.arrays[i], self.scales[i], {}
        claimed, found, allowed = (np.full(x.shape, np.nan) for _ in range(3))
        if claim.gradients is not None:
            claimed[...] = claim.gradients[i]
        most = self.options.entries
        if x.size <= most:
            chosen = np.flatnonzero(direction[i])
        else:
            every = self.rng.choice(x.size, min(32, most), replace=False)
            narrowed = self.narrowed(claim, i, direction, line)
            chosen = {*narrowed, *beside(narrowed, x.shape, self.rng), *map(int, every)}
        small = self._small(claim, i) * scale
        for index in (tuple(map(int, np.unravel_index(flat, x.shape))) for flat in sorted(chosen)):
            line_i, verdict = self.estimated(claim, self.unit(i, index), line)
            claimed[index] = line_i.claimed / scale
            shown, estimate = line_i, verdict
            if not math.isfinite(line_i.claimed):  # show the differences all the same
                shown, estimate = self.estimated(claim.finite(), self.unit(i, index), line)
            difference = shown.claimed + estimate.error
            found[index], allowed[index] = difference / scale, estimate.allowed / scale
            if verdict.kind != "right":
                wrong[index] = relative_error(line_i.claimed, difference, small), line_i
        worst, entry = None, None
        for index in sorted(wrong, key=lambda index: -wrong[index][0])[:MOST_EXAMINED]:
            line_i = wrong[index][1]
            error = abs(line_i.claimed - found[index] * scale)
            verdict = line_i.examine(1e-6 * error if math.isfinite(error) else math.inf)
            if math.isfinite(verdict.error):  # steps across a kink have misled the estimate
                found[index] = (line_i.claimed + verdict.error) / scale
                allowed[index] = verdict.allowed / scale
            if worst is None and verdict.kind != "right":
                worst, entry = index, (line_i, verdict)
        return claimed, found, allowed, worst, entry

    def narrowed(self, claim: Claim, i: int, direction: Arrays, line: Line) -> list[int]:
        """Return the flat index of an entry that seems wrong, found by halving the direction; []
        if the direction is 0."""
        chosen = np.flatnonzero(direction[i])
        while len(chosen) > 1:
            halves = []
            for half in np.array_split(chosen, 2):
                part = [np.zeros(v.shape) for v in direction]
                part[i].flat[half] = direction[i].flat[half]
                halves.append((half, *self.estimated(claim, part, line)))
            chosen = max(halves, key=lambda half: _nan_is_worst(half[2].error))[0]
        return [int(flat) for flat in chosen]


def _nan_is_worst(error: float) -> float:
    return math.inf if math.isnan(error) else abs(error)


def _badness(found):
    """Return by how much the error of a direction exceeds what it may be; found: a tuple that ends
    with a Line and a Verdict."""
    *_, line, verdict = found
    if not math.isfinite(verdict.error):
        return math.inf
    return abs(verdict.error) / (verdict.allowed / SAFETY + 1e-300)
