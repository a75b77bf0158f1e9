"""check_gradient: a function of NumPy arrays, and a derivative that someone wrote by hand."""

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygan.errors import InputError

from .checker import check_order, check_repeats
from .line import ROUNDING, SAFETY
from .options import Options
from .problem import Arrays, Problem, argument_names, generator, inner, length, rounding, scale_of
from .report import GradientError, GradReport, Witness, fail_if_one_disagrees
from .witnesses import LIMIT, of_linear_arguments

COMPLEX_STEP = 1e-100


@np.errstate(all="ignore")
def check_gradient(
    f: Callable[..., Any],
    gradient: Any = None,
    x: Any = None,
    *,
    jvp: Callable[..., Any] | None = None,
    vjp: Callable[..., Any] | None = None,
    hessian: Any = None,
    hessp: Callable[..., Any] | None = None,
    args: tuple[Any, ...] = (),
    mode: str = "random",
    names: Sequence[str] | None = None,
    step: float | None = None,
    seed: int = 0,
    rtol: float | None = None,
    atol: float | None = None,
    eps: float = 1e-4,
    miss: float = 1e-6,
) -> GradReport:
    """Check a hand-written derivative of a function of NumPy arrays.

    f: a function of one array, or of several, that returns a number or an array. It may call
    anything (PyTorch, JAX, a solver), as long as it takes and returns NumPy arrays.
    gradient: a function of the same arrays. For a number, it returns the gradient, of the shape of
    x; for an array, the Jacobian, of the shape f.shape + x.shape (SciPy's `jac`); with several
    arguments, a tuple of these. Or these arrays themselves, at x, instead of a function. Or True:
    f returns (value, gradient).
    x: where to check: a number, an array, a list of numbers; or a tuple of several arguments.
    jvp: jvp(x, v), the Jacobian times v, of the shape of f. Several arguments: jvp(x, y, v, w).
    vjp: vjp(x, w), the transposed Jacobian times w, of the shape of x; several: a tuple.
    hessian: a function that returns the matrix of second derivatives, x.shape + x.shape, of an f
    that has one argument and returns a number; or this matrix itself, at x. hessp: hessp(x, v), the
    Hessian times v, instead of hessian.
    args: further arguments of f and all derivatives, such as data, that are not differentiated.
    names, mode, step, seed, rtol, atol, eps, miss: see check_grads.

    Returns a GradReport with an entry for each derivative, in this order: gradient, vjp, jvp,
    Hessian. Raises GradientError if a derivative is wrong, and InputError if something is missing
    or has the wrong shape.
    """
    if not callable(f):
        raise InputError(
            f"check_gradient(f, gradient, x): f must be a function, not {type(f).__name__}"
        )
    if gradient is not None and isinstance(gradient, str):
        raise InputError(
            f"check_gradient: gradient must be a function, arrays or True, not {gradient!r}"
        )
    args = args if isinstance(args, tuple) else (args,)  # as SciPy does
    if x is None:
        raise InputError(
            "check_gradient(f, gradient, x) needs x, the point at which to check: write x=... if "
            "there is no gradient, only jvp=, vjp=, hessian= or hessp="
        )
    arrays, single = _arguments(x)
    title = getattr(f, "__name__", type(f).__name__)
    names = argument_names(names, f, len(arrays))
    if gradient is True:
        both = _value_and_gradient(f)
        f, gradient = (lambda *a: both(*a)[0]), (lambda *a: both(*a)[1])
    given = {"gradient": gradient, "jvp": jvp, "vjp": vjp, "hessian": hessian, "hessp": hessp}
    if all(value is None for value in given.values()):
        raise InputError(f"check_gradient needs one of {', '.join(given)}: a derivative to check")
    for name, value in given.items():
        if name in ("jvp", "vjp", "hessp") and value is not None and not callable(value):
            raise InputError(f"check_gradient: {name} must be a function, not {value!r:.60}")
    if hessian is not None and hessp is not None:
        raise InputError("check_gradient: give hessian or hessp, not both")
    if (hessian is not None or hessp is not None) and len(arrays) > 1:
        raise InputError("check_gradient: a Hessian is checked for functions of one argument")

    function = _Function(f, args, single)
    rng = generator(seed)
    options = Options(mode, rtol, atol, step, eps, miss).checked()
    report = GradReport()

    def check(order, values, gradient, along=None, movable=True):
        problem = Problem(title, names, arrays, values, gradient, along)
        problem.movable, problem.of_hessian = movable, order == 2
        check_repeats(problem, f"{title}, order {order}")
        try:
            found, problem = check_order(problem, order, options, rng)
            if order == 1 and not found.tolerance:  # the witnesses would demand more
                found.witnesses = of_linear_arguments(problem, rng)
                found.witnesses += _complex_step(problem, function, rng)
            fail_if_one_disagrees(found.title, found.witnesses)
        except GradientError as error:
            error.report = report.with_failure_of(error)
            raise
        report.add(found)
        return problem

    shape = function.shape(arrays)
    first = None if gradient is None else _Jacobian(gradient, args, shape, arrays, single)
    if first:
        check(1, function.values, first.times_weights, movable=callable(gradient))
    if vjp is not None:
        check(1, function.values, _vjp(vjp, args, single))
    if jvp is not None:
        check(1, function.values, None, _jvp(jvp, args, shape))
    if hessian is not None or hessp is not None:
        if shape != ():
            raise InputError(
                "check_gradient: a Hessian is checked for functions that return a number; this one "
                f"returns an array of shape {shape}"
            )
        times = _hessian_times(hessian, hessp, args, arrays[0].shape)
        one = [np.ones(())]
        gradients = _by_differences(function)
        if first and callable(gradient):
            gradients = lambda xs: first.times_weights(xs, one)
        movable = hessp is not None or callable(hessian)  # an array belongs to one point
        problem = check(2, gradients, lambda xs, ws: [times(xs[0], ws[0])], movable=movable)
        report.orders[-1].witnesses = _symmetry(times, problem, rng)
        fail_if_one_disagrees(report.orders[-1].title, report.orders[-1].witnesses)
    return report


