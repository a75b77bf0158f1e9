"""Normalisation: y = (x - mean) / sqrt(var + eps) * scale + shift, with its first derivative.

Batch-norm, conditional batch-norm, instance-norm and AdaIN differ in the axes of the statistics,
and in the shapes of scale and shift, which broadcast over x or are None.
"""

from tinygan.backend import xp

from . import kernel
from .linear import sum_to


def refuse_empty_batch(x, axes):
    """Raises ValueError for a batch without a mean."""
    if not x.size and axes == tuple(range(x.ndim - 1)):
        raise ValueError(f"an empty batch, of shape {x.shape}, has no mean and variance")


@kernel
def moments(x, axes):
    """Mean and variance (divided by n) of x over `axes`, which stay with length 1."""
    refuse_empty_batch(x, axes)
    mean = x.mean(axes, keepdims=True)
    return mean, xp.square(x - mean).mean(axes, keepdims=True)


@kernel
def normalize(x, scale, shift, axes, eps, statistics=None):
    """(y, what its gradient reads). statistics: the moments of x, if they are at hand."""
    mean, var = moments(x, axes) if statistics is None else statistics
    inv_std = 1 / xp.sqrt(var + float(eps))
    y = (x - mean) * inv_std
    y = y if scale is None else y * scale
    y = y if shift is None else y + shift
    return y, (x, mean, inv_std, scale, shift, axes)


@kernel
def normalize_gradient(g, saved, needed):
    """The gradients of x, scale and shift."""
    x, mean, inv_std, scale, shift, axes = saved
    y = (x - mean) * inv_std
    dscale = sum_to(g * y, scale.shape) if needed[1] else None
    dshift = sum_to(g, shift.shape) if needed[2] else None
    if not needed[0]:
        return None, dscale, dshift
    g = g if scale is None else g * scale
    # Both statistics depend on x: take out of the gradient its mean, and its part along y.
    along = (g * y).mean(axes, keepdims=True)
    dx = inv_std * (g - g.mean(axes, keepdims=True) - y * along)
    return dx, dscale, dshift
