"""How a mistake is planted: an op with the value of a real function and a derivative of its own."""

import dataclasses
from typing import Any, Callable

import numpy as np

from tinygan import Tensor, grad, ops, optable
from tinygan.autograd import op, recording
from tinygan.autograd.recording import differentiating
from tinygan.backend import asarray, to_numpy
from tinygan.ops.fused import alias

ROWS = {row.name: row for row in optable.ROWS}


@dataclasses.dataclass(frozen=True)
class Mistake:
    """A function with a wrong derivative.

    name: the row of the op table, and what is wrong. kind: the line of the table that counts it.
    function: a function of Tensors with the wrong derivative. right: the same function with the
    right one. draw: a function from a NumPy generator to the inputs. arguments: their names.
    row: the name of the row. order: up to which the derivatives are checked. dtype: in which the
    mistake shows. invisible: why no check that calls the function can see the mistake, or "".
    """

    name: str
    kind: str
    function: Callable[..., Tensor]
    right: Callable[..., Tensor]
    draw: Callable[[np.random.Generator], list[np.ndarray[Any, Any]]]
    arguments: list[str]
    row: str
    order: int = 2
    dtype: str = "float64"
    invisible: str = ""


MISTAKES: list[Mistake] = []


def mistake(
    row,
    kind,
    what,
    derivatives=None,
    *,
    other=None,
    change=None,
    of=None,
    order=2,
    dtype="float64",
    invisible="",
):
    """Plant a mistake in `row`, a row of the op table or its name. Give one of these three:

    derivatives: a function of (g, *xs) that returns the gradients of the arguments xs (a Tensor, if
    there is one argument). None in place of a gradient means the right one.
    other: a function whose gradients are used in place of the right ones.
    change: a function from the right gradient to the wrong one.

    of: the indices of the arguments that `other` and `change` concern; default: all.
    what, kind, order, dtype, invisible: see `Mistake`; the name is that of the row and `what`.
    """
    row = ROWS[row] if isinstance(row, str) else row
    function = row.function
    if other is not None:
        derivatives = lambda g, *xs: _only(of, gradients_of(other, xs, g))
    elif change is not None:
        derivatives = lambda g, *xs: [
            change(d) if of is None or i in of else None
            for i, d in enumerate(gradients_of(function, xs, g))
        ]
    wrong = planted(function, derivatives, row.name)
    name = f"{row.name}: {what}"
    MISTAKES.append(
        Mistake(
            name, kind, wrong, function, row.draw, row.arguments, row.name, order, dtype, invisible
        )
    )


def case(name, function, *draws, arguments=None):
    """A row for inputs that the op table has not. draws: as for `optable.row`."""
    draw = lambda rng: [np.asarray(draw_input(rng)) for draw_input in draws]
    arguments = arguments or ["x", "y", "z"][: len(draws)]
    return optable.Row(name, function, None, draw, arguments, False)


def planted(function, derivatives=None, name="planted"):
    """Return an op with the value of `function` and the derivatives given.

    derivatives: as for `mistake`; None: the right ones.
    The derivatives are computed with ops from g and the arguments themselves, so that they can be
    differentiated again: they are right or wrong at every order.
    """

    @op(joint=True, name=name)
    def run(*xs):
        value = function(*(x.detach() for x in xs)).data

        def backward(g, needed):
            results = [None] * len(xs) if derivatives is None else derivatives(g, *xs)
            results = [results] if isinstance(results, Tensor) else results
            if any(d is None and needs for d, needs in zip(results, needed)):
                right = gradients_of(function, xs, g)
                results = [r if d is None else d for d, r in zip(results, right)]
            return results

        return value, backward

    run.__name__ = name
    return run


def gradients_of(function, xs, g):
    """Return the gradients of sum(g * function(*xs)), which depend on xs and on g.

    If ops record now, the gradients can be differentiated in turn.
    """
    keep = recording()
    with differentiating(True):  # the function needs a graph in every backward pass
        xs = [alias(x if x.requires_grad else Tensor(x.data, requires_grad=True)) for x in xs]
        y = function(*xs)
    if not y.requires_grad:
        return [x.detach() * 0.0 for x in xs]
    gradients = grad(y, xs, g, create_graph=keep)
    return [x.detach() * 0.0 if d is None else d for x, d in zip(xs, gradients)]


def _only(indices, gradients):
    """Replace the gradients of all other arguments than `indices` (None: all) by None."""
    return [d if indices is None or i in indices else None for i, d in enumerate(gradients)]


def constant(array, like):
    """Return `array` as a Tensor of the dtype of `like`."""
    return Tensor(asarray(np.asarray(array, like.dtype)))


def at_one_entry(value, like, elsewhere=1.0, position=0.4):
    """Return a constant of the shape of `like`: `value` at one entry, `elsewhere` at the others.

    position: of that entry, as a share of all.
    """
    array = np.full(like.shape, elsewhere)
    if array.size:
        array.reshape(-1)[int(position * array.size)] = value
    return constant(array, like)


# How large a mistake is

ROUNDING = {"float64": 1e-12, "float32": 2e-6}  # smaller differences do not count


def measure(mistake, seed=0):
    """Compare the wrong derivatives with the right ones, entry by entry: no check is involved.

    Returns (order, error): the lowest order at which they differ, and the largest difference there,
    relative to the root mean square entry of the right derivative with respect to that argument.
    The order is 0 if they do not differ. A derivative of another shape has an infinite error.
    """
    rng = np.random.default_rng(seed)
    arrays = [np.asarray(x, mistake.dtype) for x in mistake.draw(rng)]
    functions = [mistake.function, mistake.right]
    for order in range(1, mistake.order + 1):
        tensors = [Tensor(asarray(x)) for x in arrays]
        values = functions[1](*tensors)
        values = [values] if isinstance(values, Tensor) else values
        weights = [rng.standard_normal(y.shape).astype(mistake.dtype) for y in values]
        functions = [_gradient_function(f, len(arrays)) for f in functions]
        arrays = arrays + weights
        tensors = [Tensor(asarray(x)) for x in arrays]
        try:
            wrong, right = ([to_numpy(d.data) for d in f(*tensors)] for f in functions)
        except (ValueError, TypeError):  # the engine checks the shapes
            return order, np.inf
        error = max(map(_difference, wrong, right))
        if not error <= ROUNDING[mistake.dtype]:
            return order, error
    return 0, 0.0


def _difference(wrong, right):
    if not right.size or np.array_equal(wrong, right, equal_nan=True):
        return 0.0
    rms = np.sqrt(np.mean(np.square(right)))
    error = np.abs(wrong - right).max() / (rms if rms else 1.0)
    return np.inf if np.isnan(error) else float(error)


def _gradient_function(f, count):
    """Return the gradients of sum(weights * f) as a function of `count` arguments and weights."""

    def gradients(*args):
        keep = any(a.requires_grad for a in args)
        xs = [x if x.requires_grad else Tensor(x.data, requires_grad=True) for x in args[:count]]
        ys = f(*xs)
        ys = [ys] if isinstance(ys, Tensor) else ys
        pairs = [(y, w) for y, w in zip(ys, args[count:]) if y.requires_grad]
        if not pairs:
            return [x.detach() * 0.0 for x in xs]
        gs = grad([y for y, _ in pairs], xs, [w for _, w in pairs], create_graph=keep)
        return [ops.mul(x.detach(), 0.0) if d is None else d for x, d in zip(xs, gs)]

    return gradients
