"""Normalisation, y = (x - mean) / sqrt(var + eps) * scale + shift, and its gradient.

Batch-norm, conditional batch-norm, instance-norm and AdaIN differ in the axes over which mean and
variance are taken, and in the shapes of scale and shift. Either may be None; otherwise they
broadcast over x.
"""

from tinygan.backend import xp

from . import kernel
from .linear import mean_over, scale_for_squares, sum_to


def check_not_empty(x, axes):
    """Raise ValueError if the statistics over `axes` would be those of an empty batch."""
    if not x.size and axes == tuple(range(x.ndim - 1)):
        raise ValueError(f"an empty batch, of shape {x.shape}, has no mean and variance")


@kernel
def moments(x, axes):
    """Return the mean of x over `axes`, its rounding error, and the variance (divided by n).

    The axes are kept with length 1. The mean is mean + rest: where x is nearly constant, the
    rounding error `rest` of the mean is as large as the differences between the numbers.
    """
    check_not_empty(x, axes)
    mean = mean_over(x, axes)
    rest = mean_over(x - mean, axes)
    return mean, rest, mean_over(xp.square(x - mean - rest), axes)


@kernel
def safe_scale(x, axes, eps):
    """Return s, so that neither the squares of x / s nor their sum over `axes` overflow.

    s is the largest |x| over the axes, which are kept with length 1, or sqrt(eps) if that is
    larger: so eps / s^2, which is added to the squares of x / s, does not overflow either. s may be
    the number 1.0 if x can stay as it is.
    """
    if not x.size:
        return 1.0
    return xp.maximum(scale_for_squares(x, axes), float(eps) ** 0.5)


@kernel
def normalize(x, scale, shift, axes, eps, statistics=None):
    """Return y, and what its gradient needs (see linear.py).

    statistics: the moments of x, if they are known already. They must be those of this x, because
    the gradient flows through them.
    """
    mean, rest, var = moments(x, axes) if statistics is None else statistics
    inv_std = 1 / xp.sqrt(var + float(eps))
    y = (x - mean - rest) * inv_std
    y = y if scale is None else y * scale
    y = y if shift is None else y + shift
    return y, (x, mean, rest, inv_std, scale, shift, axes)


@kernel
def normalize_gradient(g, saved, needed):
    """Return the gradients of x, scale and shift.

    The mean and the variance depend on x. So, with normalized = (x - mean) * inv_std, dx loses the
    mean of the gradient and its projection on normalized:

        dx = inv_std * (g - mean(g) - normalized * mean(g * normalized))

    where g is already multiplied by scale.
    """
    x, mean, rest, inv_std, scale, shift, axes = saved
    normalized = (x - mean - rest) * inv_std
    dscale = sum_to(g * normalized, scale.shape) if needed[1] else None
    dshift = sum_to(g, shift.shape) if needed[2] else None
    if not needed[0]:
        return None, dscale, dshift
    g = g if scale is None else g * scale
    dx = inv_std * (g - mean_over(g, axes) - normalized * mean_over(g * normalized, axes))
    return dx, dscale, dshift
