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

from .kinks import look_at_the_kink
from .line import FIRST_STEP, Line, Verdict
from .location import Location
from .options import Options
from .problem import WEIGHTS, Arrays, Claim, Problem, length_of_all
from .report import Failure, GradientError, OrderReport, fail
from .suspects import undefined

MOST_DIRECTIONS = 6
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


class _Check(Location):
    def __init__(
        self, problem: Problem, order: int, options: Options, rng: np.random.Generator
    ) -> None:
        self.problem, self.options, self.rng = problem, options, rng
        entries = sum(x.size for x in problem.arrays)
        title = f"{problem.title}, order {order}"
        self.report = OrderReport(title, order, entries=entries, eps=options.eps)
        self.report.summed = sum(v.size for v in problem.here) > 1
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
        last = not line.size and self.report.moved == MOVES and not line.is_mostly_noise()
        if verdict.kind == "hidden" and (len(used) < len(self.scales) or last):
            verdict = verdict._replace(kind="right")  # of one argument: the report says so
        if verdict.kind == "hidden":
            raise Kink(functools.partial(self.hidden, line, verdict))
        if verdict.kind != "right":
            locate = functools.partial(self.locate, claim, direction, line, verdict)
            fits = abs(verdict.error) <= verdict.allowed  # at a symmetric kink
            if verdict.kind == "kink" and fits and not self.problem.movable:
                self.report.at_a_kink = True
                self.note(line, verdict, used, sizes)
                return verdict
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

    def hidden(self, line: Line, verdict: Verdict) -> NoReturn:
        """Raise the GradientError of a point at which nothing can be said."""
        raise GradientError(
            f"{self.report.title}: cannot be checked: the function jumps or jitters so much that "
            + (
                "a wrong sign would not be seen: by "
                f"{verdict.allowed / line.size:.1e} of the derivative"
                if line.size
                else f"no derivative below {verdict.allowed:.1e} would be seen, and 0 is claimed"
            ),
            kink=True,
        )


def missed(seen: list[float], eps: float) -> float:
    """Return the probability that an error of eps in one entry is missed by all directions; seen:
    the smallest error that each of them shows, in the same unit."""
    return math.prod(math.erf(d / eps / math.sqrt(2)) for d in seen)
