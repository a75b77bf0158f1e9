"""Matrix products and sums."""

from tinygan.backend import xp

from . import kernel


@kernel
def matmul(a, b):
    """a (..., M, K) @ b (..., K, N), both at least 2-D, as numpy.matmul."""
    return a @ b


@kernel
def matvec(w, u):
    """w (M, K) @ u (K,)."""
    return w @ u


@kernel
def einsum(subscripts, *arrays):
    """numpy.einsum."""
    return xp.einsum(subscripts, *arrays, optimize=True)


@kernel
def affine(x, w, bias):
    """(x @ w + bias, what its gradient reads): x (N, M), w (M, K), bias (K,)."""
    return matmul(x, w) + bias, (x, w)


@kernel
def affine_gradient(g, saved, needed):
    """The gradients of x, w and bias."""
    x, w = saved
    dx, dw = matmul(g, w.T) if needed[0] else None, matmul(x.T, g) if needed[1] else None
    return dx, dw, sum_over(g, (0,)) if needed[2] else None


@kernel
def sum_over(x, axes, keepdims=False):
    """x.sum(axes, keepdims=keepdims)."""
    return x.sum(axes, keepdims=keepdims)


def sum_to(x, shape):
    """Undo broadcasting: sum x over the axes along which an array of `shape` was repeated."""
    new = x.ndim - len(shape)
    repeated = (new + i for i, n in enumerate(shape) if n == 1 != x.shape[new + i])
    axes = (*range(new), *repeated)
    return (sum_over(x, axes) if axes else x).reshape(shape)


@kernel
def sum_rows(g, shape, indices):
    """A table of `shape` (rows, width), with g[i] (..., width) added to row indices[i] (...)."""
    table = xp.zeros(shape, g.dtype)
    xp.add.at(table, indices, g)
    return table
