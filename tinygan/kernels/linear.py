"""Matrix products, sums and lengths.

Some kernels, here and in act.py, loss.py and normalize.py, form a pair f and f_gradient:

    value, saved = f(*arrays, *settings)
    gradients = f_gradient(g, saved, needed)

saved: what the gradient needs. g: the gradient of the value. needed[i]: whether the gradient of
argument i is wanted. Where it is not, f_gradient may return None.
"""

import math

from tinygan.backend import xp

from . import kernel

RUN = 32  # numbers that are added one after the other, at most
# Numbers that the array module adds well if they are neighbours. Some versions of NumPy cut more of
# them into parts of this length, whose sums they add one after the other.
ROW = 1 << 13


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
    """Return the sum of x over a tuple of axes.

    Each addition rounds. If n numbers are added one after the other, the error grows like n; if
    they are cut into parts whose sums are added, and so on, it grows like log(n) (Higham 1993,
    "The accuracy of floating point summation"). The array module itself adds in this way only along
    the axis that is last in memory, and at most ROW numbers.
    """
    if math.prod([x.shape[axis] for axis in axes]) <= RUN:
        return x.sum(axes, keepdims=keepdims)
    order = sorted(range(x.ndim), key=lambda axis: -abs(x.strides[axis]))  # as in memory
    terms = x.transpose(order)
    rest = [i for i, axis in enumerate(order) if axis in axes and x.shape[axis] > 1]
    while rest:
        kept = [i for i, n in enumerate(terms.shape) if i not in rest and n > 1]
        neighbours = terms.flags.c_contiguous and rest[0] > max(kept, default=-1)
        if neighbours and math.prod([terms.shape[i] for i in rest]) <= ROW:
            terms = terms.sum(tuple(rest), keepdims=True)
            break
        terms = _sum_along(terms, rest.pop(0))
    total = terms.transpose([order.index(axis) for axis in range(x.ndim)])
    return total if keepdims else total.squeeze(axes)


def _sum_along(x, axis):
    """Return the sum of x along an axis, which is kept with length 1."""
    at_once = ROW if axis == x.ndim - 1 else RUN
    before, after = (slice(None),) * axis, x.shape[axis + 1 :]
    while x.shape[axis] > at_once:
        length = -(-x.shape[axis] // RUN)
        whole = x.shape[axis] // length * length
        parts = x[(*before, slice(whole))].reshape(*x.shape[:axis], -1, length, *after)
        rest = x[(*before, slice(whole, None))]
        x = parts.sum(axis)
        if rest.size:
            x[(*before, slice(rest.shape[axis]))] += rest
    return x.sum(axis, keepdims=True)


def sum_to(x, shape):
    """Undo broadcasting: sum x over the axes along which an array of `shape` was repeated."""
    new = x.ndim - len(shape)
    stretched = (new + i for i, n in enumerate(shape) if n == 1 != x.shape[new + i])
    axes = (*range(new), *stretched)
    return (sum_over(x, axes) if axes else x).reshape(shape)


def mean_over(x, axes):
    """Return the mean of x over a tuple of axes, which are kept with length 1."""
    total = sum_over(x, axes, True)
    return total / max(1, x.size // max(1, total.size))


@kernel
def embedding_gradient(g, shape, indices):
    """Return the gradient of table[indices] with respect to the table of `shape` (rows, width).

    indices (...): which rows were looked up. g (..., width): row indices[i] receives g[i]. The
    look-ups take turns at several tables, so that the sums in each are short (see `sum_over`).
    """
    indices, g = indices.reshape(-1), g.reshape(indices.size, shape[1])
    tables = table_count(len(indices), shape[0])
    sums = xp.zeros((tables, *shape), g.dtype)
    xp.add.at(sums, (xp.arange(len(indices)) % tables, indices), g)
    return sum_over(sums, (0,))


def table_count(lookups, rows):
    """Return how many tables of `rows` rows share the look-ups: together they are no larger than
    the gradient, and each has RUN look-ups or more."""
    return max(1, lookups // max(RUN, rows))


def scale_for_squares(x, axes):
    """Return the largest absolute value of x over `axes`, which are kept with length 1; 1 for 0.

    The squares of x divided by it neither overflow nor all vanish. Infinity counts as the largest
    number of x's dtype.
    """
    if not x.size:
        return 1.0
    largest = xp.minimum(xp.abs(x).max(axes, keepdims=True), float(xp.finfo(x.dtype).max))
    return largest + (largest == 0)


@kernel
def norm(x, axes):
    """Return the length sqrt(sum(x^2)) of x over a tuple of axes, which are kept with length 1.

    Also return what `direction` needs.
    """
    scale = scale_for_squares(x, axes)
    scaled_length = xp.sqrt(sum_over(xp.square(x / scale), axes, True))
    return scaled_length * scale, (x, scale, scaled_length)


@kernel
def direction(saved):
    """Return x divided by its length, the gradient of the length; 0 where x is 0."""
    x, scale, scaled_length = saved
    return x / scale / (scaled_length + (scaled_length == 0))
