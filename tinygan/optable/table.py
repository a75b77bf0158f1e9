"""The rows of the op table: their type, the functions that add them, and the gradient check."""

import dataclasses
import functools
import inspect
import math
from typing import Any, Callable, Iterable, Iterator, NamedTuple

import numpy as np

from tinygan.autograd.gradcheck import GradientError, GradReport, check_grads, fail_if_one_disagrees

from .exact import exact_of, witnesses_of


@dataclasses.dataclass(frozen=True)
class Row:
    """A row: an op or layer, inputs for it, and its reference.

    name: the name of the op or layer, followed by what is special about this row.
    function: a function from Tensors to a Tensor.
    reference: the same function on float64 NumPy arrays, implemented in another way.
    draw: a function from a NumPy generator to the inputs, float64 arrays away from kinks and poles.
    arguments: the names of the inputs.
    linear: True if the function is linear, up to a constant, in each argument.
    keeps: the arrays that a graph keeps for the derivatives: a, b, c for the arguments in order, y
    for the result. None if not stated, as for compositions of several ops.
    exact: the function on numbers of mpmath, exact(mpmath, *numbers), if the row is elementwise.
    """

    name: str
    function: Callable[..., Any]
    reference: Callable[..., Any]
    draw: Callable[[np.random.Generator], list[np.ndarray[Any, Any]]]
    arguments: list[str]
    linear: bool
    keeps: str | None = None
    exact: Callable[..., Any] | None = None


ROWS: list[Row] = []


def row(
    function,
    reference,
    *draws,
    name=None,
    note=None,
    call=None,
    linear=False,
    keeps=None,
    **settings,
):
    """Add the row of an op.

    draws: a function for each input, from a NumPy generator to an array. name: the op's name, if it
    is not the function's. note: what is special about the row (default: the settings). call: a
    function of (f, *xs) that calls f, an op or its reference, on the inputs (default: f(*xs,
    **settings)). linear, keeps: see `Row`.
    """
    if keeps is None and hasattr(function, "broadcasts"):  # an op with derivatives of its own
        raise TypeError(f'row of {function.__name__}: say what it keeps, such as keeps="a"')
    note = " ".join(f"{key}={value}" for key, value in settings.items()) if note is None else note
    names = (
        [f"input {i}" for i in range(len(draws))]
        if call
        else list(inspect.signature(function).parameters)
    )
    call = call or (lambda f, *xs: f(*xs, **settings))
    name = f"{name or function.__name__} {note}".strip()
    exact = exact_of(name)
    _add(
        name,
        lambda *xs: call(function, *xs),
        lambda *xs: call(reference, *xs),
        draws,
        names[: len(draws)],
        linear,
        keeps,
        exact and functools.partial(exact, **settings),
    )


def layer(make, reference, *draws, note="", linear=False):
    """Add the row of a layer, which make() returns. Its parameters are arguments that follow the
    inputs."""
    parameters = {name: normal(*parameter.shape) for name, parameter in make().named_parameters()}
    functions: dict[Any, Callable[..., Any]] = {}  # {(dtype, backend): the layer as a function}

    def function(*args):
        key = args[0].dtype, type(args[0].data)
        if key not in functions:
            functions[key] = make().as_function(args[0].dtype)[0]
        return functions[key](*args)

    _add(
        f"{type(make()).__name__} {note}".strip(),
        function,
        reference,
        (*draws, *parameters.values()),
        [*("x", "condition")[: len(draws)], *parameters],
        linear,
    )


def _add(name, function, reference, draws, arguments, linear, keeps=None, exact=None):
    function.__name__ = name  # for error messages
    draw = lambda rng: [draw_input(rng) for draw_input in draws]
    ROWS.append(Row(name, function, reference, draw, arguments, linear, keeps, exact))


# Inputs


def normal(*shape):
    """Standard normal numbers."""
    return lambda rng: rng.standard_normal(shape)


def positive(*shape):
    """Numbers in [0.5, 2)."""
    return lambda rng: rng.uniform(0.5, 2.0, shape)


def distinct(*shape, offset=0.0):
    """Different multiples of 0.2, plus 0.1 + offset: there are no ties, and no value is near a
    kink."""
    n = math.prod(shape)
    return lambda rng: (0.2 * (rng.permutation(n) - n // 2) + 0.1 + offset).reshape(shape)


# The check


class Result(NamedTuple):
    """A line of `tinygan gradcheck`.

    order1, order2: the largest relative errors of the gradients of first and second order; NaN for
    a check that failed or did not run. message: of the failure, or "". report: of the check, if it
    ran.
    """

    name: str
    order1: float
    order2: float
    passed: bool
    message: str
    report: GradReport | None = None


def run_gradchecks(rows: Iterable[Row] | None = None, seed: int = 0) -> Iterator[Result]:
    """Yield the Result of a check of the gradients of each row (default: of all rows)."""
    for case in ROWS if rows is None else rows:
        report, message, arrays = None, "", case.draw(np.random.default_rng(seed))
        try:
            report = check_grads(case.function, arrays, names=case.arguments)
            exact = witnesses_of(case, arrays)
            for order, witness in zip(report.orders, exact):
                order.witnesses.append(witness)
            fail_if_one_disagrees(case.name, exact)
        except GradientError as failure:
            report = failure.report if isinstance(failure.report, GradReport) else report
            message = str(failure)
        except Exception as failure:  # such as the engine's, for a gradient of the wrong shape
            message = f"{case.name}: {type(failure).__name__}: {failure}"
        errors = [*(report or ()), math.nan, math.nan][:2]
        yield Result(case.name, *errors, not message, message, report)
