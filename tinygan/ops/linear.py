"""Linear ops: a map A and its adjoint A^T, each of which is the derivative of the other.

<A x, y> = <x, A^T y> for all x and y; a test checks this for every pair in this file.
"""

import functools
import inspect
import math
from typing import Any, Callable, Sequence

import numpy as np

from tinygan import batch
from tinygan.autograd import (
    ARGUMENT_ERRORS,
    Array,
    Axis,
    Op,
    P,
    Tensor,
    TensorLike,
    as_tensors,
    described,
    op,
    op_error,
)
from tinygan.backend import asarray, in_host_memory, xp
from tinygan.kernels import linear as linear_kernels

from .composite import composite_op


def linear(adjoint: Callable[..., Array]) -> Callable[[Callable[P, Any]], Op[P]]:
    """Decorate a linear map on arrays, `apply(x, /, settings)`, to make it an op with an adjoint.

    adjoint(g, shape, **settings) maps g, the gradient of the result, to the gradient of x, an array
    of x's shape `shape`. It receives all settings, defaults included, by name. Each map is the
    derivative of the other, at every order. For example:

        @linear(lambda g, shape, axis: xp.flip(g, axis))
        def flip(x, /, axis=None):
            return xp.flip(x, axis)
    """

    def decorate(apply):
        _, *parameters = inspect.signature(apply).parameters.values()
        names = [p.name for p in parameters]
        defaults = {p.name: p.default for p in parameters if p.default is not p.empty}

        @op
        @functools.wraps(apply)  # `op` reads the signature of `apply`, with its `/`
        def forward(x, /, *settings, **named):
            if len(settings) > len(names):
                raise TypeError(
                    f"{apply.__name__} takes {len(names)} settings ({', '.join(names)}), "
                    f"not {len(settings)}"
                )
            named = {**defaults, **dict(zip(names, settings)), **named}
            x_shape = x.shape  # the lambda would keep x itself alive
            return apply(x.data, **named), lambda g: backward(g, x_shape, **named)

        @op(name=apply.__name__.lstrip("_") + "_adjoint")
        def backward(g, /, x_shape, **named):
            return adjoint(g.data, x_shape, **named), lambda h: forward(h, **named)

        forward.adjoint = backward
        return forward

    return decorate


# The whole batch


@linear(lambda g, shape: batch.mean(g))
def mean_over_shares(x, /):
    """The mean of x over all shares of the batch (see batch.py); x itself if there is one share.

    It is its own adjoint: the loss is the mean of the shares' losses, and all of them depend on
    this x, so the gradient of x is the mean of the shares' gradients.
    """
    return batch.mean(x)


# Sums and repetition


def axes_of(axis: Axis, ndim: int) -> tuple[int, ...]:
    """`axis` (None, an int, a tuple or list) as a tuple of axes counted from the front.

    Raises TypeError for an axis that is not an integer, ValueError for one out of range.
    """
    if axis is None:
        return tuple(range(ndim))
    axes = tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
    for a in axes:
        if not isinstance(a, (int, np.integer)):
            raise TypeError(f"an axis must be an integer, got {described(a)}")
        if not -ndim <= a < ndim:
            raise ValueError(f"axis {a} is out of range for a Tensor with {ndim} axes")
    return tuple(a % ndim for a in axes)


def one_axis(axis: Any, ndim: int) -> int:
    """`axis`, an integer, counted from the front. Raises TypeError for anything else, ValueError
    for an axis out of range."""
    return axes_of((axis,), ndim)[0]


def keepdims_shape(shape: Sequence[int], axis: Axis) -> tuple[int, ...]:
    """`shape` with length 1 along `axis`: the shape of a reduction with keepdims."""
    axes = axes_of(axis, len(shape))
    return tuple(1 if i in axes else n for i, n in enumerate(shape))


def _repeat_along(g, shape, axis, keepdims):
    return xp.broadcast_to(g.reshape(keepdims_shape(shape, axis)), shape)


@linear(_repeat_along)
def sum(x, /, axis=None, keepdims=False):
    """Sum over `axis` (an int, a tuple, or None for all)."""
    return linear_kernels.sum_over(x, axes_of(axis, x.ndim), keepdims)


