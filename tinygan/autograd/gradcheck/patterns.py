"""Symptoms of a wrong gradient that relate all its entries to something else: to the differences in
another order, to another argument, to a product or sum that is almost the right one."""

import itertools
import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from .evidence import Array, Evidence, axes_text, subsets
from .problem import Claim, root_mean_square


def of_another_argument(e: Evidence) -> Iterator[str]:
    """The claimed gradient is that of another argument of the same shape."""
    problem, rng = e.problem, np.random.default_rng(0)
    for j, other in enumerate(problem.arrays):
        if j == e.argument or np.atleast_1d(other).shape != e.x.shape or not e.weights:
            continue
        direction = problem.scales[j] * rng.standard_normal(other.shape)
        _, found, allowed = _line_of(e, j, direction)
        claimed = float(np.vdot(direction, e.whole * e.unit))
        size = root_mean_square(direction) * e.size * abs(e.unit) * math.sqrt(other.size)
        if abs(claimed - found) <= allowed + 1e-6 * size and abs(found) > 1e-3 * size:
            yield (
                f"The derivative with respect to {e.name} is the one that the differences give "
                f"with respect to {problem.names[j]}: the two are swapped."
            )
            return


def _line_of(e: Evidence, j: int, direction: Any) -> tuple[float, float, float]:
    zeros = [np.zeros(x.shape) for x in e.problem.arrays]
    line = Claim(e.problem, e.weights).line([*zeros[:j], direction, *zeros[j + 1 :]])
    verdict = line.examine()
    return line.claimed, line.claimed + verdict.error, verdict.allowed / 4


def rearranged(e: Evidence) -> Iterator[str]:
    """The differences in another order: of the gradient, or of one of its factors where f works
    entry by entry."""
    if len(e.found) < 2 or np.ptp(e.whole) <= 1e-3 * e.size:
        return
    whole, forms = e.whole, {"": lambda move: move(e.whole)}
    if len(e.weights) == 1 and e.weights[0].shape == e.x.shape:
        w = e.weights[0]
        forms[" of the local derivative"] = lambda move: w * move(whole / w)
        forms[" of the incoming gradient"] = lambda move: whole * w / move(w)
    for part, undone in forms.items():
        for text, cause, move in _moves(e.x):
            if e.is_found(undone(move)):
                what = f"the entries{part} are" if part else "it is"
                yield f"The derivative would be right, but {what} {text}: {cause}."
                return
    if e.everywhere and len(e.found) > 2:
        a, b = np.sort(e.claimed), np.sort(e.found)
        if np.all(abs(a - b) <= np.min(e.tolerance)) and np.ptp(b) > 1e-3 * e.size:
            yield (
                "The derivative has the numbers of the differences in other places: wrong indices "
                "(argsort for its inverse, a reshape for a transpose, gather for scatter)."
            )


def _moves(x: Array) -> Iterator[tuple[str, str, Callable[[Array], Array]]]:
    """Yield (what was done to an array of the shape of x, its cause, what undoes it)."""
    axes = range(x.ndim)
    for order in itertools.permutations(axes) if x.ndim <= 4 else ():
        if order != tuple(axes) and tuple(x.shape[a] for a in order) == x.shape:
            moved = [a for a in axes if order[a] != a]
            text = "transposed" if x.ndim == 2 else f"with the axes {tuple(moved)} exchanged"
            cause = "a transpose is missing, or stands where none belongs"
            yield text, cause, partial(np.transpose, axes=np.argsort(order))
    for count in range(1, min(x.ndim, 4) + 1):
        for some in itertools.combinations(axes, count):
            cause = "an index that runs backwards, as in a convolution for a correlation"
            names = f"axis {some[0]}" if count == 1 else f"the axes {some}"
            yield f"reversed along {names}", cause, partial(np.flip, axis=some)
    for axis in axes:
        most = x.shape[axis] // 2 if x.size <= 4096 else 1
        for shift in sorted([s for s in range(-most, most + 1) if s], key=abs):
            cause = "an index that is off by one" if abs(shift) == 1 else "an offset in an index"
            text = f"shifted by {abs(shift)} along axis {axis}"
            yield text, cause, partial(np.roll, shift=shift, axis=axis)
    if x.ndim > 1:
        text, cause = "read in Fortran order", "a reshape with the axes in another order"
        yield text, cause, lambda a: a.ravel().reshape(a.shape, order="F")
        yield text, cause, lambda a: a.ravel(order="F").reshape(a.shape)


