"""Linear ops: a map A and its adjoint A^T, each the derivative of the other.

<A x, y> = <x, A^T y> for all x and y; a test checks it for every pair in this file.
"""

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygan import batch
from tinygan.autograd import REFUSED, as_tensors, described, op, op_error
from tinygan.autograd.types import Op, P
from tinygan.backend import asarray, in_host_memory, xp
from tinygan.kernels import linear as kernel

from .composite import composite_op


def linear(adjoint) -> Callable[[Callable[P, Any]], Op[P]]:
    """Decorate a linear map on arrays, `apply(x, /, settings)`, with its adjoint, and make it an op.

    adjoint(g, shape, settings) takes the gradient of the map's result back to an array of the shape that x
    had. That is all: the derivative of each is the other, at every order. For example

        @linear(lambda g, shape, axis: xp.flip(g, axis))
        def flip(x, /, axis=None):
            return xp.flip(x, axis)
    """

    def pair(apply):
        _, *parameters = inspect.signature(apply).parameters.values()
        names = [p.name for p in parameters]
        defaults = {p.name: p.default for p in parameters if p.default is not p.empty}

        @op
        @functools.wraps(apply)  # so that `op` finds the signature of `apply`, with its `/`
        def forward(x, /, *settings, **named):
            if len(settings) > len(names):
                raise TypeError(
                    f"{apply.__name__} takes {len(names)} settings ({', '.join(names)}), not {len(settings)}"
                )
            named = {**defaults, **dict(zip(names, settings)), **named}
            shape = x.shape
            return apply(x.data, **named), lambda g: backward(g, shape, **named)

        @op(name=apply.__name__.lstrip("_") + "_adjoint")
        def backward(g, /, before, **named):
            return adjoint(g.data, before, **named), lambda g: forward(g, **named)

        forward.adjoint = backward
        return forward

    return pair


# The whole batch


@linear(lambda g, shape: batch.mean(g))
def mean_over_shares(x, /):
    """The mean of x over the shares of the whole batch (see batch.py); x itself where the whole batch is here.

    Its adjoint is the same map: the loss is the mean of the shares' losses, and each of them depends on every share's x.
    """
    return batch.mean(x)


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


def keepdims_shape(shape, axis):
    """`shape` with length 1 along `axis`: what a reduction with keepdims returns."""
    axes = axes_of(axis, len(shape))
    return tuple(1 if i in axes else n for i, n in enumerate(shape))


def _repeat_along(g, shape, axis, keepdims):
    return xp.broadcast_to(g.reshape(keepdims_shape(shape, axis)), shape)


@linear(_repeat_along)
def sum(x, /, axis=None, keepdims=False):
    """Sum over `axis` (an int, a tuple, or None for all)."""
    return kernel.sum_over(x, axes_of(axis, x.ndim), keepdims)


@composite_op(1)
def mean(x, axis=None, keepdims=False):
    """Mean over `axis`. Raises ValueError where there is nothing to average."""
    n = math.prod(x.shape[a] for a in axes_of(axis, x.ndim))
    if not n:
        raise ValueError(f"mean over axis {axis} of an empty Tensor of shape {x.shape}")
    return sum(x, axis, keepdims) * (1.0 / n)


@linear(lambda g, before, shape: kernel.sum_to(g, before))
def broadcast_to(x, /, shape):
    """x repeated to `shape`, by NumPy's broadcasting rules."""
    return xp.broadcast_to(x, shape)


# Shape


@linear(lambda g, before, shape: g.reshape(before))
def reshape(x, /, shape):
    """The same values, row by row, in another shape; one length may be -1."""
    return x.reshape(shape)


def _transpose_back(g, shape, axes):
    return g.transpose(None if axes is None else tuple(np.argsort(axes_of(axes, g.ndim))))


@linear(_transpose_back)
def transpose(x, /, axes=None):
    """Axes in another order (None: reversed)."""
    return x.transpose(axes)


@linear(lambda g, shape, axis: xp.flip(g, axis))
def flip(x, /, axis=None):
    """Reverse the order along `axis` (None: all)."""
    return xp.flip(x, axis)


def _roll_back(g, shape, shift, axis):
    return xp.roll(
        g, tuple(-s for s in shift) if isinstance(shift, (tuple, list)) else -shift, axis
    )


