"""Normalisation, y = (x - mean) / sqrt(var + eps) * scale + shift, and its gradient.

Batch-norm, conditional batch-norm, instance-norm and AdaIN differ in the axes over which mean and
variance are taken, and in the shapes of scale and shift. Either may be None; otherwise they
broadcast over x.
"""

from tinygan.backend import xp

from . import kernel
from .linear import sum_to


def check_not_empty(x, axes):
    """Raise ValueError if the statistics over `axes` would be those of an empty batch."""
    if not x.size and axes == tuple(range(x.ndim - 1)):
        raise ValueError(f"an empty batch, of shape {x.shape}, has no mean and variance")


@kernel
def moments(x, axes):
    """Return mean and variance (divided by n) of x over `axes`, which are kept with length 1."""
    check_not_empty(x, axes)
    mean = x.mean(axes, keepdims=True)
    return mean, xp.square(x - mean).mean(axes, keepdims=True)


@kernel
def normalize(x, scale, shift, axes, eps, statistics=None):
    """Return y, and what its gradient needs (see linear.py).

    statistics: the moments of x, if they are known already. They must be those of this x, because
    the gradient flows through them.
    """
    mean, var = moments(x, axes) if statistics is None else statistics
    inv_std = 1 / xp.sqrt(var + float(eps))
    y = (x - mean) * inv_std
    y = y if scale is None else y * scale
    y = y if shift is None else y + shift
    return y, (x, mean, inv_std, scale, shift, axes)


@kernel
def normalize_gradient(g, saved, needed):
    """Return the gradients of x, scale and shift.

    The mean and the variance depend on x. So, with normalized = (x - mean) * inv_std, dx loses the
    mean of the gradient and its projection on normalized:

        dx = inv_std * (g - mean(g) - normalized * mean(g * normalized))

    where g is already multiplied by scale.
    """
    x, mean, inv_std, scale, shift, axes = saved
    normalized = (x - mean) * inv_std
    dscale = sum_to(g * normalized, scale.shape) if needed[1] else None
    dshift = sum_to(g, shift.shape) if needed[2] else None
    if not needed[0]:
        return None, dscale, dshift
    g = g if scale is None else g * scale
    projection = (g * normalized).mean(axes, keepdims=True)
    dx = inv_std * (g - g.mean(axes, keepdims=True) - normalized * projection)
    return dx, dscale, dshift