@composite_op(1)
def mean(x, axis=None, keepdims=False):
    """Mean over `axis`. Raises ValueError if there is nothing to average."""
    n = math.prod(x.shape[a] for a in axes_of(axis, x.ndim))
    if not n:
        raise ValueError(f"mean over axis {axis} of an empty Tensor of shape {x.shape}")
    return sum(x, axis, keepdims) * (1.0 / n)


@linear(lambda g, x_shape, shape: linear_kernels.sum_to(g, x_shape))
def broadcast_to(x, /, shape):
    """x repeated to `shape`, by NumPy's rules of broadcasting."""
    return xp.broadcast_to(x, shape)


def _running_sum(x, axis):
    return xp.cumsum(x, axis, dtype="float64").astype(x.dtype)  # see `sum_over` for why


@linear(lambda g, shape, axis: xp.flip(_running_sum(xp.flip(g, axis), axis), axis).reshape(shape))
def cumsum(x, /, axis=None):
    """The running sum along `axis`, an int: entry i is the sum of the entries 0, ..., i. None: of
    all values, in one row."""
    return _running_sum(x, axis)


# Shape


@linear(lambda g, x_shape, shape: g.reshape(x_shape))
def reshape(x, /, shape):
    """The same values in another shape, in row-major order; one length may be -1."""
    return x.reshape(shape)


@composite_op(1)
def flatten(x, start=0, end=-1):
    """The axes from `start` to `end`, both included, joined to one: flatten(x, 1) of images (N, H,
    W, C) is (N, H W C)."""
    shape = x.shape or (1,)
    start, end = one_axis(start, len(shape)), one_axis(end, len(shape))
    if start > end:
        raise ValueError(f"the start axis {start} comes after the end axis {end}")
    joined = math.prod(shape[start : end + 1])
    return reshape(x, (*shape[:start], joined, *shape[end + 1 :]))


@composite_op(1)
def squeeze(x, axis=None):
    """x without axes of length 1: without all of them, or without `axis` (an int or a tuple).

    Raises ValueError for an axis of another length.
    """
    axes = axes_of(axis, x.ndim)
    for a in axes if axis is not None else ():
        if x.shape[a] != 1:
            raise ValueError(f"axis {a} has length {x.shape[a]}, not 1")
    return reshape(x, tuple(n for i, n in enumerate(x.shape) if i not in axes or n != 1))


def _transpose_adjoint(g, shape, axes):
    return g.transpose(None if axes is None else tuple(np.argsort(axes_of(axes, g.ndim))))


@linear(_transpose_adjoint)
def transpose(x, /, axes=None):
    """Permute the axes; None reverses them."""
    return x.transpose(axes)


@composite_op(1)
def swapaxes(x, axis1, axis2):
    """x with two axes exchanged."""
    order = list(range(x.ndim))
    a, b = one_axis(axis1, x.ndim), one_axis(axis2, x.ndim)
    order[a], order[b] = b, a
    return transpose(x, tuple(order))


@linear(lambda g, shape, axis: xp.flip(g, axis))
def flip(x, /, axis=None):
    """Reverse the order along `axis`; None for all axes."""
    return xp.flip(x, axes_of(axis, x.ndim))


def _roll_adjoint(g, shape, shift, axis):
    back = tuple(-s for s in shift) if isinstance(shift, (tuple, list)) else -shift
    return xp.roll(g, back, axis)


@linear(_roll_adjoint)
def roll(x, /, shift, axis=None):
    """Shift along `axis`; elements that leave at one end enter at the other."""
    return xp.roll(x, shift, None if axis is None else axes_of(axis, x.ndim))


def _pad_adjoint(g, shape, widths):
    return g[tuple(slice(before, before + n) for (before, _), n in zip(widths, shape))]


@linear(_pad_adjoint)
def _pad(x, /, widths):
    return xp.pad(x, widths)


@composite_op(1)
def pad(x, widths):
    """Pad x with zeros.

    widths: as in numpy.pad: (before, after) for each axis, or one pair or number for all axes.
    """
    if np.shape(widths) not in ((), (1,), (2,), (1, 2), (x.ndim, 1), (x.ndim, 2)):
        raise ValueError("widths are (before, after) for each axis, as in NumPy")
    return _pad(x, np.broadcast_to(widths, (x.ndim, 2)).tolist())


# Indexing


