"""Functions of losses. Each operation overwrites the result of the one before it."""

import numpy as np

from .. import fast, loss


@fast(loss.softplus)
def softplus(x):
    # np.abs(x) of an array without dimensions is a scalar, which `out=` does not accept.
    y = np.empty_like(x)
    np.abs(x, out=y)
    np.negative(y, out=y)
    np.exp(y, out=y)
    np.log1p(y, out=y)
    y += np.maximum(x, 0)
    return y


@fast(loss.sigmoid)
def sigmoid(x):
    y = np.empty_like(x)
    np.abs(x, out=y)
    np.negative(y, out=y)
    np.exp(y, out=y)
    denominator = y + 1
    np.maximum(y, x >= 0, out=y)  # 1 where x >= 0; `where` would take ten times as long
    y /= denominator
    return y


@fast(loss.sech_squared)
def sech_squared(x):
    y = np.empty_like(x)
    np.abs(x, out=y)
    np.minimum(y, 1000, out=y)
    y *= -2
    np.exp(y, out=y)
    denominator = y + 1
    denominator *= denominator
    y *= 4
    y /= denominator
    return y