def _arguments(x: Any) -> tuple[Arrays, bool]:
    """Return the arguments as float64 arrays, and whether x is a single one: a tuple, or a list
    that contains arrays, are several."""
    several = isinstance(x, tuple) or (
        isinstance(x, list)
        and any(isinstance(part, (np.ndarray, list)) for part in x)
        and not _is_rectangle_of_numbers(x)
    )
    parts = list(x) if several else [x]
    arrays = []
    for part in parts:
        try:
            array = np.asarray(part)
        except ValueError:
            raise InputError("check_gradient: x has lists of different lengths") from None
        if array.dtype.kind not in "fiub":
            what = type(part).__name__ if array.dtype.kind not in "c" else str(array.dtype)
            hint = (
                ": for a function of complex numbers, check its real and imaginary parts as "
                "functions of theirs"
            )
            raise InputError(
                f"check_gradient: x must hold real numbers, not {what}"
                f"{hint * (array.dtype.kind == 'c')}"
            )
        if not np.all(np.isfinite(array)):
            raise InputError("check_gradient: x has infinite numbers or NaN: nothing to compare")
        arrays.append(np.array(array, np.float64))
    return arrays, not several


def _value_and_gradient(f: Callable[..., Any]) -> Callable[..., Any]:
    def both(*arguments: Any) -> Any:
        result = f(*arguments)
        if not isinstance(result, (tuple, list)) or len(result) != 2:
            raise InputError(
                "check_gradient: where gradient is True, the function must return (value, gradient)"
            )
        return result

    return both


def _is_rectangle_of_numbers(x: list[Any]) -> bool:
    """Return whether nested lists of numbers are one array, such as [[1, 2], [3, 4]]."""
    if any(isinstance(part, np.ndarray) for part in x):
        return False
    try:
        return np.asarray(x).dtype.kind in "fiub"
    except ValueError:  # rows of different lengths
        return False


