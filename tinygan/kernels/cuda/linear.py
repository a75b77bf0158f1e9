"""Products by cuBLAS, and sums over the first axes as products with ones.

A product reads memory in order; a reduction over the first axes does not.
"""

import math

import numpy as np

from tinygan import backend
from tinygan.backend import asarray, constants

from .. import fast, linear
from .cublas import matmul

ROWS = 256  # rows that a product with ones adds, at most

fast(linear.matmul)(matmul)


@fast(linear.matvec)
def matvec(w, u):
    return matmul(w, u[:, None])[:, 0]


@fast(linear.sum_over)
def sum_over(x, axes, keepdims=False):
    if not _successive(x, axes) or axes[0]:
        return linear.sum_over.__wrapped__(x, axes, keepdims)
    y = sums(x.reshape(1, -1, x.shape[-1]))[0]
    return y.reshape((1,) * len(axes) + y.shape) if keepdims else y


def means(x, axes):
    """Return the mean of x over `axes`, kept with length 1."""
    if not _successive(x, axes):
        return linear.mean_over(x, axes)
    first, n = axes[0], math.prod([x.shape[axis] for axis in axes])
    y = sums(x.reshape(math.prod(x.shape[:first]), n, x.shape[-1]), 1 / n)
    return y.reshape(*x.shape[:first], *(1,) * len(axes), x.shape[-1])


def _successive(x, axes):
    """Return whether the axes are successive, and end with the last but one."""
    return x.size > 0 and len(axes) > 0 and axes == tuple(range(axes[0], x.ndim - 1))


def sums(x, factor=1.0):
    """Return factor * the sums over the rows of x (N, rows, C): (N, C).

    A product adds at most ROWS rows one after the other (see `linear.sum_over`). If there are more,
    several rows count as one long row.
    """
    n, rows, width = x.shape
    while rows > ROWS:
        length = -(-rows // ROWS)
        count = rows // length
        rest = x[:, count * length :]
        x = x[:, : count * length].reshape(n, count, length * width)
        x = matmul(_constant_row(backend.active(), count, 1.0, str(x.dtype)), x)
        x = x.reshape(n, length, width)
        if rest.size:
            x[:, : rest.shape[1]] += rest
        rows = length
    return matmul(_constant_row(backend.active(), rows, factor, str(x.dtype)), x)[:, 0]


@constants
def _constant_row(module, n, value, dtype):
    return asarray(np.full((1, n), value, dtype))
