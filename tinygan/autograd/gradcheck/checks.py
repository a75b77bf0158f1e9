"""check_grads and check_module: the derivatives of functions of Tensors, of any order."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygan.autograd.engine import grad
from tinygan.autograd.tensor import Tensor, tensor
from tinygan.backend import asarray, to_numpy
from tinygan.errors import InputError

from .checker import check_order, check_repeats, same_bits
from .options import Options
from .problem import Arrays, Claim, Problem, argument_names, generator
from .report import GradientError, GradReport, OrderReport, Witness, fail_if_one_disagrees
from .witnesses import in_single_precision, of_linear_arguments, of_the_hessian

DTYPES = ["float64", "float32"]


@np.errstate(all="ignore")  # a NaN raises a GradientError, which says more than a warning
def check_grads(
    f: Callable[..., Any],
    inputs: Any,
    order: int = 2,
    *,
    mode: str = "random",
    names: Sequence[str] | None = None,
    tolerance: float | None = None,
    step: float | None = None,
    seed: int = 0,
    rtol: float | None = None,
    atol: float | None = None,
    eps: float = 1e-4,
    miss: float = 1e-6,
) -> GradReport:
    """Check the derivatives of `f` at `inputs`, up to `order`, against finite differences.

    The rate at which the Taylor remainder falls decides (see line.py), not a tolerance: it falls
    with the third power of the step down to rounding, or the derivative is wrong. Where f has kinks
    or noise, extrapolated differences and their own uncertainty decide. At a kink, points nearby
    are checked in place of `inputs`.

    f: a function of Tensors that returns a Tensor of any shape, or a sequence of Tensors; or a
    Module, whose parameters are then checked along with its inputs.
    inputs: an array or Tensor, or a sequence of them; converted to float64.
    order: 2 checks the gradients of the gradients too, 3 the gradients of those, and so on.
    mode: "random" compares the derivatives along Gaussian directions, with random weightings of the
    outputs; when one fails, it finds the worst entry. "full" compares every entry of the gradient.
    Both modes also check that gradients have the shape and dtype of their arguments, that a second
    run gives the same bits, and, without a tolerance, what other witnesses say (see the report).
    names: the names of the arguments in messages; default: those of the parameters of f.
    rtol, atol: a tolerance, if you want one: errors up to rtol * |derivative| + atol pass, too.
    `tolerance` is another name of rtol.
    step: the first step of the differences; by default, 1/16 of the size of the argument. Smaller
    and larger steps follow from it.
    seed: of the random directions and weights.
    eps, miss: directions are drawn until an error of one entry, of size eps relative to the root
    mean square of its gradient, is missed with a probability of at most `miss`.

    Returns a GradReport: the largest relative error at each order; `report.describe()` says more.
    Raises GradientError if a derivative is wrong, and InputError for a setting that means nothing.
    """
    _check_order(order)
    single = isinstance(inputs, (Tensor, int, float)) or hasattr(inputs, "shape")
    arrays = [_float64(x) for x in ([inputs] if single else inputs)]
    names = argument_names(names, getattr(f, "forward", f), len(arrays))
    functions = {dtype: f for dtype in DTYPES}
    if hasattr(f, "as_function"):  # a Module: its parameters become further arguments
        functions, parameters = _of_module(f)
        arrays += [_float64(p) for p in parameters.values()]
        names += parameters
    rtol = tolerance if rtol is None else rtol
    options = Options(mode, rtol, atol, step, eps, miss).checked()
    report = GradReport()
    _check_orders(_title(f), functions, arrays, names, order, options, seed, report)
    return report


@np.errstate(all="ignore")
def check_module(
    net: Any,
    x: Any,
    order: int = 1,
    *,
    training: bool | None = None,
    mode: str = "random",
    step: float | None = None,
    seed: int = 0,
    rtol: float | None = None,
    atol: float | None = None,
    eps: float = 1e-4,
    miss: float = 1e-6,
) -> GradReport:
    """Check the derivatives of a network by its inputs and by all its parameters.

    net: a Module. It is not changed: float64 copies are checked, and every call starts from the
    same buffers. Parameters that are 0 everywhere, such as the gamma of self-attention, are checked
    at small random numbers: at 0, they would hide all that they multiply.
    x: the input: an array or Tensor, or a sequence of them, for several inputs. Arrays of integers,
    such as class labels, go to the network as they are.
    order: 2 checks the gradients of the gradients too, as a gradient penalty needs them.
    training: check in training mode (True) or evaluation mode (False). Default: in both, one after
    the other, if the results differ.
    mode, step, seed, rtol, atol, eps, miss: see check_grads.

    Returns a GradReport with one entry for each mode and order; its errors have the parameters'
    names. Raises GradientError if a derivative is wrong.
    """
    if isinstance(net, type):
        raise TypeError(
            f"check_module: net must be a network, not a class: make one, {net.__name__}(...)"
        )
    if training not in (None, True, False):
        raise InputError(f"check_module: training must be True, False or None, not {training!r}")
    if not hasattr(net, "as_function"):
        raise TypeError(
            f"check_module: net must be a Module, not {type(net).__name__}: check a function with "
            "check_grads(f, inputs)"
        )
    _check_order(order)
    several = isinstance(x, (list, tuple)) and any(hasattr(part, "shape") for part in x)
    inputs = [
        part if isinstance(part, Tensor) else to_numpy(part) for part in (x if several else [x])
    ]
    free = [
        i for i, part in enumerate(inputs) if isinstance(part, Tensor) or part.dtype.kind == "f"
    ]
    options = Options(mode, rtol, atol, step, eps, miss).checked()
    report, results = GradReport(), []
    for is_training in (True, False) if training is None else (training,):
        copy_of_net = copy.deepcopy(net).train(is_training)
        functions, parameters = _of_module(copy_of_net)
        functions = {dtype: _with_constants(f, inputs, free) for dtype, f in functions.items()}
        every_name = argument_names(None, net.forward, len(inputs))
        names = [every_name[i] for i in free] + list(parameters)
        rng = generator(seed).spawn(1)[0]  # a stream apart from that of the weights
        values = [_float64(p) for p in parameters.values()]
        values = [p if np.any(p) else 0.1 * rng.standard_normal(p.shape) for p in values]
        arrays = [_float64(inputs[i]) for i in free] + values
        results.append(_values(functions["float64"], arrays))
        if len(results) == 2 and all(map(same_bits, *results)):
            break  # both modes compute the same
        title = f"{_title(net)} in {'training' if is_training else 'evaluation'} mode"
        _check_orders(title, functions, arrays, names, order, options, seed, report)
    return report


def _check_order(order: int) -> None:
    if isinstance(order, bool) or not isinstance(order, (int, np.integer)) or order < 1:
        raise InputError(f"order must be 1 or more, not {order!r}")


def _title(f: Any) -> str:
    return str(getattr(f, "name", None) or getattr(f, "__name__", type(f).__name__))


def _of_module(net: Any) -> tuple[dict[str, Callable[..., Any]], dict[str, Tensor]]:
    """Return {dtype: the Module as a function of its inputs and parameters}, and the parameters."""
    both = {dtype: net.as_function(dtype) for dtype in DTYPES}
    return {dtype: f for dtype, (f, _) in both.items()}, both["float64"][1]


def _with_constants(f: Callable[..., Any], inputs: list[Any], free: list[int]) -> Any:
    """Return f as a function of its inputs at the places `free` and its parameters; the other
    inputs, arrays of integers, are constants."""

    def function(*args: Any) -> Any:
        varied = iter(args)
        return f(
            *[next(varied) if i in free else asarray(x) for i, x in enumerate(inputs)], *varied
        )

    return function


def _check_orders(
    title: str,
    functions: dict[str, Callable[..., Any]],
    arrays: Arrays,
    names: list[str],
    order: int,
    options: Options,
    seed: int,
    report: GradReport,
) -> None:
    """Check the derivatives of all orders up to `order`, and add what is found to the report.

    functions: f for arguments in float64 and in float32: {dtype: function of Tensors}.
    """
    rng, below = generator(seed), None
    for k in range(1, order + 1):
        try:
            problem = _problem(title, names, functions["float64"], arrays, k, rng)
            found, problem = check_order(problem, k, options, rng)
            if found.entries and not found.tolerance:  # the witnesses would demand more
                found.witnesses = _witnesses(problem, below, found, report, functions, rng)
            fail_if_one_disagrees(found.title, found.witnesses)
        except GradientError as error:
            if k > 1:  # the next derivative takes results computed on arrays for constants
                error.args = (f"{error} (compute derivatives with ops, not on arrays)",)
            error.report = report.with_failure_of(error)
            raise
        report.add(found)
        below, count = problem, len(problem.arrays)
        weights = found.line.weights if found.line else problem.weights(rng)
        functions = {dtype: _gradients_of(f, count) for dtype, f in functions.items()}
        arrays = problem.arrays + weights
        names = names + ["grad_outputs"] * len(weights)


def _witnesses(
    problem: Problem,
    below: Problem | None,
    found: OrderReport,
    report: GradReport,
    functions: dict[str, Callable[..., Any]],
    rng: np.random.Generator,
) -> list[Witness]:
    """Return what the witnesses of one order say. below: the problem of the order below."""
    gradients = {dtype: _gradients_of(f, len(problem.arrays)) for dtype, f in functions.items()}

    def gradient(arrays: Arrays, weights: Arrays, dtype: str) -> Arrays | None:
        try:
            values = _values(gradients[dtype], arrays + weights, dtype)
            if not all(np.isfinite(g).all() for g in values):
                results = _values(functions[dtype], arrays, dtype)
                if not all(np.isfinite(y).all() for y in results):
                    return None  # they overflow
        except (TypeError, ValueError):  # f computes with constants of float64
            return None
        return values if all(g.dtype == dtype for g in values) else None

    claim, witnesses = problem.latest_claim, []
    if below is None:
        witnesses += of_linear_arguments(problem, rng)
    if claim is None or found.order > 2:
        return witnesses
    if below is not None and _same_point(problem, below) and (first := report.orders[-1].line):
        witnesses += of_the_hessian(claim, below, first)
    return witnesses + in_single_precision(claim, gradient, found.without_influence, rng)


def _same_point(problem: Problem, below: Problem) -> bool:
    return all(map(np.array_equal, problem.arrays, below.arrays))


def _problem(
    title: str,
    names: list[str],
    f: Callable[..., Any],
    arrays: Arrays,
    order: int,
    rng: np.random.Generator,
) -> Problem:
    """Return the Problem of a function of Tensors. Raise GradientError if its gradients have other
    shapes or dtypes than its arguments, or if two runs differ."""
    gradients_of_f = _gradients_of(f, len(arrays))
    problem = Problem(
        title,
        names,
        arrays,
        lambda xs: _values(f, xs),
        lambda xs, weights: _values(gradients_of_f, xs + weights),
    )
    title = f"{title}, order {order}"
    for v in problem.here:
        if v.dtype != np.float64:
            raise GradientError(f"{title}: float64 inputs gave a {v.dtype} result")
    if order == 1:
        check_repeats(problem, title)
    weights = problem.weights(rng)
    first, second = (_values(gradients_of_f, arrays + weights) for _ in range(2))
    for x, g, repeated, name in zip(arrays, first, second, names):
        if g.shape != x.shape or g.dtype != x.dtype:
            raise GradientError(
                f"{title}: the gradient of {name} has shape {g.shape}, {g.dtype}; "
                f"{name} has shape {x.shape}, {x.dtype}"
            )
        if not same_bits(g, repeated):
            raise GradientError(
                f"{title}: two runs on the same inputs gave different gradients of {name}"
            )
    problem.first_claim = Claim(problem, weights, first)
    return problem


def _float64(x):
    array = np.array(to_numpy(x.data if isinstance(x, Tensor) else x), np.float64)
    if not np.all(np.isfinite(array)):
        raise InputError("an argument or parameter has infinite numbers or NaN: nothing to compare")
    return array


def _values(f, arrays, dtype="float64"):
    """Return the results of f at `arrays`, as a list of arrays."""
    ys = f(*[tensor(asarray(a), dtype=dtype) for a in arrays])
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
