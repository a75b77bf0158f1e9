"""A witness for the elementwise rows: their derivatives from mpmath, at 50 digits.

mpmath differentiates the exact functions below numerically, with so many digits that nothing is
lost. It is used where it is installed (it belongs to the extra `test`).
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygan.autograd import Tensor, grad, tensor
from tinygan.autograd.gradcheck import Witness
from tinygan.backend import asarray, to_numpy

DIGITS = 50
ENTRIES = 6  # of each row that are compared
LIMIT = 2.0**-40  # 9e-13; test_accuracy.py measures the same errors in units in the last place


def _leaky(mp: Any, x: Any, slope: float = 0.2, gain: float = 1.0) -> Any:
    return mp.mpf(gain) * (x if x > 0 else mp.mpf(slope) * x)


# {name of a row, or its first word: the exact function of (mpmath, *numbers, **settings)}
EXACT: dict[str, Callable[..., Any]] = {
    "add": lambda mp, a, b: a + b,
    "sub": lambda mp, a, b: a - b,
    "mul": lambda mp, a, b: a * b,
    "div": lambda mp, a, b: a / b,
    "neg": lambda mp, x: -x,
    "pow": lambda mp, a, b: mp.power(a, b),
    "pow integer exponent": lambda mp, x: x**3,
    "exp": lambda mp, x: mp.exp(x),
    "log": lambda mp, x: mp.log(x),
    "sin": lambda mp, x: mp.sin(x),
    "cos": lambda mp, x: mp.cos(x),
    "sqrt": lambda mp, x: mp.sqrt(x),
    "abs": lambda mp, x: abs(x),
    "square": lambda mp, x: x * x,
    "maximum": lambda mp, a, b: max(a, b),
    "minimum": lambda mp, a, b: min(a, b),
    "clip low high": lambda mp, x: min(max(x, mp.mpf(-0.4)), mp.mpf(0.6)),
    "clip high": lambda mp, x: min(x, mp.mpf(0.6)),
    "tanh": lambda mp, x: mp.tanh(x),
    "sech_squared": lambda mp, x: mp.sech(x) ** 2,
    "sigmoid": lambda mp, x: 1 / (1 + mp.exp(-x)),
    "softplus": lambda mp, x: mp.log(1 + mp.exp(x)),
    "softplus_of_difference": lambda mp, a, b: mp.log(1 + mp.exp(a - b)),
    "relu": lambda mp, x: max(x, mp.mpf(0)),
    "leaky_relu": _leaky,
    "bias_act": lambda mp, x, b=0, **settings: _leaky(mp, x + b, **settings),
    "silu": lambda mp, x: x / (1 + mp.exp(-x)),
    "gelu": lambda mp, x: x * mp.ncdf(x),
    "normal_cdf": lambda mp, x: mp.ncdf(x),
}


def exact_of(name: str) -> Callable[..., Any] | None:
    """Return the exact function of a row, or None: most rows are not elementwise."""
    return EXACT.get(name, EXACT.get(name.split()[0]))


def witnesses_of(row: Any, arrays: list[np.ndarray[Any, Any]]) -> list[Witness]:
    """Return the witnesses of the first and second derivatives of a row at `arrays`: none if the
    row is not elementwise, or mpmath is not installed."""
    if row.exact is None:
        return []
    try:
        import mpmath as mp
    except ImportError:
        return []
    xs = [tensor(asarray(a), requires_grad=True, dtype="float64") for a in arrays]
    y = row.function(*xs)
    errors = {1: 0.0, 2: 0.0}
    values = np.broadcast_arrays(*arrays) if len(arrays) > 1 else arrays
    values = [np.broadcast_to(v, y.shape).ravel() for v in values]
    with mp.workdps(DIGITS):
        for k in np.linspace(0, y.size - 1, min(y.size, ENTRIES)).astype(int):
            point = [mp.mpf(float(v[k])) for v in values]
            for order, found in _derivatives(y.reshape(-1)[int(k)], xs).items():
                for which, d in found.items():
                    right = mp.diff(lambda *p: row.exact(mp, *p), tuple(point), which)
                    error = abs(mp.mpf(d) - right) / max(abs(right), 1)
                    errors[order] = max(errors[order], float(error))
    about = " and ".join(row.arguments)
    return [
        Witness(f"mpmath, {DIGITS} digits, order {order}", about, error, LIMIT)
        for order, error in errors.items()
    ]


def _derivatives(y: Tensor, xs: list[Tensor]) -> dict[int, dict[tuple[int, ...], float]]:
    """Return {order: {(how often by x_0, by x_1): derivative of the number y}}.

    An argument that broadcasts has one entry for many results; y depends on one entry of each.
    """
    n = len(xs)
    unit = lambda *which: tuple(sum(i == j for j in which) for i in range(n))
    found: dict[int, dict[tuple[int, ...], float]] = {1: {}, 2: {}}
    first = grad(y, xs, create_graph=True)
    for i, g in enumerate(first):
        found[1][unit(i)] = _number(g)
        second = grad(g.sum(), xs, retain_graph=True) if g.requires_grad else [None] * n
        for j, h in enumerate(second):
            found[2][unit(i, j)] = 0.0 if h is None else _number(h)
    return found


def _number(g: Tensor) -> float:
    return math.fsum(np.ravel(to_numpy(g.data)))
