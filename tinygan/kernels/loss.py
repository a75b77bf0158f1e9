"""Functions that losses consist of, in forms that neither overflow nor lose small values.

Each result is within a few units in the last place of the exact value, however small it is. So no
form subtracts numbers that are almost equal: 1 - sigmoid(x) is sigmoid(-x), for example.
"""

import numpy as np

from tinygan.backend import xp

from . import kernel


@kernel
def softplus(x):
    """Return log(1 + exp(x)), as max(x, 0) + log1p(exp(-|x|))."""
    return xp.log1p(xp.exp(-xp.abs(x))) + xp.maximum(x, 0)


@kernel
def sigmoid(x):
    """Return 1 / (1 + exp(-x)), as exp(x) / (1 + exp(x)) where x < 0."""
    e = xp.exp(-xp.abs(x))
    return xp.where(x < 0, e, xp.ones_like(e)) / (1 + e)


@kernel
def sech_squared(x):
    """Return 1 / cosh(x)^2, as 4e / (1 + e)^2 with e = exp(-2 |x|)."""
    e = xp.exp(-2 * xp.minimum(xp.abs(x), 1000))  # the limit: 2 |x| must not overflow
    return 4 * e / xp.square(1 + e)


@kernel
def silu(x):
    """Return x * sigmoid(x), as (x e) e / (1 + e^2) with e = exp(x / 2) where x < 0: exp(x) would
    underflow before x * exp(x) does."""
    half, top = xp.exp(-0.5 * xp.abs(x)), xp.maximum(x, -2000)  # infinity * 0 would be NaN
    factor = xp.where(x < 0, half, xp.ones_like(half))
    return top * factor * factor / (1 + half * half)


@kernel
def silu_slope(x):
    """Return x * exp(-|x|) / (1 + exp(-|x|))^2, which is x times the derivative of sigmoid(x)."""
    half, x = xp.exp(-0.5 * xp.abs(x)), xp.clip(x, -2000, 2000)
    return x * half * half / xp.square(1 + half * half)


@kernel
def cross_entropy(x, target):
    """Return (1 - target) * softplus(x) + target * softplus(-x) as a sum of positive terms.

    x: logits. target: probabilities, an array of x's shape.
    """
    positive, negative = xp.maximum(x, 0), xp.maximum(-x, 0)
    return (1 - target) * positive + target * negative + softplus(-xp.abs(x))


@kernel
def binary_cross_entropy(x, target):
    """Return the mean of `cross_entropy`, and what its gradient needs (see linear.py)."""
    return cross_entropy(x, target).mean(), (x, target)


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
    """Return what softmax and log(sum(exp(x))) over the last axis consist of, where `top` is the
    largest x: (top, x - top, exp(x - top), first, others).

    first: a boolean array, True at the first x that equals top. others: the sum of exp(x - top)
    over all x but that one; it may be much smaller than the missing term, which is 1.
    """
    top = x.max(-1, keepdims=True)
    with np.errstate(invalid="ignore"):  # where top is infinite
        difference = x - top
    e = xp.exp(difference)
    e += e * xp.fmax(rounding_error(x, top), -1)  # NaN where the difference is infinite
    first = x.argmax(-1)[..., None] == xp.arange(x.shape[-1])
    return top, difference, e, first, (e * ~first).sum(-1, keepdims=True)


@kernel
def softmax(x):
    """Return exp(x) / sum(exp(x)) over the last axis, and where the largest x is: a boolean array
    that is True once in each row."""
    _, _, e, first, others = _exponentials(x)
    return e / (1 + others), first


@kernel
def log_softmax(x):
    """Return log(softmax(x)), and the boolean array of `softmax`."""
    _, difference, _, first, others = _exponentials(x)
    return difference - xp.log1p(others), first


@kernel
def logsumexp(x):
    """Return log(sum(exp(x))) over the last axis."""
    top, _, _, _, others = _exponentials(x)
    return xp.where(xp.isfinite(top), top + xp.log1p(others), top)[..., 0]