@linear(_roll_back)
def roll(x, /, shift, axis=None):
    """Shift along `axis`; what leaves one end enters at the other."""
    return xp.roll(x, shift, axis)


def _crop(g, shape, widths):
    return g[tuple(slice(before, before + n) for (before, _), n in zip(widths, shape))]


@linear(_crop)
def _pad(x, /, widths):
    return xp.pad(x, widths)


@composite_op(1)
def pad(x, widths):
    """Zeros around x. widths: as for numpy.pad: (before, after) per axis, or one pair or number for all axes."""
    return _pad(x, np.broadcast_to(widths, (x.ndim, 2)).tolist())


# Indexing


def _index_arrays(index):
    """An index, a tuple, with arrays and lists copied to the backend in use: nobody may change them later."""

    def constant(i):
        if isinstance(i, list) and not i:
            return xp.zeros(0, int)
        return xp.array(asarray(i)) if hasattr(i, "dtype") or isinstance(i, list) else i

    return tuple(map(constant, index))


def _is_basic(index):
    return all(i is None or i is Ellipsis or isinstance(i, (int, np.integer, slice)) for i in index)


def _scatter(g, shape, index):
    target = xp.zeros(shape, g.dtype)
    if _is_basic(index):
        target[index] = g  # a view picks no element twice
    else:
        xp.add.at(target, index, g)
    return target


@linear(_scatter)
def _getitem(x, /, index):
    return x[index]


def getitem(x, index):
    """x[index]: integers, slices, None, ..., integer or boolean arrays, as in NumPy."""
    parts = index if isinstance(index, tuple) else (index,)
    try:
        return _getitem(x, parts if _is_basic(parts) else _index_arrays(parts))
    except REFUSED as error:
        raise op_error("getitem", error, (x, index))


@linear(lambda g, shape, indices: kernel.sum_rows(g, shape, indices))
def _embedding(weight, /, indices):
    return weight[indices]


@composite_op(1)
def embedding(weight, indices):
    """Rows of `weight` (V, D) for an integer array `indices` of any shape: (*indices.shape, D).

    Raises IndexError for an index in host memory that is outside 0..V-1.
    """
    if weight.ndim != 2:
        raise ValueError(f"embedding: the weight must be (V, D), got {described(weight)}")
    return _embedding(weight, indices_below(weight.shape[0], indices, "embedding: indices"))


def indices_below(n, indices, what):
    """Integers in 0..n-1 as an array of the backend in use, int64: a copy. Raises TypeError and IndexError; those that are
    on a GPU already are not looked at, because that means to wait for it."""
    if not hasattr(indices, "dtype") and indices is not None:
        indices = np.asarray(indices)
    if indices is None or indices.dtype.kind not in "iu":
        raise TypeError(
            f"{what} must be integers, not {'None' if indices is None else indices.dtype}"
        )
    if (
        in_host_memory(indices)
        and indices.size
        and not (0 <= int(indices.min()) and int(indices.max()) < n)
    ):
        raise IndexError(
            f"{what} must lie in 0..{n - 1}, got {int(indices.min())}..{int(indices.max())}"
        )
    return asarray(indices).astype("int64")


# Joining


@op(name="concatenate")
def _concatenate(*xs, axis):
    ends = np.cumsum([x.shape[axis] for x in xs]).tolist()

    def part(start, stop):  # a function, so that each lambda has its own start and stop
        index = (slice(None),) * axis + (slice(start, stop),)
        return lambda g: getitem(g, index)

    return xp.concatenate([x.data for x in xs], axis), *map(part, [0] + ends, ends)


@composite_op(0)
def concatenate(xs, axis=0):
    """Join a sequence of Tensors along an existing axis."""
    xs = as_tensors("concatenate", list(xs))
    if not xs:
        raise ValueError("concatenate: takes one Tensor or more, got none")
    return _concatenate(*xs, axis=axes_of(axis, xs[0].ndim)[0])


@composite_op(0)
def stack(xs, axis=0):
    """Join a sequence of Tensors of one shape along a new axis."""
    xs = as_tensors("stack", list(xs))
    if len({x.shape for x in xs}) != 1:
        raise ValueError(f"stack: takes Tensors of one shape, got {described(xs)}")
    (axis,) = axes_of(axis, xs[0].ndim + 1)
    return concatenate([getitem(x, (slice(None),) * axis + (None,)) for x in xs], axis)
