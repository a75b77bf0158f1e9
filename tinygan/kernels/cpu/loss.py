"""Functions of losses. Each operation overwrites the result of the one before it."""

import numpy as np

from tinygan.backend import xp

from .. import fast, loss
from ..linear import sum_over
from . import parallel
from .parallel import scratch


@fast(loss.softplus)
def softplus(x):
    # np.abs(x) of an array without dimensions is a scalar, which `out=` does not accept.
    y = xp.empty_like(x)
    np.abs(x, out=y)
    np.negative(y, out=y)
    np.exp(y, out=y)
    np.log1p(y, out=y)
    y += np.maximum(x, 0)
    return y


@fast(loss.sigmoid)
def sigmoid(x):
    y = xp.empty(x.shape, x.dtype)

    def block(x, y):
        np.exp(np.negative(np.abs(x, out=y), out=y), out=y)
        denominator = np.add(y, 1, out=scratch("denominator", x.shape, x.dtype))
        # 1 where x >= 0. `where` would take ten times as long.
        np.maximum(y, np.greater_equal(x, 0, out=scratch("mask", x.shape, bool)), out=y)
        y /= denominator

    parallel.for_each_block(block, (x, y))
    return y


@fast(loss.sech_squared)
def sech_squared(x):
    y = xp.empty(x.shape, x.dtype)

    def block(x, y):
        np.minimum(np.abs(x, out=y), 1000, out=y)
        y *= -2
        np.exp(y, out=y)
        denominator = np.add(y, 1, out=scratch("denominator", x.shape, x.dtype))
        denominator *= denominator
        y *= 4
        y /= denominator

    parallel.for_each_block(block, (x, y))
    return y


@fast(loss.binary_cross_entropy_gradient)
def binary_cross_entropy_gradient(g, saved, needed):
    """The gradient of x is d - small where x >= 0, and d + small where x < 0.

    Here, d = (x >= 0) - target, which is 1 - target or -target, and small = exp(-|x|) / (1 +
    exp(-|x|)), which is sigmoid(-|x|).
    """
    x, target = saved
    g = g / x.size
    if not needed[0]:
        return None, -x * g
    positive = x >= 0
    small = np.exp(-np.abs(x))
    small /= small + 1
    dx = positive - target
    dx += small
    small *= positive
    dx -= 2 * small
    dx *= g
    return dx, -x * g if needed[1] else None


def _for_moderate(kernel):
    """Decorate the fast version of a kernel of logits x that is right if no exp(x) overflows or
    vanishes: then the largest x, whose subtraction rounds, need not be subtracted before exp.

    For other x, and without any, the plain version computes.
    """

    def decorate(fast_version):
        @fast(kernel)
        def choose(x):
            if not x.size:
                return kernel.__wrapped__(x)
            moderate = np.logical_and(x.min() > -60, x.max() < 60)
            return parallel.branch(moderate, lambda: fast_version(x), lambda: kernel.__wrapped__(x))

        return choose

    return decorate


@_for_moderate(loss.softmax)
def softmax(x):
    e = np.exp(x)
    e /= sum_over(e, (x.ndim - 1,), True)
    return e


@_for_moderate(loss.log_softmax)
def log_softmax(x):
    top, log_of_rest = _in_two_parts(x)
    return x - top - log_of_rest


@_for_moderate(loss.logsumexp)
def logsumexp(x):
    return sum(_in_two_parts(x))[..., 0]


def _in_two_parts(x):
    """Return the largest x of each row, and log(1 + the sum of exp(x - the largest) of all others).

    Their sum is the row's logsumexp.
    """
    e, index = np.exp(x), loss.first_largest(x)
    rest = loss.sum_of_others(e, index) / e[index][..., None]
    return x[index][..., None], np.log1p(rest)
