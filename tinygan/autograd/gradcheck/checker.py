"""The check of one order: along which directions, and if one fails, which argument and entry.

Directions are Gaussian, and cover all arguments at once. If one entry of a gradient is wrong by e,
the derivative along a direction v is wrong by e v_i, which is as likely to be small as a normal
number is. So a direction along which errors of size d are seen misses this one with the
probability erf(d / (e sqrt 2)). Directions are drawn until the product of these numbers is below
the bound; two are enough in most cases.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from .evidence import beside
from .kinks import look_at_the_kink
from .line import FIRST_STEP, SAFETY, Line, Verdict
from .options import Options
from .problem import WEIGHTS, Arrays, Claim, Problem, length_of_all, root_mean_square
from .report import Failure, GradientError, OrderReport, fail, relative_error
from .suspects import suspects, undefined

MOST_DIRECTIONS = 6
MOST_EXAMINED = 16  # of the entries that seem wrong
MOVES = 3  # off a kink
AT_A_KINK = (
    "f has a kink at this point, where differences mean nothing, and the derivative is known only "
    "here: check it at another point, or give it as a function"
)


class Kink(Exception):
    """There is a kink so close to the point that differences mean nothing. locate: a function that
    returns the Failure that they would show."""

    def __init__(self, locate: Callable[[], Failure]) -> None:
        self.locate = locate


def check_repeats(problem: Problem, title: str) -> None:
    """Raise GradientError if a second run of f gives other results."""
    if not all(map(same_bits, problem.here, problem.values(problem.arrays))):
        raise GradientError(
            f"{title}: two runs on the same inputs gave different results; fix the seed inside f"
        )


def same_bits(a: Any, b: Any) -> bool:
    """Return whether two arrays have the same shape and numbers; NaN is the same as NaN."""
    return np.array_equal(a, b, equal_nan=True)


def check_order(
    problem: Problem, order: int, options: Options, rng: np.random.Generator
) -> tuple[OrderReport, Problem]:
    """Check the derivative of a Problem. Return the report, and the problem at the point that was
    used: another one if there was a kink at the first. Raise GradientError if it is wrong."""
    if order == 1 and (text := undefined(problem)):
        none = math.nan
        fail(Failure(
            problem.title, order, problem.names[0], None, "at this point", none, none, math.inf,
            suspects=[text], kind="undefined",
        ))  # fmt: skip
    for moved in range(MOVES + 1):
        check = _Check(problem, order, options, rng)
        check.report.moved = moved
        try:
            return check.run(), problem
        except Kink as kink:
            if not problem.movable:
                failure = kink.locate()
                failure.suspects = [AT_A_KINK]
                fail(failure, kink=True)
            look_at_the_kink(problem, order, rng)
            if moved == MOVES:
                fail(kink.locate(), kink=True)
        problem = problem.moved_to(
            [
                x + 1e-3 * (min(scale, np.std(x)) or scale) * rng.standard_normal(x.shape)
                for x, scale in zip(problem.arrays, problem.scales)
            ]
        )
    raise AssertionError("unreachable")


class _Check:
    def __init__(
        self, problem: Problem, order: int, options: Options, rng: np.random.Generator
    ) -> None:
        self.problem, self.options, self.rng = problem, options, rng
        entries = sum(x.size for x in problem.arrays)
        title = f"{problem.title}, order {order}"
        self.report = OrderReport(title, order, entries=entries, eps=options.eps)
        if options.rtol is not None or options.atol is not None:
            self.report.tolerance = options.rtol or 0.0, options.atol or 0.0
        self.scales = problem.scales if options.step is None else [1.0] * len(problem.arrays)
        self.first = FIRST_STEP if options.step is None else options.step
        self.allowed: list[list[float]] = [[] for _ in problem.arrays]  # of directions, by argument
        self.sizes = [0.0] * len(problem.arrays)  # root mean squares of the gradients, scaled

    def run(self) -> OrderReport:
        """Return the report. Raise GradientError or Kink if the check fails."""
        problem, report = self.problem, self.report
        report.errors = {name: 0.0 for name, x in zip(problem.names, problem.arrays) if x.size}
        if not report.entries:
            return report
        if self.options.mode == "full" or report.entries <= 2:
            self.each_entry()
        else:
            for i in range(2):
                self.try_direction(self.gaussian(), to_the_noise=i == 0)
            for i, x in enumerate(problem.arrays):
                if x.size:
                    self.until_seen(i)
            self.say_what_could_be_missed()
        return report

    # Directions

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

    def claim(self) -> Claim:
        return self.problem.claim(self.rng)

    def try_direction(
        self, direction: Arrays, to_the_noise: bool = False, claim: Claim | None = None
    ) -> Verdict:
        """Check along a direction, with new weights. Raise GradientError or Kink if it fails."""
        claim = claim or self.claim()
        sizes = claim.sizes(direction, self.scales)
        self.sizes = [max(old, new) for old, new in zip(self.sizes, sizes)]
        sizes = self.sizes if claim.gradients is None else sizes
        used = [i for i, v in enumerate(direction) if np.any(v)]
        wanted = [self.options.eps * sizes[i] for i in used if sizes[i] > 0]
        target = math.sqrt(self.options.miss) * min(wanted, default=math.inf)
        line = claim.line(direction, self.first)
        level = 0
        if self.report.line:
            line.assume_jitter_of(self.report.line)
            level = max(self.report.line.best_level(), 0)  # its steps will do here, too
        verdict = self.judge(line, line.examine(target, to_the_noise, level), direction)
        last = not line.size and self.report.moved == MOVES  # nothing but noise, as is claimed
        if verdict.kind == "hidden" and (len(used) < len(self.scales) or last):
            verdict = verdict._replace(kind="right")  # of one argument: the report says so
        if verdict.kind == "hidden":
            raise Kink(functools.partial(self.hidden, line, verdict))
        if verdict.kind != "right":
            locate = functools.partial(self.locate, claim, direction, line, verdict)
            if verdict.kind == "kink":
                raise Kink(locate)
            failure = locate()
            # Where many kinks meet, the bends along a direction may cancel, but not along an entry.
            if failure.kind == "kink":
                raise Kink(lambda: failure)
            fail(failure)
        self.note(line, verdict, used, sizes)
        return verdict

    def judge(self, line: Line, verdict: Verdict, direction: Arrays) -> Verdict:
        """Return the verdict, or that of the caller's tolerance."""
        if self.report.tolerance is None or not math.isfinite(verdict.error):
            return verdict
        rtol, atol = self.report.tolerance
        found = line.claimed + verdict.error
        norm = length_of_all(direction)
        # Near the crossing of zero, a derivative counts as large as its usual size / 1000.
        size = max(abs(found), abs(line.claimed), 1e-3 * line.size)
        allowed = max(rtol * size + atol * norm, verdict.allowed)
        return verdict if abs(verdict.error) > allowed else verdict._replace(kind="right")

    def note(self, line: Line, verdict: Verdict, used: list[int], sizes: list[float]) -> None:
        """Put the results along a direction into the report."""
        report = self.report
        report.directions += 1
        report.line = report.line or line
        size = max(line.size, abs(line.claimed))
        for i in used:
            name = self.problem.names[i]
            error = abs(verdict.error) / size if size else abs(verdict.error)
            report.errors[name] = max(report.errors.get(name, 0.0), error)
            if sizes[i] > 0:
                self.allowed[i].append(2 * verdict.allowed * WEIGHTS / sizes[i])
        if size:
            report.noise = max(report.noise, 2 * verdict.allowed / size)

    # What could be missed

    def until_seen(self, i: int) -> None:
        """Try more directions of argument i until an error of eps in one entry would be seen."""
        assert self.report.line
        size = self.sizes[i] * math.sqrt(self.problem.arrays[i].size)
        if self.problem.gradient and size <= 8 * self.report.line.least_noise():
            if not size and len(self.report.errors) > 1 and self.has_influence(i):
                self.try_direction(self.gaussian(only=i))  # other arguments may have hidden it
            self.allowed[i] = []
            self.report.without_influence.append(self.problem.names[i])
            self.report.errors.pop(self.problem.names[i], None)
            return
        for _ in range(MOST_DIRECTIONS):
            seen = self.allowed[i]
            if not seen or missed(seen, self.options.eps) <= self.options.miss:
                return
            if min(seen) > self.options.eps and len(seen) > 3:
                return  # the noise hides it
            self.try_direction(self.gaussian(only=i))

    def has_influence(self, i: int) -> bool:
        """Return whether a change of argument i changes any bit of the results."""
        problem = self.problem
        moved = [x + self.first * v for x, v in zip(problem.arrays, self.gaussian(only=i))]
        values = problem.values(moved)
        return not all(map(same_bits, values, problem.here))

    def say_what_could_be_missed(self) -> None:
        """Set miss for eps; or where the noise hides such errors, the larger eps that is seen."""
        report, bound = self.report, self.options.miss
        worst = 0.0
        for seen in filter(None, self.allowed):
            eps = self.options.eps
            while missed(seen, eps) > bound and eps < 1e30:
                eps *= 1.25
            report.eps = max(report.eps, eps)
            worst = max(worst, missed(seen, eps))
        if any(self.allowed):
            report.miss = max(worst, 1e-300)

    def each_entry(self) -> None:
        """Compare every entry by itself."""
        self.report.full, claim = True, self.claim()
        for i, x in enumerate(self.problem.arrays):
            for index in np.ndindex(x.shape):
                first = self.report.line is None
                verdict = self.try_direction(self.unit(i, index), to_the_noise=first, claim=claim)
                if claim.gradients is not None:
                    size = abs(float(claim.gradients[i][index])) * self.scales[i]
                    self.report.hidden += 0 < size <= verdict.allowed

    # Failures

    def hidden(self, line: Line, verdict: Verdict) -> NoReturn:
        """Raise the GradientError of a point at which nothing can be said."""
        raise GradientError(
            f"{self.report.title}: cannot be checked: the function jumps or jitters so much that a "
            f"wrong sign would not be seen: by {verdict.allowed / line.size:.1e} of the derivative",
            kink=True,
        )

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
        return failure

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


def missed(seen: list[float], eps: float) -> float:
    """Return the probability that an error of eps in one entry is missed by all directions; seen:
    the smallest error that each of them shows, in the same unit."""
    return math.prod(math.erf(d / eps / math.sqrt(2)) for d in seen)
