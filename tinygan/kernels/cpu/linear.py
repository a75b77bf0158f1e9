"""Matrix products and sums, on several threads.

Products are cut into blocks of rows or columns by shape alone.
"""

import functools
import math

import numpy as np

from tinygan.backend import constants, xp

from .. import fast, linear
from . import parallel

# Multiply-adds below which BLAS uses one thread of its own accord, even for a matrix times a
# vector.
TINY = 1 << 13
SMALL = 1 << 18  # multiply-adds below which cutting a product costs more than it saves
ROWS = 64  # rows that a product with ones adds, at most: BLAS adds four of them at a time
WIDTH = 1 << 11  # numbers in a row above which NumPy adds rows as fast as BLAS
BLOCK = 1 << 22  # multiply-adds in a block, at least: 40 microseconds


@fast(linear.matmul)
def matmul(a, b):
    size = a.shape[-2] * a.shape[-1] * b.shape[-1]
    if size <= TINY:
        return np.matmul(a, b)
    if a.ndim > 2 or b.ndim > 2:
        return _batched(a, b)
    if size <= SMALL:
        with parallel.single_threaded_blas():
            return np.matmul(a, b)
    out = xp.empty((a.shape[0], b.shape[1]), a.dtype)
    parallel.run_all(_product_tasks(a, b, out))
    return out


