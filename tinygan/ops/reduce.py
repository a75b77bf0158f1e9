"""Reductions that are not linear: variance, maximum, log-sum-exp, softmax, norm."""

import math

from tinygan.autograd import op
from tinygan.backend import xp
from tinygan.kernels import linear as linear_kernels
from tinygan.kernels import normalize as normalize_kernels

from .composite import composite_op
from .elementwise import exp, mul_constant
from .linear import axes_of, broadcast_to, keepdims_shape, mean, reshape, sum


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


@op
def logsumexp(x, /, axis=None, keepdims=False):
    """log(sum(exp(x))) over `axis`, without overflow."""
    axes, keep = axes_of(axis, x.ndim), keepdims_shape(x.shape, axis)
    top = x.data.max(axes, keepdims=True)
    value = xp.log(xp.exp(x.data - top).sum(axes, keepdims=True)) + top
    return (
        value if keepdims else value.squeeze(axes),
        lambda g, y: reshape(g, keep) * exp(x - reshape(y, keep)),
    )


@op
def log_softmax(x, /, axis=-1):
    """x - logsumexp(x): the logarithms of softmax(x)."""
    value = x.data - x.data.max(axis, keepdims=True)
    value -= xp.log(xp.exp(value).sum(axis, keepdims=True))
    return value, lambda g, y: g - exp(y) * sum(g, axis, keepdims=True)


@op
def softmax(x, /, axis=-1):
    """exp(x) / sum(exp(x)): the probabilities of logits x."""
    value = xp.exp(x.data - x.data.max(axis, keepdims=True))
    value /= value.sum(axis, keepdims=True)
    return value, lambda g, y: y * (g - sum(g * y, axis, keepdims=True))


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