def statistics(e: Evidence) -> Iterator[str]:
    """f does not change with a shift or scale of x, and the claimed gradient says that it does."""
    if not e.everywhere or len(e.found) < 2:
        return
    found = e.differences
    noise = float(np.sum(e.tolerance)) / len(e.found) + 1e-9 * e.size
    for what, factor, sum_of, cause in (
        ("a number is added to", np.ones(e.x.shape), "the differences", "a mean, sum or maximum"),
        (
            "a number is multiplied with", e.x, f"{e.name} times the differences",
            "a variance, norm or maximum",
        ),
    ):  # fmt: skip
        for axes in subsets(e.x.ndim):
            count = math.prod(e.x.shape[a] for a in axes)
            slack = 4 * noise * count * root_mean_square(factor)
            sums = [np.sum(g * factor, axes) for g in (found, e.whole)]
            parts = np.sum(abs(found * factor), axes)
            nonzero = float(np.mean(parts)) > 100 * slack and count > 1
            if nonzero and np.max(abs(sums[0])) <= slack and np.max(abs(sums[1])) > 10 * slack:
                yield (
                    f"f does not change when {what} all entries along {axes_text(axes)} of "
                    f"{e.name} ({sum_of} sum to 0 there), and the derivative says that it does (up "
                    f"to {np.max(abs(sums[1])):.4g}): {cause} of these entries is taken for a "
                    "constant, like stale statistics of a normalisation."
                )
                return


def difference(e: Evidence) -> Iterator[str]:
    """The error is a constant, or proportional to x."""
    error = e.claimed - e.found
    if len(error) < 3:
        return
    sign = "too large" if error[0] > 0 else "too small"
    if e.is_found(e.whole - np.mean(error)):
        yield (
            f"The derivative is {sign} by {abs(np.mean(error)):.6g} in all entries: a term that is "
            f"linear in {e.name} is in f or in its derivative, but not in both, or a constant is "
            "added in the wrong place."
        )
        return
    x = e.x[e.known]
    if np.any(x):
        c = float(np.vdot(error, x) / np.vdot(x, x))
        if e.is_found(e.whole - c * e.x):
            yield (
                f"The error is {c:.6g} * {e.name} in all entries: a term with the square of "
                f"{e.name}, such as weight decay or an L2 penalty, is in f or in its derivative, "
                "but not in both."
            )


def differences_by_axes(e: Evidence) -> Iterator[str]:
    """The error is a constant, or linear in x, along some axes: the mean and the variance of a
    normalisation add such terms to the gradient."""
    if not e.everywhere:
        return
    error = (e.claimed - e.found).reshape(e.x.shape)
    for axes in subsets(e.x.ndim):
        mean, middle = (a.mean(axes, keepdims=True) for a in (error, e.x))
        centred = e.x - middle
        slope = (error * centred).sum(axes, keepdims=True) / (centred**2).sum(axes, keepdims=True)
        count = math.prod(e.x.shape[a] for a in axes)
        for least, fit, statistic in ((3, mean, "mean"), (4, mean + slope * centred, "variance")):
            if count >= least and count < e.x.size and e.is_found(e.whole - fit):
                text = "the same" if statistic == "mean" else f"a linear function of {e.name}"
                yield (
                    f"The error is {text} along {axes_text(axes)}, for each index of the other "
                    f"axes: the {statistic} of these entries is taken for a constant, like stale "
                    "statistics of a normalisation."
                )
                return


