"""The check of derivatives as it was when its verdict was a tolerance, frozen for comparison.

tests/tools/planted.py runs it beside tinygan's check, to show what has changed. It decides as it
did then, but after a direction has failed, it stops at the first entry that fails without a kink,
where the other one went on to the worst: that took nearly all of the time. Nothing else may use it.
"""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygan import Tensor, grad, tensor
from tinygan.backend import asarray, to_numpy


class GradientError(AssertionError):
    """A derivative disagrees with finite differences. The message says which, where, how much.

    report: the GradReport of the lower orders, which passed.
    kink: whether f has a kink or jump so close to the input that the differences mean nothing.
    """

    report, kink = (), False


class GradReport(list[float]):
    """The largest relative error at each order; report[0] is that of order 1."""

    def __str__(self) -> str:
        return ", ".join(f"order {i + 1}: {error:.1e}" for i, error in enumerate(self))


@np.errstate(all="ignore")  # a NaN raises a GradientError, which says more than a warning
def check_grads(
    f: Callable[..., Any],
    inputs: Any,
    order: int = 2,
    *,
    mode: str = "random",
    names: Sequence[str] | None = None,
    tolerance: float = 1e-6,
    step: float = 1e-4,
    seed: int = 0,
) -> GradReport:
    """Check the derivatives of `f` at `inputs`, up to `order`, against central differences.

    f: a function of Tensors that returns a Tensor of any shape, or a sequence of Tensors; or a
    Module, whose parameters are then checked along with its inputs.
    inputs: an array or Tensor, or a sequence of them; converted to float64.
    order: 2 checks the gradients of the gradients too, 3 the gradients of those, and so on.
    mode: "random" compares, for each argument, the derivative along one random direction, with one
    random weighting of the outputs. It is fast, and a wrong derivative hardly ever passes by
    chance; when one fails, "full" mode finds the worst entry. "full" compares every entry of the
    gradient. Both modes also check that gradients have the shape and dtype of their arguments, and
    that a second run gives the same bits.
    names: the names of the arguments in messages; default: those of the parameters of f.
    tolerance: the largest relative error |d - n| / max(|d|, |n|). Numbers that are small compared
    with the others, or with the rounding error of f, count as larger than they are.
    step: the step of the four-point differences. A check that fails is repeated with step / 100,
    and, if f has a kink even there (relu at 0), at inputs a little to the side.
    seed: of the random directions and weights.

    Returns the largest relative error at each order. Raises GradientError if a derivative is wrong.
    """
    if order < 1:
        raise ValueError(f"order must be 1 or more, not {order}")
    if mode not in ("random", "full"):
        raise ValueError(f"mode must be 'random' or 'full', not {mode!r}")
    single = isinstance(inputs, (Tensor, int, float)) or hasattr(inputs, "shape")
    arrays = [_float64(x) for x in ([inputs] if single else inputs)]
    title = getattr(f, "name", None) or getattr(f, "__name__", type(f).__name__)
    names = list(names or _parameter_names(getattr(f, "forward", f), len(arrays)))
    if hasattr(f, "as_function"):  # a Module: its parameters become further arguments
        f, parameters = f.as_function("float64")
        arrays += [_float64(p) for p in parameters.values()]
        names += parameters

    rng = np.random.default_rng(seed)
    report = GradReport()
    for k in range(1, order + 1):
        for attempts_left in reversed(range(4)):
            try:
                report.append(
                    _check(f, arrays, names, f"{title}, order {k}", tolerance, step, rng, mode)
                )
                break
            except GradientError as error:
                error.report = report
                if not error.kink or not attempts_left:
                    if k > 1:  # the next derivative takes results computed on arrays for constants
                        error.args = (f"{error} (compute derivatives with ops, not on arrays)",)
                    raise
                arrays = [a + 10 * step * rng.standard_normal(a.shape) for a in arrays]
        weights = [rng.standard_normal(value.shape) for value in _values(f, arrays)]
        f, arrays = _gradients_of(f, len(arrays)), arrays + weights
        names += ["grad_outputs"] * len(weights)
    return report


def _float64(x):
    return np.array(to_numpy(x.data) if isinstance(x, Tensor) else to_numpy(x), np.float64)


def _parameter_names(f, count):
    try:
        names = [
            p.name
            for p in inspect.signature(f).parameters.values()
            if p.kind in (p.POSITIONAL_OR_KEYWORD, p.POSITIONAL_ONLY)
        ]
    except (TypeError, ValueError):
        names = []
    return names[:count] if len(names) >= count else [f"input {i}" for i in range(count)]


def _values(f, arrays):
    """Return the results of f at `arrays`, as a list of arrays."""
    ys = f(*[tensor(asarray(a)) for a in arrays])
    ys = list(ys) if isinstance(ys, (tuple, list)) else [ys]
    for y in ys:
        if not isinstance(y, Tensor):
            raise TypeError(
                "check_grads: the function must return a Tensor or a sequence of Tensors, not "
                f"{type(y).__name__}"
            )
    return [to_numpy(y.data) for y in ys]


def _gradients_of(f, count):
    """Return the gradients of sum(weights * f), as a function of f's `count` arguments and weights.

    There is a weight for each result of f. The gradient of an argument without influence is 0.
    """

    def gradients(*args):
        create_graph = any(a.requires_grad for a in args)
        xs = [x if x.requires_grad else Tensor(x.data, requires_grad=True) for x in args[:count]]
        ys = f(*xs)
        ys = [ys] if isinstance(ys, Tensor) else ys
        reached = [(y, w) for y, w in zip(ys, args[count:]) if y.requires_grad]
        if not reached:
            return [x.detach() * 0.0 for x in xs]
        gs = grad([y for y, _ in reached], xs, [w for _, w in reached], create_graph=create_graph)
        return [x.detach() * 0.0 if g is None else g for x, g in zip(xs, gs)]

    return gradients


