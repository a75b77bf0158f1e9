"""Products by cuBLAS, and sums over the first axes as products with ones.

A product reads memory in order; a reduction over the first axes does not.
"""

import math

import numpy as np

from tinygan import backend
from tinygan.backend import asarray, constants

from .. import fast, linear
from .cublas import matmul

fast(linear.matmul)(matmul)


@fast(linear.matvec)
def matvec(w, u):
    return matmul(w, u[:, None])[:, 0]


@fast(linear.sum_over)
def sum_over(x, axes, keepdims=False):
    if not axes or not x.size or axes != tuple(range(x.ndim - 1)):
        return x.sum(axes, keepdims=keepdims)
    y = sums(x.reshape(-1, x.shape[-1]))
    return y.reshape((1,) * len(axes) + y.shape) if keepdims else y


def means(x, axes):
    """Return the mean of x over `axes`, kept with length 1.

    The axes must be successive, and end with the last but one.
    """
    first = axes[0]
    n = math.prod(x.shape[axis] for axis in axes)
    flat = x.reshape(*x.shape[:first], n, x.shape[-1])
    y = matmul(_constant_row(backend.active(), n, 1 / n, str(x.dtype)), flat)
    return y.reshape(*x.shape[:first], *(1,) * len(axes), x.shape[-1])


def sums(x):
    """Return the sum of the rows of x (rows, C): (C,)."""
    return matmul(_constant_row(backend.active(), len(x), 1.0, str(x.dtype)), x)[0]


@constants
def _constant_row(module, n, value, dtype):
    return asarray(np.full((1, n), value, dtype))