class _Function:
    """f as a function from a list of arrays to a list with one array."""

    def __init__(self, f: Callable[..., Any], args: tuple[Any, ...], single: bool) -> None:
        self.f, self.args, self.single = f, args, single

    def raw(self, arrays: Arrays) -> Any:
        # f gets copies: it may change what it is given
        return self.f(*[a.copy() for a in arrays], *self.args)

    def values(self, arrays: Arrays) -> Arrays:
        return [_real(self.raw(arrays), "the function")]

    def shape(self, arrays: Arrays) -> tuple[int, ...]:
        return self.values(arrays)[0].shape


def _real(value: Any, what: str) -> Any:
    """Return a result as an array of floating-point numbers, or raise InputError."""
    if hasattr(value, "toarray"):  # a sparse matrix, as of SciPy
        value = value.toarray()
    if hasattr(value, "matmat"):  # a LinearOperator, which SciPy takes for a matrix
        value = value @ np.eye(value.shape[1])
    array = np.asarray(value)
    if array.dtype.kind in "iub":
        array = array.astype(np.float64)
    if array.dtype.kind != "f":
        kind = type(value).__name__ if array.dtype == object else array.dtype
        raise InputError(
            f"check_gradient: {what} must return real numbers or NumPy arrays of them, not {kind}"
        )
    return array


def _parts(value: Any, what: str, single: bool, count: int) -> Arrays:
    """Return what a derivative returned as a list with an array for each of `count` arguments."""
    bare = count == 1 and not isinstance(value, (tuple, list))  # of x = [array]
    parts = [value] if single or bare else value
    if not isinstance(parts, (tuple, list)) or len(parts) != count:
        of = f" of {len(parts)}" if isinstance(parts, (tuple, list)) else ""
        raise InputError(
            f"check_gradient: with {count} argument{'s' * (count > 1)}, {what} must return a tuple "
            f"of {count} arrays, not {type(parts).__name__}{of}"
        )
    return [_real(part, what) for part in parts]


class _Jacobian:
    """A gradient or Jacobian, given as a function or as arrays, times weights of the results."""

    def __init__(
        self, gradient: Any, args: Any, shape: tuple[int, ...], arrays: Arrays, single: bool
    ) -> None:
        self.gradient, self.args, self.shape, self.single = gradient, args, shape, single
        self.arguments = [a.shape for a in arrays]

    def parts(self, xs: Arrays) -> Arrays:
        value = self.gradient
        if callable(value):
            value = value(*[x.copy() for x in xs], *self.args)
        parts = _parts(value, "the gradient", self.single, len(self.arguments))
        return [self._checked(part, shape) for part, shape in zip(parts, self.arguments)]

    def _checked(self, part: Any, argument: tuple[int, ...]) -> Any:
        wanted = self.shape + argument
        if part.shape == wanted:
            return part
        if part.size == 1 == math.prod(wanted):  # a number as an array of one entry
            return part.reshape(wanted)
        if part.shape == argument + self.shape:
            hint = ": is it transposed?"
        elif self.shape and part.shape == argument:
            hint = f": the function returns an array of shape {self.shape}; to give w times the "
            hint += "Jacobian, use vjp="
        else:
            hint = ""
        kind = "Jacobian" if self.shape else "gradient"
        raise InputError(
            f"check_gradient: the {kind} must have the shape {wanted}, not {part.shape}{hint}"
        )

    def times_weights(self, xs: Arrays, weights: Arrays) -> Arrays:
        n = len(self.shape)
        return [np.tensordot(weights[0], part, n) for part in self.parts(xs)]


def _vjp(vjp: Callable[..., Any], args: Any, single: bool) -> Any:
    def times_weights(xs: Arrays, weights: Arrays) -> Arrays:
        value = vjp(*[x.copy() for x in xs], *args, weights[0].copy())
        parts = _parts(value, "vjp", single, len(xs))
        if [p.shape for p in parts] != [x.shape for x in xs]:
            raise InputError(
                f"check_gradient: vjp must return {[x.shape for x in xs]}, the shapes of the "
                f"arguments, not {[p.shape for p in parts]}"
            )
        return parts

    return times_weights


