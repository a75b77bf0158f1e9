"""Products by cuBLAS, and sums as products with ones, which read memory in a row, as a reduction
over the first axes does not."""

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
    """The mean of x over axes that go up to the last but one, kept with length 1."""
    first = axes[0]
    n = math.prod(x.shape[axis] for axis in axes)
    flat = x.reshape(*x.shape[:first], n, x.shape[-1])
    y = matmul(_row(backend.active(), n, 1 / n, str(x.dtype)), flat)
    return y.reshape(*x.shape[:first], *(1,) * len(axes), x.shape[-1])


def sums(x):
    """The sum of the rows of x (rows, C): (C,)."""
    return matmul(_row(backend.active(), len(x), 1.0, str(x.dtype)), x)[0]


@constants
def _row(module, n, value, dtype):
    return asarray(np.full((1, n), value, dtype))
