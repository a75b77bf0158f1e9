"""Reductions that are not linear: variance, product, maximum, log-sum-exp, softmax, norm."""

import math
from typing import Any, Callable

from tinygan.autograd import Array, P, op
from tinygan.kernels import linear as linear_kernels
from tinygan.kernels import loss
from tinygan.kernels import normalize as normalize_kernels

from .composite import composite_op
from .elementwise import mul_constant
from .linear import (
    axes_of,
    broadcast_to,
    concatenate,
    keepdims_shape,
    linear,
    mean,
    one_axis,
    reshape,
    sum,
    transpose,
)


def centred(x, axes):
    """x minus its mean over the tuple `axes`."""
    x = x - mean(x, axes, keepdims=True)
    # What the rounding of the mean lost. Its exact value is 0, so it has no derivative.
    return x - linear_kernels.mean_over(x.data, axes)


@op
def var(x, /, axis=None, keepdims=False):
    """Variance over `axis`, divided by n (not n - 1). Raises ValueError if there is no number."""
    axes, keep = axes_of(axis, x.ndim), keepdims_shape(x.shape, axis)
    n = math.prod([x.shape[a] for a in axes])
    if not n:
        raise ValueError(f"var over axis {axis} of an empty Tensor of shape {x.shape}")
    _, _, value = normalize_kernels.moments(x.data, axes)
    return (
        value if keepdims else value.squeeze(axes),
        lambda g: reshape(g * (2.0 / n), keep) * centred(x, axes),
    )


@composite_op(1)
def std(x, axis=None, keepdims=False):
    """The standard deviation over `axis`, sqrt(var(x)): it divides by n (not n - 1).

    Where it is 0, its derivatives are those of `norm` at 0: the first is taken to be 0, and those
    of higher order are NaN or infinite. Raises ValueError if there is no number.
    """
    axes = axes_of(axis, x.ndim)
    n = math.prod([x.shape[a] for a in axes])
    if not n:
        raise ValueError(f"std over axis {axis} of an empty Tensor of shape {x.shape}")
    return norm(centred(x, axes), axes, keepdims) / n**0.5


