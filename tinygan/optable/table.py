"""What a row of the op table is, how rows are added, and how their gradients are checked."""

import dataclasses
import inspect
import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tinygan.autograd.gradcheck import GradientError, check_grads


@dataclasses.dataclass(frozen=True)
class Row:
    """name: the op or layer, then what is special about this row.
    function: from Tensors to a Tensor.
    reference: the same from float64 NumPy arrays, by other means.
    draw: from a numpy Generator to the inputs, float64 arrays that lie away from kinks and poles.
    arguments: what to call them.
    linear: in each argument by itself, up to a constant.
    keeps: which arrays a graph holds on to for the derivatives: a, b, c for the arguments in order,
    y for the result. None where not stated: compositions of several ops.
    """

    name: str
    function: Callable
    reference: Callable
    draw: Callable
    arguments: list
    linear: bool
    keeps: str | None = None


ROWS = []


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
    """Add the row of an op. call(f, *xs): how both functions are called, if not as f(*xs,
    **settings)."""
    note = " ".join(f"{key}={value}" for key, value in settings.items()) if note is None else note
    names = (
        [f"input {i}" for i in range(len(draws))]
        if call
        else list(inspect.signature(function).parameters)
    )
    call = call or (lambda f, *xs: f(*xs, **settings))
    _add(
        f"{name or function.__name__} {note}".strip(),
        lambda *xs: call(function, *xs),
        lambda *xs: call(reference, *xs),
        draws,
        names[: len(draws)],
        linear,
        keeps,
    )


def layer(make, reference, *draws, note="", linear=False):
    """Add the row of a layer, which make() returns. Its parameters are arguments after the inputs."""
    parameters = {name: normal(*parameter.shape) for name, parameter in make().named_parameters()}
    _add(
        f"{type(make()).__name__} {note}".strip(),
        lambda *args: make().as_function(args[0].dtype)[0](*args),
        reference,
        (*draws, *parameters.values()),
        [*("x", "condition")[: len(draws)], *parameters],
        linear,
    )


def _add(name, function, reference, draws, arguments, linear, keeps=None):
    function.__name__ = name  # for error messages
    ROWS.append(
        Row(
            name, function, reference, lambda rng: [d(rng) for d in draws], arguments, linear, keeps
        )
    )


# Inputs


def normal(*shape):
    return lambda rng: rng.standard_normal(shape)


def positive(*shape):
    return lambda rng: rng.uniform(0.5, 2.0, shape)


def distinct(*shape, offset=0.0):
    """Multiples of 0.2, each once, plus 0.1 + offset: nothing ties, and nothing is near a kink."""
    n = math.prod(shape)
    return lambda rng: (0.2 * (rng.permutation(n) - n // 2) + 0.1 + offset).reshape(shape)


# The check


class Result(NamedTuple):
    """A line of `tinygan gradcheck`: the largest relative errors; NaN where a check failed, or did
    not run."""

    name: str
    order1: float
    order2: float
    passed: bool
    message: str


def run_gradchecks(rows=None, seed=0):
    """Check the gradients of every row: an iterator of Results. message: of the failure, if any."""
    for case in ROWS if rows is None else rows:
        errors, message = [], ""
        try:
            errors = check_grads(
                case.function, case.draw(np.random.default_rng(seed)), names=case.arguments
            )
        except GradientError as failure:
            errors, message = failure.report, str(failure)
        except Exception as failure:  # the engine refuses a gradient of the wrong shape, for one
            message = f"{case.name}: {type(failure).__name__}: {failure}"
        yield Result(case.name, *[*errors, math.nan, math.nan][:2], not message, message)
