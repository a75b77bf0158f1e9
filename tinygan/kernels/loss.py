"""Functions that losses consist of, in forms that neither overflow nor lose small values.

Each result is within a few units in the last place of the exact value, however small it is. So no
form subtracts numbers that are almost equal: 1 - sigmoid(x) is sigmoid(-x), for example.
"""

import numpy as np

from tinygan.backend import xp

from . import kernel
from .linear import sum_over


@kernel
def softplus(x):
    """Return log(1 + exp(x)), as max(x, 0) + log1p(exp(-|x|))."""
    return xp.log1p(xp.exp(-xp.abs(x))) + xp.maximum(x, 0)


@kernel
def sigmoid(x):
    """Return 1 / (1 + exp(-x)), as exp(min(x, 0)) / (1 + exp(-|x|))."""
    return xp.exp(xp.minimum(x, 0)) / (1 + xp.exp(-xp.abs(x)))


@kernel
def sech_squared(x):
    """Return 1 / cosh(x)^2, as 4e / (1 + e)^2 with e = exp(-2 |x|)."""
    e = xp.exp(-2 * xp.minimum(xp.abs(x), 1000))  # the limit: 2 |x| must not overflow
    return 4 * e / xp.square(1 + e)


@kernel
def silu(x):
    """Return x * sigmoid(x), as (x h) h / (1 + exp(-|x|)) with h = exp(min(x, 0) / 2): exp(x) would
    underflow before x * exp(x) does."""
    half, x = xp.exp(0.5 * xp.minimum(x, 0)), xp.maximum(x, -2000)  # infinity * 0 would be NaN
    return x * half * half / (1 + xp.exp(-xp.abs(x)))


@kernel
def silu_slope(x):
    """Return x * exp(-|x|) / (1 + exp(-|x|))^2, which is x times the derivative of sigmoid(x)."""
    half, x = xp.exp(-0.5 * xp.abs(x)), xp.clip(x, -2000, 2000)
    return x * half * half / xp.square(1 + half * half)


@kernel
def cross_entropy(x, target):
    """Return (1 - target) * softplus(x) + target * softplus(-x) for logits x.

    It is computed as log(1 + exp(-|x|)), plus |x| * (1 - target) where x >= 0 and |x| * target
    where x < 0. For targets from 0 to 1, no term is negative, so nothing cancels.
    """
    return xp.log1p(xp.exp(-xp.abs(x))) + x * ((x >= 0) - target)


@kernel
def binary_cross_entropy(x, target):
    """Return the mean of `cross_entropy`, and what its gradient needs (see linear.py).

    target: an array of x's shape.
    """
    values = cross_entropy(x, target)
    return sum_over(values, tuple(range(x.ndim))) / x.size, (x, target)


@kernel
def binary_cross_entropy_gradient(g, saved, needed):
    """Return the gradients of x and target."""
    x, target = saved
    g = g / x.size
    dx = ((1 - target) * sigmoid(x) - target * sigmoid(-x)) * g if needed[0] else None
    return dx, -x * g if needed[1] else None


def rounding_error(a, b):
    """Return (a - b) - d, where d is a - b rounded to the dtype of a and b, and NaN where d is
    infinite (Knuth, The Art of Computer Programming, section 4.2.2, theorem B).

    exp(a - b) is exp(d) * (1 + error). In float32, the error is up to 4e-6 at d = -80.
    """
    with np.errstate(invalid="ignore"):  # where d is infinite
        d = a - b
        rounded_b = a - d
        return (a - (d + rounded_b)) + (rounded_b - b)


def _exponentials(x):
    """Return (top, x - top, exp(x - top)), where top (..., 1) is the largest x of each row."""
    top = x.max(-1, keepdims=True)
    with np.errstate(invalid="ignore"):  # where top is infinite
        difference = x - top
    e = xp.exp(difference)
    # Where the difference is infinite, its rounding error is NaN, and e is 0 anyway.
    return top, difference, e + e * xp.fmax(rounding_error(x, top), -1)


@kernel
def softmax(x):
    """Return exp(x) / sum(exp(x)) over the last axis."""
    _, _, e = _exponentials(x)
    return e / sum_over(e, (x.ndim - 1,), True)


@kernel
def log_softmax(x):
    """Return log(softmax(x)) over the last axis."""
    _, difference, e = _exponentials(x)
    return difference - xp.log1p(sum_of_others(e, first_largest(x)))


@kernel
def logsumexp(x):
    """Return log(sum(exp(x))) over the last axis."""
    top, _, e = _exponentials(x)
    value = top + xp.log1p(sum_of_others(e, first_largest(x)))
    return xp.where(xp.isfinite(top), value, top)[..., 0]


def first_largest(x):
    """Return where the largest x of each row is, as an index of x: (rows, columns)."""
    columns = x.argmax(-1)
    after = range(columns.ndim - 1, -1, -1)
    rows = (xp.arange(n).reshape(-1, *(1,) * k) for n, k in zip(columns.shape, after))
    return *rows, columns


def sum_of_others(x, index):
    """Return the sum (..., 1) of each row without the number at `index`, which may be so large that
    the others would vanish in the sum."""
    others = x.copy()
    others[index] = 0
    return sum_over(others, (x.ndim - 1,), True)