def _with_copied_arrays(index):
    """The tuple `index` with copies of its arrays and lists, so that they stay constant."""

    def copied(i):
        if isinstance(i, list) and not i:
            return xp.zeros(0, int)
        return xp.array(asarray(i)) if hasattr(i, "dtype") or isinstance(i, list) else i

    return tuple(map(copied, index))


def _is_basic(index):
    return all(i is None or i is Ellipsis or isinstance(i, (int, np.integer, slice)) for i in index)


def _getitem_adjoint(g, shape, index):
    size = math.prod(shape)
    dx = xp.zeros(shape, g.dtype)
    if _is_basic(index):
        dx[index] = g  # a basic index picks no element twice
        return dx
    shapes = {i.shape for i in index if hasattr(i, "shape")}
    if math.prod(map(math.prod, shapes)) <= 2 * linear_kernels.RUN:
        xp.add.at(dx, index, g)
        return dx
    picked = xp.arange(size).reshape(shape)[index]
    g = g.reshape(g.size, 1)
    return linear_kernels.embedding_gradient(g, (size, 1), picked).reshape(shape)


@linear(_getitem_adjoint)
def _getitem(x, /, index):
    return x[index]


def getitem(x: TensorLike, index: Any) -> Tensor:
    """x[index]. index: integers, slices, None, `...`, integer or boolean arrays, as in NumPy."""
    parts = index if isinstance(index, tuple) else (index,)
    try:
        return _getitem(x, parts if _is_basic(parts) else _with_copied_arrays(parts))
    except ARGUMENT_ERRORS as error:
        raise op_error("getitem", error, (x, index))


@linear(lambda g, shape, indices: linear_kernels.embedding_gradient(g, shape, indices))
def _embedding(weight, /, indices):
    return weight[indices]


@composite_op(1)
def embedding(weight, indices):
    """The rows of `weight` (V, D) at `indices`, integers of any shape: (*indices.shape, D).

    Raises IndexError for indices in host memory outside 0..V-1.
    """
    if weight.ndim != 2:
        raise ValueError(f"embedding: the weight must be (V, D), got {described(weight)}")
    return _embedding(weight, checked_indices(indices, weight.shape[0], "embedding: indices"))


def checked_indices(indices: Any, n: int, name: str) -> Array:
    """A copy of `indices`, integers in 0..n-1, as an int64 array of the backend in use.

    Raises TypeError if they are not integers, IndexError if they are out of range. On a GPU their
    range is not checked, because the check would wait for the GPU. name: for the message.
    """
    if not hasattr(indices, "dtype") and indices is not None:
        indices = np.asarray(indices)
    if indices is None or indices.dtype.kind not in "iu":
        raise TypeError(
            f"{name} must be integers, not {'None' if indices is None else indices.dtype}"
        )
    if in_host_memory(indices) and indices.size and not 0 <= indices.min() <= indices.max() < n:
        raise IndexError(f"{name} must lie in 0..{n - 1}, got {indices.min()}..{indices.max()}")
    return asarray(indices).astype("int64")


# Joining


@op(name="concatenate")
def _concatenate(*xs, axis):
    ends = np.cumsum([x.shape[axis] for x in xs]).tolist()

    def derivative(start, stop):  # a function, so that each lambda has its own start and stop
        index = (slice(None),) * axis + (slice(start, stop),)
        return lambda g: getitem(g, index)

    return xp.concatenate([x.data for x in xs], axis), *map(derivative, [0] + ends, ends)


@composite_op(0)
def concatenate(xs, axis=0):
    """Join a sequence of Tensors along an existing axis."""
    xs = as_tensors("concatenate", list(xs))
    if not xs:
        raise ValueError("concatenate: takes one or more Tensors, got none")
    return _concatenate(*xs, axis=axes_of(axis, xs[0].ndim)[0])


@composite_op(0)
def stack(xs, axis=0):
    """Join a sequence of Tensors of the same shape along a new axis."""
    xs = as_tensors("stack", list(xs))
    if len({x.shape for x in xs}) != 1:
        raise ValueError(f"stack: takes Tensors of the same shape, got {described(xs)}")
    (axis,) = axes_of(axis, xs[0].ndim + 1)
    return concatenate([getitem(x, (slice(None),) * axis + (None,)) for x in xs], axis)
