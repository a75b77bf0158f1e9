"""Linear ops: a map A and its adjoint A^T, each the derivative of the other.

<A x, y> = <x, A^T y> for all x and y; a test checks it for every pair in this file.
"""

import functools
import math

import numpy as np

from tinygan.autograd import Tensor, op
from tinygan.backend import asarray, on_cpu, xp


def linear(adjoint):
    """Decorate a linear map on arrays, `apply(x, /, ...settings)`, with its adjoint.

    adjoint(g, shape, ...settings) takes a gradient of the map's result back to an array of the shape that
    x had. The pair becomes two ops; nothing else is needed for derivatives of any order.
    """

    def pair(apply):
        @op
        @functools.wraps(apply)
        def forward(x, /, *settings, **named):
            shape = x.shape
            return apply(x.data, *settings, **named), lambda g: backward(g, shape, *settings, **named)

        @op(name=apply.__name__ + "_adjoint")
        def backward(g, /, before, *settings, **named):  # not `shape`: reshape has a setting of that name
            return adjoint(g.data, before, *settings, **named), lambda g: forward(g, *settings, **named)

        forward.adjoint = backward
        return forward

    return pair


# Sums and repetition


def axes_of(axis, ndim):
    """`axis` (None, an int, a sequence) as a tuple of axes counted from the front."""
    if axis is None:
        return tuple(range(ndim))
    axes = tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
    for a in axes:
        if not -ndim <= a < ndim:
            raise ValueError(f"axis {a} is out of range for a Tensor with {ndim} axes")
    return tuple(a % ndim for a in axes)


def kept(shape, axis):
    """`shape` with length 1 along `axis`: what a reduction with keepdims returns."""
    axes = axes_of(axis, len(shape))
    return tuple(1 if i in axes else n for i, n in enumerate(shape))


def _spread(g, shape, axis=None, keepdims=False):
    return xp.broadcast_to(g.reshape(kept(shape, axis)), shape)


@linear(_spread)
def sum(x, /, axis=None, keepdims=False):
    """Sum over `axis` (an int, a tuple, or None for all)."""
    return x.sum(axes_of(axis, x.ndim), keepdims=keepdims)


def mean(x, axis=None, keepdims=False):
    """Mean over `axis`."""
    return sum(x, axis, keepdims) * (1.0 / math.prod(x.shape[a] for a in axes_of(axis, x.ndim)))


def _sum_repeats(g, before, shape):
    extra = g.ndim - len(before)
    axes = tuple(range(extra)) + tuple(extra + i for i, n in enumerate(before) if n != g.shape[extra + i])
    return g.sum(axes, keepdims=True).reshape(before)


@linear(_sum_repeats)
def broadcast_to(x, /, shape):
    """x repeated to `shape`, by NumPy's broadcasting rules."""
    return xp.broadcast_to(x, shape)


# Shape


@linear(lambda g, before, shape: g.reshape(before))
def reshape(x, /, shape):
    """The same values, row by row, in another shape; one length may be -1."""
    return x.reshape(shape)


def _transpose_back(g, shape, axes=None):
    return g.transpose(None if axes is None else tuple(np.argsort(axes_of(axes, g.ndim))))


@linear(_transpose_back)
def transpose(x, /, axes=None):
    """Axes in another order (None: reversed)."""
    return x.transpose(axes)


@linear(lambda g, shape, axis=None: xp.flip(g, axis))
def flip(x, /, axis=None):
    """Reverse the order along `axis` (None: all)."""
    return xp.flip(x, axis)


def _roll_back(g, shape, shift, axis=None):
    return xp.roll(g, tuple(-s for s in shift) if isinstance(shift, (tuple, list)) else -shift, axis)


@linear(_roll_back)
def roll(x, /, shift, axis=None):
    """Shift along `axis`; what leaves one end enters at the other."""
    return xp.roll(x, shift, axis)


def _crop(g, shape, widths):
    return g[tuple(slice(before, before + n) for (before, _), n in zip(widths, shape))]


@linear(_crop)
def pad(x, /, widths):
    """Zeros around x: `widths` holds (before, after) per axis, as for numpy.pad."""
    return xp.pad(x, widths)


# Indexing


def _index_arrays(index):
    """An index with its Tensors and arrays as arrays of the backend in use."""
    items = (i.data if isinstance(i, Tensor) else i for i in (index if isinstance(index, tuple) else (index,)))
    return tuple(asarray(i) if hasattr(i, "dtype") or isinstance(i, list) else i for i in items)


def _is_basic(index):
    return all(i is None or i is Ellipsis or isinstance(i, (int, np.integer, slice)) for i in index)


def _scatter(g, shape, index):
    target = xp.zeros(shape, g.dtype)
    index = _index_arrays(index)
    if _is_basic(index):
        target[index] = g  # a view picks no element twice
    else:
        xp.add.at(target, index, g)
    return target


@linear(_scatter)
def getitem(x, /, index):
    """x[index]: integers, slices, None, ..., integer or boolean arrays, as in NumPy."""
    return x[_index_arrays(index)]


def _sum_rows(g, shape, indices):
    """Add row i of g to row indices[i] of the table."""
    rows, width = shape
    flat, g = indices.reshape(-1), g.reshape(-1, width)
    if on_cpu():  # several times as fast as np.add.at, and adds in float64
        cells = (flat[:, None] * width + np.arange(width)).reshape(-1)
        return np.bincount(cells, g.reshape(-1), rows * width).reshape(shape).astype(g.dtype)
    table = xp.zeros(shape, g.dtype)
    xp.add.at(table, flat, g)
    return table


@linear(_sum_rows)
def _embedding(weight, /, indices):
    return weight[indices]


def embedding(weight, indices):
    """Rows of `weight` (V, D) for an integer array `indices` of any shape: (*indices.shape, D).

    Raises IndexError for an index outside 0..V-1.
    """
    indices = asarray(indices)
    if indices.dtype.kind not in "iu":
        raise TypeError(f"embedding: indices must be integers, not {indices.dtype}")
    if indices.size and not (0 <= int(indices.min()) and int(indices.max()) < weight.shape[0]):
        raise IndexError(f"embedding: indices must lie in 0..{weight.shape[0] - 1}, "
                         f"got {int(indices.min())}..{int(indices.max())}")
    return _embedding(weight, indices)


# Joining


@op(name="concatenate")
def _concatenate(*xs, axis):
    axis %= xs[0].ndim
    ends = np.cumsum([x.shape[axis] for x in xs]).tolist()

    def part(start, stop):  # a function, so that each lambda has its own start and stop
        index = (slice(None),) * axis + (slice(start, stop),)
        return lambda g: getitem(g, index)

    return xp.concatenate([x.data for x in xs], axis), *map(part, [0] + ends, ends)


def concatenate(xs, axis=0):
    """Join a sequence of Tensors along an existing axis."""
    return _concatenate(*xs, axis=axis)


def stack(xs, axis=0):
    """Join a sequence of Tensors of one shape along a new axis."""
    ndim = xs[0].ndim + 1
    index = (slice(None),) * (axis % ndim) + (None,)
    return concatenate([getitem(x, index) for x in xs], axis % ndim)