@composite_op(1)
def prod(x, axis=None, keepdims=False):
    """The product over `axis` (an int, a tuple, or None for all); 1 if there is no number.

    Its derivatives are right where factors are 0, too. Pairs of factors are multiplied, then pairs
    of these products, and so on.
    """
    y = _as_rows(x, axes_of(axis, x.ndim))
    if not y.shape[-1]:
        y = sum(y, -1, keepdims=True) + 1.0
    while (n := y.shape[-1]) > 1:
        pairs = y[..., : n // 2] * y[..., n // 2 : n // 2 * 2]
        y = concatenate([pairs, y[..., -1:]], -1) if n % 2 else pairs
    return reshape(y, keepdims_shape(x.shape, axis) if keepdims else y.shape[:-1])


@op
def max(x, /, axis=None, keepdims=False):
    """The largest value over `axis`. Values that tie share the gradient equally."""
    axes, keep = axes_of(axis, x.ndim), keepdims_shape(x.shape, axis)

    def d_x(g, y):
        ties = (x.data == y.data.reshape(keep)).astype(x.dtype)
        ties /= ties.sum(axes, keepdims=True)
        return mul_constant(broadcast_to(reshape(g, keep), x.shape), ties)

    return x.data.max(axes, keepdims=keepdims), d_x


@composite_op(1)
def min(x, axis=None, keepdims=False):
    """The smallest value over `axis`. Values that tie share the gradient equally."""
    return -max(-x, axis, keepdims)


def _without_gradient(function: Callable[P, Array]) -> Callable[P, Array]:
    return composite_op(1)(function)


@_without_gradient
def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Array:
    """The position of the largest value over `axis`, of the first if there are several: an array of
    integers, without a gradient. axis: an int, or None to count through all values in one row."""
    return x.data.argmax(None if axis is None else one_axis(axis, x.ndim), keepdims=keepdims)


@_without_gradient
def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Array:
    """The position of the smallest value over `axis`, as `argmax` gives that of the largest."""
    return x.data.argmin(None if axis is None else one_axis(axis, x.ndim), keepdims=keepdims)


@composite_op(1)
def logsumexp(x, axis=None, keepdims=False):
    """log(sum(exp(x))) over `axis`, without overflow.

    The gradient is softmax(x). It is NaN where the largest x is infinite.
    """
    value = _logsumexp(_as_rows(x, axes_of(axis, x.ndim)))
    return reshape(value, keepdims_shape(x.shape, axis)) if keepdims else value


@composite_op(1)
def log_softmax(x, axis=-1):
    """x - logsumexp(x): the logarithms of softmax(x)."""
    return _of_rows(_log_softmax, x, axis)


@composite_op(1)
def softmax(x, axis=-1):
    """exp(x) / sum(exp(x)) over `axis`: the probabilities of logits x.

    Second derivatives are within 10 units in the last place of the exact ones.
    """
    return _of_rows(_softmax, x, axis)


def _as_rows(x, axes):
    """x with `axes` joined to one axis, the last."""
    others = [i for i in range(x.ndim) if i not in axes]
    if axes == (x.ndim - 1,):
        return x
    shape = *(x.shape[i] for i in others), math.prod(x.shape[i] for i in axes)
    return reshape(transpose(x, (*others, *axes)), shape)


def _of_rows(function, x, axis):
    """function, which works over the last axis, over `axis` of x."""
    axes = axes_of(axis, x.ndim)
    y = function(_as_rows(x, axes))
    if axes == (x.ndim - 1,):
        return y
    order = *(i for i in range(x.ndim) if i not in axes), *axes
    y = reshape(y, tuple(x.shape[i] for i in order))
    return transpose(y, tuple(order.index(i) for i in range(x.ndim)))


@op(name="logsumexp")
def _logsumexp(x, /):
    return loss.logsumexp(x.data), lambda g: reshape(g, (*g.shape, 1)) * _softmax(x)


@op(name="log_softmax")
def _log_softmax(x, /):
    def d_x(g):
        gradient = g - _softmax(x) * sum(g, -1, keepdims=True)
        return _with_sum_zero(gradient, loss.first_largest(x.data))

    return loss.log_softmax(x.data), d_x


@op(name="softmax")
def _softmax(x, /):
    def d_x(g, y):
        gradient = y * (g - sum(g * y, -1, keepdims=True))
        return _with_sum_zero(gradient, loss.first_largest(y.data))

    return loss.softmax(x.data), d_x


@linear(lambda g, shape, index: g - g[index][..., None])
def _with_sum_zero(x, /, index):
    """x, the gradient of rows of logits, whose sums are 0, since softmax(x + 1) = softmax(x).

    At the largest logit, `index`, it is a difference of numbers that may be almost equal, such as
    1 - probability. So there, it is replaced by minus the sum of the others.
    """
    y = x.copy()
    y[index] = -loss.sum_of_others(x, index)[..., 0]
    return y


@op
def norm(x, /, axis=None, keepdims=False):
    """The length sqrt(sum(x ** 2)) over `axis`.

    Where it is 0, its derivative does not exist: the first is taken to be 0, and those of higher
    order are NaN or infinite, also those of norm(x) ** 2; write sum(square(x)) for that.
    """
    axes, keep = axes_of(axis, x.ndim), keepdims_shape(x.shape, axis)
    length, saved = linear_kernels.norm(x.data, axes)
    return (
        length if keepdims else length.squeeze(axes),
        lambda g, y: reshape(g, keep) * _direction(x, reshape(y, keep), saved),
    )


@op(broadcasts=True)
def _direction(x, length, /, saved):
    """x / length, where length = norm(x); 0 where the length is 0."""
    return linear_kernels.direction(saved), lambda g: g / length, lambda g, y: -g * y / length
