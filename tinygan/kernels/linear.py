"""Matrix products and sums.

Some kernels, here and in act.py, loss.py and normalize.py, form a pair f and f_gradient:

    value, saved = f(*arrays, *settings)
    gradients = f_gradient(g, saved, needed)

saved: what the gradient needs. g: the gradient of the value. needed[i]: whether the gradient of
argument i is wanted. Where it is not, f_gradient may return None.
"""

from tinygan.backend import xp

from . import kernel


@kernel
def matmul(a, b):
    """Return a @ b: a (..., M, K), b (..., K, N) -> (..., M, N). Both have at least two axes."""
    return a @ b


@kernel
def matvec(w, u):
    """Return w @ u: w (M, K), u (K,) -> (M,)."""
    return w @ u


@kernel
def einsum(subscripts, *arrays):
    """Return numpy.einsum(subscripts, *arrays)."""
    return xp.einsum(subscripts, *arrays, optimize=True)


@kernel
def affine(x, w, bias):
    """Return y = x @ w + bias, and what its gradient needs: x (N, M), w (M, K), bias (K,)."""
    return matmul(x, w) + bias, (x, w)


@kernel
def affine_gradient(g, saved, needed):
    """Return the gradients of x, w and bias."""
    x, w = saved
    dx, dw = matmul(g, w.T) if needed[0] else None, matmul(x.T, g) if needed[1] else None
    return dx, dw, sum_over(g, (0,)) if needed[2] else None


@kernel
def sum_over(x, axes, keepdims=False):
    """Return the sum of x over a tuple of axes."""
    return x.sum(axes, keepdims=keepdims)


def sum_to(x, shape):
    """Undo broadcasting: sum x over the axes along which an array of `shape` was repeated."""
    new = x.ndim - len(shape)
    stretched = (new + i for i, n in enumerate(shape) if n == 1 != x.shape[new + i])
    axes = (*range(new), *stretched)
    return (sum_over(x, axes) if axes else x).reshape(shape)


@kernel
def embedding_gradient(g, shape, indices):
    """Return the gradient of table[indices] with respect to the table of `shape` (rows, width).

    indices (...): which rows were looked up. g (..., width): row indices[i] receives g[i].
    """
    table = xp.zeros(shape, g.dtype)
    xp.add.at(table, indices, g)
    return table
