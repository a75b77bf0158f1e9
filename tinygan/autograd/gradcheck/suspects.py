"""The usual suspects: the causes that a wrong gradient usually has, found by its symptoms.

Each test looks for one symptom in the numbers, and yields sentences: the symptom, its usual cause,
what to do. A symptom counts only if it explains the claimed gradient at all entries that are known,
to a small part of the error. Tests of symptoms in some entries are in places.py.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from . import patterns, places
from .evidence import Evidence, near
from .problem import Problem, root_mean_square

if TYPE_CHECKING:
    from .report import Failure

MOST = 3
SINGLE_ROUNDING = 1e-6  # relative errors of float32 are below this, and above 1e-9


def suspects(failure: "Failure", problem: Problem, argument: int) -> list[str]:
    """Return at most three sentences, the most likely suspect first. failure: has `claimed` and
    `found`, the gradient of one argument of the Problem."""
    if failure.claimed is None or failure.found is None:
        return []
    with np.errstate(all="ignore"):
        e = Evidence(failure, problem, argument)
        if found := _first(e, UNDEFINED):
            return found[:MOST]
        wrong = [k for k, (_, _, bad) in e.parts.items() if bad]
        more = _one_result(e, wrong) if len(wrong) == 1 < len(e.weights) else None
        found = _first(more or e, GROUPS)
        return [*found[:2], *_besides(e, wrong), *found[2:]][:MOST]


def _first(e: Evidence, groups: "list[Group]") -> list[str]:
    """Return what the first group says that finds something."""
    for group in groups:
        if found := list(itertools.chain.from_iterable(test(e) for test in group)):
            return found
    return []


def _one_result(e: Evidence, wrong: list[int]) -> Evidence | None:
    """Return the evidence about the one result whose derivative is wrong."""
    more = e.of_result(wrong[0])
    return more if more and np.all(np.isfinite(more.found)) else None


def _besides(e: Evidence, wrong: list[int]) -> Iterator[str]:
    """Say which results are wrong, and what an order above 1 means."""
    if 0 < len(wrong) < len(e.weights):
        names = ", ".join(dict.fromkeys(e.result(k) for k in wrong))
        yield (
            f"Only the derivative of {names} is wrong, of {len(e.weights)} results"
            f"{': the suspects are about it' if len(wrong) == 1 else ''}."
        )
    if e.problem.of_hessian:
        yield (
            "The numbers are those of the Hessian times random weights: if entry i is wrong, look "
            "at row i of the Hessian."
        )
    elif e.order > 1:
        yield (
            f"Order {e.order - 1} is right here, so the gradient has the right value and a wrong "
            "derivative: something in it is taken for a constant (detach(), .data, NumPy, a stored "
            "result), or an op that it uses has a wrong derivative itself."
        )


# The numbers are not finite


def undefined(problem: Problem) -> str:
    """Return a sentence if f is not finite at the point of a Problem, or ""."""
    results = np.concatenate([np.ravel(y) for y in problem.here] or [np.zeros(0)])
    bad = int(np.sum(~np.isfinite(results)))
    if not bad:
        return ""
    return (
        f"f itself is not finite at this point ({bad} of {results.size} results are NaN or "
        "infinite): it has no derivative here; check at a point where it is finite."
    )


def _undefined(e: Evidence) -> Iterator[str]:
    if text := undefined(e.problem):
        yield text
        return
    bad = ~np.isfinite(e.whole)
    if np.any(bad):
        kinds = ("NaN", np.isnan(e.whole)), ("infinite", np.isinf(e.whole))
        kind = " or ".join(name for name, mask in kinds if np.any(mask))
        where = ""
        for text, mask in ((f"{e.name} is 0", e.x == 0), (f"{e.name} is negative", e.x < 0)):
            if np.array_equal(mask, bad):
                where = f", exactly where {text}"
        yield (
            f"The derivative is {kind} in {np.sum(bad)} of {bad.size} entries{where}: usually from "
            "a square root, a logarithm, a power or a division at 0, or from 0 * inf. A `where` "
            "after it does not help: it multiplies the infinity by 0. Replace the argument by a "
            "safe number before."
        )
    elif math.isnan(e.failure.difference):
        yield (
            "f is finite here and not close to here: the point is at the edge of where f is "
            "defined (a square root or logarithm at 0?); check at a point inside."
        )


def _spread(e: Evidence) -> Iterator[str]:
    if np.any(e.wrong) or e.x.size < 2:
        return
    yield (
        "No single entry is wrong above the noise of its differences, only their sum along a "
        "random direction: a small error in many entries, such as a rounded constant, an epsilon "
        "that stands in one formula and not in the other, or float32 in between."
    )


# The numbers are explained at all entries


def _zero(e: Evidence) -> Iterator[str]:
    if not np.any(e.whole) and e.order == 1:
        yield (
            f"The derivative is 0 everywhere, and the differences are not: {e.name} is cut off "
            "from the result, by detach(), no_grad(), .data, a NumPy function or a copy; or its "
            "gradient is not passed on."
        )
    elif np.any(e.whole) and np.all(abs(e.found) <= e.allowed + 1e-14 * e.size):
        where = "everywhere" if e.everywhere else "in all entries that were compared"
        yield (
            f"The differences are 0 {where}, and the derivative is not: f does not depend on "
            f"{e.name} here: it rounds, compares, or works on an older copy; or the derivative "
            "belongs to another argument."
        )


def _constant_parts(e: Evidence) -> Iterator[str]:
    """A second derivative that is 0 because the first takes something for a constant."""
    if e.order == 1 or e.problem.of_hessian:
        return
    parts = [k for k, (claimed, _, wrong) in e.parts.items() if wrong and not claimed]
    if not parts:
        return
    names = " and ".join(dict.fromkeys(e.result(k) for k in parts[:3]))
    found = e.parts[parts[0]][1]
    what = "the incoming gradient g" if e.name == "grad_outputs" else e.name
    yield (
        f"In {names}, {what} is taken for a constant: the derivative with respect to {e.name} is 0 "
        f"there, and the differences are not ({found:.4g} along a random direction). Look "
        f"for detach(), .data, NumPy, or a stored result in the place of {what}, or of what is "
        "computed from it."
    )


def _single_precision(e: Evidence) -> Iterator[str]:
    if np.max(e.error) > SINGLE_ROUNDING * e.size or np.count_nonzero(e.claimed) < 2:
        return
    forms = [e.claimed, e.claimed * e.unit]
    if len(e.weights) == 1 and e.weights[0].shape == e.x.shape:
        forms.append(e.claimed / e.weights[0][e.known])
    for values in forms:
        single = values.astype(np.float32).astype(np.float64)
        exact = np.all(abs(values - single) <= 2e-15 * abs(values))
        if exact and np.any(values != np.round(values, 3)):
            yield (
                "Each entry of the derivative is a number of float32 (relative error "
                f"{np.max(e.error) / e.size:.0e}): it was computed in float32, or cast to it on "
                "the way; look for astype, a float32 array among the constants, or a buffer."
            )
            return


def _rounded(e: Evidence) -> Iterator[str]:
    errors = (e.claimed / e.found - 1)[e.wrong]
    if len(errors) < 4 or np.max(e.error) > SINGLE_ROUNDING * e.size or np.mean(e.wrong) < 0.5:
        return
    typical = np.median(abs(errors))
    if np.std(errors) > 0.3 * np.mean(abs(errors)) and 1e-9 < typical < 3e-7:
        yield (
            f"The relative errors are tiny ({typical:.0e}) and differ from entry to "
            "entry, like the rounding of float32 (6e-8): look for float32 on the way (astype, a "
            "float32 array among the constants), or for a function computed to few digits."
        )


LIKELY = [  # factor, its usual cause
    (2.0, "a square whose 2 is counted twice, or a factor 1/2 of f that is missing (0.5 * x ** 2)"),
    (0.5, "a square whose 2 is missing, or an argument that is used twice and counted once"),
    (-1.0, "the sign: a - b for b - a, or a minus of a loss"),
]
NUMBERS = [
    (4.0, "2 * 2: a factor 2 in excess, twice"),
    (math.sqrt(2), "sqrt(2), a gain"),
    (math.sqrt(0.5), "1 / sqrt(2), a gain"),
    (math.pi, "pi"),
    (math.log(2), "log(2): log2 or 2 ** x for log or exp"),
    (math.log(10), "log(10): log10 or 10 ** x for log or exp"),
    (math.pi / 180, "pi / 180: degrees for radians"),
    (127.5, "127.5: pixels of 0 to 255 for images in [-1, 1]"),
    (255.0, "255: pixels of 0 to 255 for images in [0, 1]"),
]


DDOF = "a variance divided by n in one place and by n - 1 in the other (ddof)."
ROOT = "a scale 1 / sqrt(n), as of attention, initial weights or a standard error,"


def _factor(e: Evidence) -> Iterator[str]:
    if not np.any(e.found) or not np.any(e.claimed) or root_mean_square(e.allowed) > 0.1 * e.size:
        return
    k = float(np.vdot(e.claimed, e.found) / np.vdot(e.found, e.found))
    if not k or not np.all(abs(e.claimed - k * e.found) <= max(abs(k), 1.0) * e.tolerance):
        return
    precision = 1e-8 + root_mean_square(e.allowed) / root_mean_square(e.found) / 4
    precision = min(precision, max(1e-3 * min(abs(k - 1), 1.0), 1e-12))
    start = f"The derivative is {k:.10g} times the differences"
    named = list(_named_factors(e, k, precision))
    if e.elsewhere:
        moved, other, allowed = e.elsewhere
        if not near(k, other, precision + allowed + 1e-3 * min(abs(k - 1), 1e-2)):
            for name, (a, b) in _single_values(e, moved).items():
                for power, what in ((1, "counted once too often"), (-1, "missing")):
                    if near(k, a**power, precision) and near(other, b**power, precision + allowed):
                        value = name if power == 1 else f"1 / {name}"
                        yield f"{start} everywhere, which is {value}: {name} is {what}."
                        return
            if len(e.found) > 2:
                yield (
                    f"{start} in all entries, and {other:.6g} times at another point. So the "
                    "factor depends on the numbers: a gradient that is normalised, clipped or "
                    "weighted by a value of the forward pass."
                )
            return
        vague = moved is e.problem or precision + allowed > 1e-3 * abs(k - 1)
        if vague and len(e.found) < 3 and not named:
            return
    elif len(e.found) < 3 and not named:
        return
    if named:
        yield f"{start} everywhere. {named[0]}"
        yield from (f"Or: {text[0].lower()}{text[1:]}" for text in named[1:2])
    elif abs(k - 1) < 1e-3:
        yield (
            f"The derivative is 1 {'-+'[k > 1]} {abs(k - 1):.3g} times the differences everywhere: "
            "a constant that is typed with too few digits or rounded to float32, or an epsilon "
            "that stands in one formula and not in the other."
        )
    else:
        yield (
            f"{start} everywhere: a constant factor (a gain, a scale, a step, a weight) is missing "
            f"or counted twice; look for {k:.6g} or {1 / k:.6g}."
        )


def _named_factors(e: Evidence, k: float, precision: float) -> Iterator[str]:
    """Yield what a factor may be, the most likely first."""
    if e.order > 1 and not e.problem.of_hessian:
        fraction = Fraction(k).limit_denominator(6)
        p, q = fraction.numerator, fraction.denominator
        if 0 < k < 1 and near(k, p / q, precision):
            yield (
                f"That is {p}/{q}: of {q} equal factors or terms in the gradient, {q - p} "
                f"{'is' if q - p == 1 else 'are'} taken for a constant (detach(), .data, NumPy)."
            )
            return
    likely = [f"That suggests {text}." for factor, text in LIKELY if near(k, factor, precision)]
    sizes: dict[int, list[str]] = {1: [], 2: [], 3: [], 4: []}
    for n, texts in e.lengths().items():
        what = f"{n} is {' and '.join(texts[:2])}"
        few = " With so few, a wrong constant factor is as likely." if n < 5 else ""
        extra = f"; or it has a constant factor of {n} too many" if n < 10 else ""
        less = f"; or a constant factor of {n} is missing" if n < 10 else ""
        for rank, factor, text in (
            (1, n, f"{what}: f takes a mean there, and the derivative is that of a sum{extra}."),
            (1, 1 / n, f"{what}: f takes a sum there, and the derivative is that of a mean{less}."),
            (1, n / (n - 1 or 2), f"That is n / (n - 1), and n = {what}: {DDOF}{few}"),
            (1, (n - 1) / n, f"That is (n - 1) / n, and n = {what}: {DDOF}{few}"),
            (3, n / 2, f"That is {n} / 2, and {what}: a mean of squares whose 2 / {n} is missing."),
            (3, 2 / n, f"That is 2 / {n}, and {what}: the 2 of a square, and a mean for a sum."),
            (2, math.sqrt(n), f"That is sqrt({n}), and {what}: {ROOT} is missing."),
            (2, 1 / math.sqrt(n), f"That is 1 / sqrt({n}), and {what}: {ROOT} is counted twice."),
        ):
            if n > 1 and near(k, factor, precision):
                near_by = any(f" of {e.name}" in t or "result" in t for t in texts)
                sizes[rank if near_by or rank != 3 else 4].append(text)
                break
    numbers = [f"That suggests {text}." for factor, text in NUMBERS if near(k, factor, precision)]
    yield from likely + sizes[1]
    whole = round(max(k, 1 / k))
    if not likely and not sizes[1] and not sizes[3] and not numbers and whole > 2 and k > 0:
        if near(max(k, 1 / k), whole, precision):
            f_takes, other = ("mean", "sum") if k > 1 else ("sum", "mean")
            yield (
                f"If {whole} is a number of samples that f knows, such as a batch from outside its "
                f"arguments: f takes a {f_takes} over them, and the derivative is that of a "
                f"{other}."
            )
    if not likely:
        yield from sizes[3] + numbers + sizes[4] + sizes[2]


def _single_values(e: Evidence, moved: Problem) -> dict[str, tuple[float, float]]:
    """Return {name: (value here, value at another point)} of arguments and results of one entry."""
    pairs = list(zip(e.problem.names, e.problem.arrays, moved.arrays))
    pairs += [(e.result(k), y, moved.here[k]) for k, y in enumerate(e.problem.here)]
    return {name: (a.item(), b.item()) for name, a, b in pairs if a.size == 1}


Group = tuple[Callable[[Evidence], Iterator[str]], ...]
UNDEFINED: list[Group] = [(_undefined,), (_spread,)]
# Each group is tried only if those before it find nothing.
GROUPS: list[Group] = [
    (_constant_parts, _zero),
    (_factor, _single_precision),
    (patterns.of_another_argument, patterns.rearranged),
    (patterns.products, patterns.sums, patterns.statistics),
    (patterns.difference, patterns.ratio),
    (patterns.differences_by_axes,),
    (places.along_axes,),
    (_rounded,),
    (places.by_axis, places.in_places),
    (places.right_sums, places.listed),
]

WITNESSES = {  # how the name of a witness begins: what usually makes it disagree
    "adjoint": "f is linear in it, so the gradient must be the transposed map: an index, a sum or "
    "a transpose",
    "bilinearity": "f is linear in each, so the gradient must be linear in the other and not "
    "depend on itself: a stored value, or the wrong argument",
    "symmetry": "second derivatives are symmetric: one of the gradients takes something for a "
    "constant",
    "differences of values": "the gradients that are differentiated are not those of f: a stored "
    "value, or another formula",
    "float32": "wrong in float32 alone: an epsilon or constant that float32 cannot hold, a cast, "
    "a difference of nearly equal numbers, or a branch on the dtype",
    "complex step": "a small error, such as a rounded constant or an epsilon",
}


def cause_of(witness: str) -> str:
    """Return " (the usual cause)" of the disagreement of a witness, or ""."""
    return next((f" ({why})" for name, why in WITNESSES.items() if witness.startswith(name)), "")