def _batched(a, b):
    """Return products of many matrices. The threads share the first axis."""
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    out = xp.empty((*batch, a.shape[-2], b.shape[-1]), np.result_type(a, b))

    def select(x, part):
        return x[part] if x.ndim == out.ndim and len(x) > 1 else x

    # Multiply-adds for one index of the first axis.
    each = max(1, out.size // max(1, batch[0])) * a.shape[-1]
    parts = parallel.blocks(batch[0], max(1, BLOCK // max(1, each)))
    parallel.run(lambda part: np.matmul(select(a, part), select(b, part), out=out[part]), parts)
    return out


@fast(linear.einsum)
def einsum(subscripts, *arrays):
    """Contract three or more arrays pair by pair."""
    with parallel.single_threaded_blas():
        return np.einsum(subscripts, *arrays, optimize=len(arrays) > 2)


def _product_tasks(a, b, out):
    """Return tasks that write a @ b into `out`, one for each block of its longer side."""
    (m, k), n = a.shape, b.shape[1]
    size = max(16, BLOCK // (k * min(m, n)))
    if m >= n:
        return [
            functools.partial(np.matmul, a[part], b, out=out[part])
            for part in parallel.blocks(m, size)
        ]
    return [
        functools.partial(np.matmul, a, b[:, part], out=out[:, part])
        for part in parallel.blocks(n, size)
    ]


@fast(linear.affine)
def affine(x, w, bias):
    y = matmul(x, w)
    y += bias
    return y, (x, w)


@fast(linear.affine_gradient)
def affine_gradient(g, saved, needed):
    """Neither product depends on the other, so the threads share the blocks of both at once."""
    x, w = saved
    db = sum_over(g, (0,)) if needed[2] else None
    if g.size * x.shape[1] <= SMALL:
        return (matmul(g, w.T) if needed[0] else None), (matmul(x.T, g) if needed[1] else None), db
    dx, dw = xp.empty(x.shape, x.dtype), xp.empty(w.shape, w.dtype)
    dx_tasks = _product_tasks(g, w.T, dx) if needed[0] else []
    dw_tasks = _product_tasks(x.T, g, dw) if needed[1] else []
    parallel.run_all(dx_tasks + dw_tasks)
    return dx, dw, db


def row_sums(x):
    """Return the sums over the rows of x (..., rows, C): (..., C).

    A sum is a product with ones, because BLAS reads the rows in the order of memory. Like
    `linear.sum_over`, it adds at most ROWS numbers one after the other. Then rows are short and
    few: several of them count as one long row.
    """
    *outer, rows, width = x.shape
    while rows > ROWS:
        length = -(-rows // ROWS)
        count = rows // length
        rest = x[..., count * length :, :]
        x = x[..., : count * length, :].reshape(*outer, count, length * width)
        x = np.matmul(_ones(count, x.dtype), x).reshape(*outer, length, width)
        x[..., : rest.shape[-2], :] += rest
        rows = length
    return np.matmul(_ones(rows, x.dtype), x)


@constants
def _ones(n, dtype):
    return np.ones(n, dtype)


def sum_channels(x):
    """Return the sum of x (..., C) over all axes but the last: (C,)."""
    if not x.size:
        return xp.zeros(x.shape[-1:], x.dtype)
    return row_sums(np.stack(parallel.map_row_blocks(row_sums, x.reshape(-1, x.shape[-1]))))


@fast(linear.sum_over)
def sum_over(x, axes, keepdims=False):
    if x.flags.c_contiguous and axes:
        terms = math.prod([x.shape[axis] for axis in axes])
        if terms <= linear.ROW and _are_last_in_memory(axes, x.shape):  # NumPy adds these well
            return np.add.reduce(x, axes, keepdims=keepdims)
        if axes == tuple(range(len(axes))) and x.size:
            rows = x.reshape(-1, math.prod(x.shape[len(axes) :]))
            in_blocks = x.size > parallel.BLOCK and rows.shape[1] <= WIDTH
            y = sum_channels(rows) if in_blocks else _sum_of_few_rows(rows)
            return y.reshape((1,) * len(axes) * keepdims + x.shape[len(axes) :])
    return linear.sum_over.__wrapped__(x, axes, keepdims)


def _are_last_in_memory(axes, shape):
    """Return whether no axis of an array with this shape, but those of length 1, lies between
    `axes` or after them."""
    first, end = axes[0], axes[-1] + 1
    return axes == tuple(range(first, end)) and math.prod(shape[end:]) == 1


def _sum_of_few_rows(x):
    """Return the sum of the rows of x (rows, C): (C,). This is `linear.sum_over` in fewer calls."""
    if x.size <= TINY:
        return row_sums(x)
    while len(x) > linear.RUN:
        length = -(-len(x) // linear.RUN)
        count = len(x) // length
        rest = x[count * length :]
        x = np.add.reduce(x[: count * length].reshape(count, -1)).reshape(length, -1)
        if len(rest):
            x[: len(rest)] += rest
    return np.add.reduce(x)


@fast(linear.embedding_gradient)
def embedding_gradient(g, shape, indices):
    """`bincount` is several times as fast as np.add.at, and adds in float64."""
    rows, width = shape
    lookups = indices.size
    tables = 1 if g.dtype == np.float32 else linear.table_count(lookups, rows)
    row = indices.reshape(-1) + xp.arange(lookups) % tables * rows
    cells = (row[:, None] * width + xp.arange(width)).reshape(-1)
    sums = np.bincount(cells, g.reshape(-1), tables * rows * width).reshape(tables, rows, width)
    return linear.sum_over(sums, (0,)).astype(g.dtype)


@functools.lru_cache
def _smallest_square(dtype):
    """Return below which sum of squares, divided by their number, vanishing squares matter."""
    info = np.finfo(dtype)
    return float(info.tiny / info.eps)


@fast(linear.norm)
def norm(x, axes):
    """If no square overflows, and those that vanish do not matter, x is not scaled."""
    with np.errstate(over="ignore"):
        squares = sum_over(x * x, axes, True)
    if not x.size:
        return linear.norm.__wrapped__(x, axes)

    def unscaled():
        length = np.sqrt(squares)
        return length, 1.0, length

    def scaled():
        length, (_, scale, scaled_length) = linear.norm.__wrapped__(x, axes)
        return length, scale, scaled_length

    smallest = x.size // squares.size * _smallest_square(x.dtype)
    moderate = np.logical_and(squares.min() > smallest, squares.max() < math.inf)
    length, *saved = parallel.branch(moderate, unscaled, scaled)
    return length, (x, *saved)


@fast(linear.direction)
def direction(saved):
    x, scale, length = saved
    if type(scale) is float:  # 1.0; the scale of a single number is a np.float64, also a float
        return x / length
    return linear.direction.__wrapped__(saved)