def ratio(e: Evidence) -> Iterator[str]:
    """The factor from the differences to the claimed gradient is an argument, or a result."""
    if len(e.found) < 3 or not np.all(e.found) or not np.all(e.claimed):
        return
    for name, v in _factors(e):
        for power, text in (
            (1, f"is multiplied by {name} once too often"),
            (-1, f"lacks the factor {name}"),
            (2, f"is multiplied by the square of {name} in excess"),
            (-2, f"lacks the square of {name}"),
        ):
            scale = v.astype(np.float64) ** power
            values = scale[e.known]
            if np.ptp(values) <= 1e-3 * root_mean_square(values) or not np.all(np.isfinite(values)):
                continue
            quotients = e.claimed / e.found / values
            c = float(np.median(quotients))
            if abs(c - 1) < 1e-5 or (len(e.found) > 3 and abs(c) > 1e-6):
                if e.is_found(e.whole / (c * scale)):
                    extra = "" if abs(c - 1) < 1e-5 else f", and there is a factor {c:.6g}"
                    cause = "an exponent that is off by one, or a factor of the chain rule"
                    yield f"The derivative {text} in all entries{extra}: {cause}."
                    return


def _factors(e: Evidence) -> Iterator[tuple[str, Array]]:
    yield from e.others()
    for k, y in enumerate(e.problem.here):
        if y.shape == e.x.shape:
            name = e.result(k)
            yield f"1 - y (y: {name})", 1 - y
            yield f"1 - y ** 2 (y: {name})", 1 - y**2


def products(e: Evidence) -> Iterator[str]:
    """A product of matrices with a transpose too many or too few, or in the wrong order."""
    if e.x.ndim != 2 or len(e.problem.arrays) > 8 or len(e.weights) > 4:
        return
    gs = ["g" if len(e.weights) == 1 else f"g[{k}]" for k in range(len(e.weights))]
    pairs = list(zip(gs, e.weights))
    pairs += zip(e.problem.names, e.problem.arrays)
    matrices = [(name, a) for name, a in pairs if a.ndim == 2 and a.size > 1]
    for (a_name, a), (b_name, b) in itertools.combinations(matrices, 2):
        right, claimed = "", ""
        sides = [(a_name, a), (f"{a_name}.T", a.T)], [(b_name, b), (f"{b_name}.T", b.T)]
        for (s, p), (t, q) in itertools.product(*sides):
            for text, left, other in ((f"{s} @ {t}", p, q), (f"{t} @ {s}", q, p)):
                if left.shape[1] == other.shape[0]:
                    product = left @ other / e.unit
                    if product.shape == e.x.shape:
                        right = text if not right and e.is_found(product) else right
                        claimed = text if not claimed and e.is_claimed(product) else claimed
        if right and claimed:
            yield (
                f"The derivative is {claimed}, and the differences are {right}: a transpose or the "
                "order of the product."
            )
            return


def sums(e: Evidence) -> Iterator[str]:
    """A sum over the wrong axes, or over too few of them, where an argument is broadcast."""
    if len(e.weights) > 4 or len(e.problem.arrays) > 8:
        return
    for term_name, term in _terms(e):
        results = {}
        for axes in subsets(term.ndim) if term.ndim <= 4 else ():
            total = term.sum(axes)
            if total.size == e.x.size:
                results[f"the sum over {axes_text(axes)}"] = total
                for which, index in (("first", 0), ("last", -1)):
                    part = term
                    for axis in sorted(axes, reverse=True):
                        part = part.take(index, axis)
                    results[f"the {which} part along {axes_text(axes)}"] = part
        results = {text: a.reshape(e.x.shape) / e.unit for text, a in results.items()}
        right = [text for text, a in results.items() if e.is_found(a)]
        claimed = [text for text, a in results.items() if e.is_claimed(a)]
        if right and claimed:
            yield (
                f"The derivative is {claimed[0]} of {term_name}, and the differences are "
                f"{right[0]}: the gradient of an argument that is broadcast is the sum over the "
                "axes along which it is repeated."
            )
            return


def _terms(e: Evidence) -> Iterator[tuple[str, Array]]:
    """Yield what may be summed: g, and g times an argument."""
    for k, w in enumerate(e.weights):
        g = "g" if len(e.weights) == 1 else f"g[{k}]"
        if w.ndim and w.size > e.x.size:
            yield g, w
            for name, x in zip(e.problem.names, e.problem.arrays):
                if x is not e.problem.arrays[e.argument]:
                    try:
                        product = w * x
                    except ValueError:
                        continue
                    if product.shape == w.shape:
                        yield f"{g} * {name}", product