def _check(f, arrays, names, title, tolerance, step, rng, mode):
    """Compare the first derivatives of f with differences; return the largest relative error."""
    values = _values(f, arrays)
    for v in values:
        if v.dtype != np.float64:
            raise GradientError(f"{title}: float64 inputs gave a {v.dtype} result")
    if not all(map(_same_bits, values, _values(f, arrays))):
        raise GradientError(
            f"{title}: two runs on the same inputs gave different results; fix the seed inside f"
        )
    weights = [rng.standard_normal(v.shape) for v in values]
    gradients_of_f = _gradients_of(f, len(arrays))
    gradients, repeated = (_values(gradients_of_f, arrays + weights) for _ in range(2))
    magnitude = sum(np.sum(np.abs(w * v)) for w, v in zip(weights, values))

    worst = 0.0
    for i, (x, g, g_repeated, name) in enumerate(zip(arrays, gradients, repeated, names)):
        if g.shape != x.shape or g.dtype != x.dtype:
            raise GradientError(
                f"{title}: the gradient of {name} has shape {g.shape}, {g.dtype}; "
                f"{name} has shape {x.shape}, {x.dtype}"
            )
        if not _same_bits(g, g_repeated):
            raise GradientError(
                f"{title}: two runs on the same inputs gave different gradients of {name}"
            )

        def value(direction, t):
            """Return sum(weights * f) at x + t * direction."""
            moved = [a + t * direction if j == i else a for j, a in enumerate(arrays)]
            return sum(np.sum(w * v) for w, v in zip(weights, _values(f, moved)))

        compare = functools.partial(_worst_direction, value, g, magnitude, tolerance, step)
        error, message, kink = compare(_directions(x.shape, rng, mode))
        if error > tolerance and mode == "random":
            entry = compare(_directions(x.shape, rng, "full"))
            if entry[0] > tolerance:
                error, message, kink = entry
        if error > tolerance:
            failure = GradientError(f"{title}: the gradient of {name} is wrong {message}")
            failure.kink = kink
            raise failure
        worst = max(worst, error)
    return float(worst)


def _worst_direction(value, gradient, magnitude, tolerance, step, directions):
    """Return (error, message, kink) of the direction with the largest relative error."""
    worst = 0.0, "", False
    for where, direction in directions:
        nonzero = direction != 0  # 0 * inf would be NaN
        derivative = gradient[nonzero] @ direction[nonzero]
        small = 1e-3 * np.sqrt(np.mean(gradient**2)) + 1e-12
        line = functools.partial(value, direction)
        error, difference, kink = _compare(derivative, line, small, magnitude, tolerance, step)
        fails = error > tolerance and not kink and where.startswith("at index")
        if error > worst[0] or fails:
            message = (
                f"{where}: derivative {derivative:.10g}, differences {difference:.10g}, "
                f"relative error {error:.1e}"
            )
            worst = error, message, kink
        if fails:
            break
    return worst


def _compare(derivative, line, small, magnitude, tolerance, step):
    """Compare `derivative` with the difference quotients of line(t) at t = 0.

    small: smaller derivatives count as this large. magnitude: of the sum of the terms in line(t),
    for its rounding error. Returns (relative error, difference quotient, kink).
    """

    def error_of(quotient, h, rounding):
        """Return the relative error. Rounding alone changes the quotient by about rounding / h."""
        size = max(abs(derivative), abs(quotient), small, 10 * rounding / (h * tolerance))
        return abs(derivative - quotient) / size

    rounding, quotients, ends = np.finfo(np.float64).eps * magnitude, {}, {}
    for h in (step, step / 100):
        f = {k: line(k * h) for k in (-2, -1, 1, 2)}
        quotients[h] = (8 * (f[1] - f[-1]) - (f[2] - f[-2])) / (12 * h)
        ends[h] = f[-2] + f[2]
        error = error_of(quotients[h], h, rounding)
        if error <= tolerance:
            return error, quotients[h], False
    # Where large numbers cancel, f rounds more than its magnitude tells: measure its jitter.
    jitter = np.abs(np.diff([line(1e-3 * k * step) for k in range(7)], 2)).max()
    for h, quotient in quotients.items():
        if error_of(quotient, h, jitter) <= tolerance:
            return error_of(quotient, h, jitter), quotient, False
    # Where f is smooth, both quotients agree, and the derivatives before and after x differ by
    # 2 h f''.
    wide, narrow = (abs(both - 2 * line(0)) / (2 * h) for h, both in ends.items())
    bend = max(narrow - wide / 50, abs(quotients[step] - quotient))
    kink = 2 * bend >= abs(derivative - quotient)
    return np.inf if np.isnan(error) else error, quotient, kink


def _same_bits(a, b):
    return np.array_equal(a, b, equal_nan=True)


def _directions(shape, rng, mode):
    """Yield (description, direction): one random direction, or each entry by itself."""
    if 0 in shape:
        return
    if mode == "random":
        direction = np.asarray(rng.standard_normal(shape))
        yield "along a random direction", direction / np.abs(direction).max(keepdims=True)
    else:
        for index in np.ndindex(shape):
            direction = np.zeros(shape)
            direction[index] = 1
            yield f"at index {index}", direction