def _jvp(jvp: Callable[..., Any], args: Any, shape: tuple[int, ...]) -> Any:
    def along(xs: Arrays, direction: Arrays) -> Arrays:
        value = jvp(*[x.copy() for x in xs], *args, *[v.copy() for v in direction])
        change = _real(value, "jvp")
        if change.shape != shape:
            raise InputError(
                f"check_gradient: jvp must return an array of shape {shape}, as the function does, "
                f"not {change.shape}"
            )
        return [change]

    return along


def _hessian_times(hessian: Any, hessp: Any, args: Any, shape: tuple[int, ...]) -> Any:
    """Return the function (x, v) -> the Hessian at x times v."""

    def times(x: Any, v: Any) -> Any:
        if hessp is not None:
            product = _real(hessp(x.copy(), v.copy(), *args), "hessp")
        else:
            value = hessian(x.copy(), *args) if callable(hessian) else hessian
            matrix = _real(value, "the Hessian")
            if matrix.shape != shape + shape:
                raise InputError(
                    f"check_gradient: the Hessian must have the shape {shape + shape}, not "
                    f"{matrix.shape}"
                )
            product = np.tensordot(matrix, v, len(shape))
        if product.shape != shape:
            raise InputError(
                f"check_gradient: hessp must return an array of shape {shape}, not {product.shape}"
            )
        return product

    return times


def _by_differences(function: _Function) -> Callable[[Arrays], Arrays]:
    """Return the gradient of a function of one array that returns a number, by differences of the
    sixth order: what a Hessian is compared with when no gradient is given."""

    def gradient(xs: Arrays) -> Arrays:
        (x,) = xs
        result = np.empty(x.shape)
        for index in np.ndindex(x.shape):
            h = 2.0**-5 * max(abs(x[index]), scale_of(x))
            slopes = []
            for step in (h, h / 2, h / 4):
                ahead, behind = x.copy(), x.copy()
                ahead[index] += step
                behind[index] -= step
                change = function.values([ahead])[0] - function.values([behind])[0]
                slopes.append(float(change) / (ahead[index] - behind[index]))
            a, b, c = slopes
            result[index] = (64 * c - 20 * b + a) / 45
        return [result]

    return gradient


def _complex_step(problem: Problem, function: _Function, rng: np.random.Generator) -> list[Witness]:
    """Return the witness of the complex step: Im f(x + i h v) / h is exact to rounding for any
    small h, if f is analytic and NumPy computes it. If it does not fit the differences, f is not
    analytic."""
    direction = [s * rng.standard_normal(x.shape) for x, s in zip(problem.arrays, problem.scales)]
    claim = problem.claim(rng)
    moved = [x + 1j * COMPLEX_STEP * v for x, v in zip(problem.arrays, direction)]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # NumPy warns when it drops an imaginary part
            value = np.asarray(function.raw(moved))
    except Exception:  # f does not take complex numbers
        return []
    if value.dtype.kind != "c" or not np.allclose(value.real, problem.here[0], rtol=1e-12):
        return []
    exact = inner(claim.weights, [value.imag / COMPLEX_STEP])
    line = claim.line(direction)
    verdict = line.examine()
    size = line.size
    if not verdict.allowed < 1e-3 * size:  # the differences cannot tell whether it fits
        return []
    if not abs(line.claimed + verdict.error - exact) <= verdict.allowed:
        return []
    value, about = abs(line.claimed - exact) / size, " and ".join(problem.names)
    limit = max(ROUNDING, 64 * rounding(claim.weights, problem.here) / size)
    if value > limit:  # perhaps both round more than that
        limit = max(limit, 16 * SAFETY * line.jitter()[1] / size)
    return [Witness("complex step", about, value, limit)]


def _symmetry(times: Any, problem: Problem, rng: np.random.Generator) -> list[Witness]:
    (x,) = problem.arrays
    u, v = rng.standard_normal((2, *x.shape))
    hu, hv = times(x, u), times(x, v)
    size = length(u) * length(hv)
    if not size:
        return []
    value = abs(inner([u], [hv]) - inner([v], [hu])) / size
    return [Witness("symmetry, u.Hv = v.Hu", problem.names[0], value, LIMIT)]
