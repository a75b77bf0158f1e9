"""Normalisation: y = (x - mean) / sqrt(var + eps) * scale + shift, with its first derivative."""

from tinygan.backend import xp

from . import Kernel
from .linear import sum_to


def moments(x, axes):
    """Mean and variance (divided by n) of x over `axes`, which stay with length 1."""
    mean = _mean(x, axes)
    centred = x - mean
    centred *= centred
    return mean, _mean(centred, axes)


def _mean(x, axes):
    if axes == tuple(range(x.ndim - 1)):  # over all but channels: a product with ones runs in BLAS
        rows = x.reshape(-1, x.shape[-1])
        ones = xp.full((1, len(rows)), 1 / len(rows), x.dtype)
        return (ones @ rows).reshape((1,) * len(axes) + (-1,))
    return x.mean(axes, keepdims=True)


def _sum_to(x, shape):
    if shape == x.shape[-1:]:  # one number a channel: through BLAS, as above
        return (_mean(x, tuple(range(x.ndim - 1))) * (x.size // x.shape[-1])).reshape(shape)
    return sum_to(x, shape)


def _forward(x, scale, shift, axes, eps, statistics=None):
    mean, var = moments(x, axes) if statistics is None else statistics
    inv_std = 1 / xp.sqrt(var + x.dtype.type(eps))
    y = x - mean
    y *= inv_std
    if scale is not None:
        y *= scale
    if shift is not None:
        y += shift
    return y, (x, mean, inv_std, scale, shift, axes)


def _backward(g, saved, needed):
    x, mean, inv_std, scale, shift, axes = saved
    y = x - mean
    y *= inv_std
    dscale = _sum_to(g * y, scale.shape) if needed[1] else None
    dshift = _sum_to(g, shift.shape) if needed[2] else None
    if not needed[0]:
        return None, dscale, dshift
    dx = g * scale if scale is not None else g.copy()
    # Both statistics depend on x: take out of the gradient its mean, and its part along y.
    along = _mean(dx * y, axes)
    dx -= _mean(dx, axes)
    y *= along
    dx -= y
    dx *= inv_std
    return dx, dscale, dshift


normalize_modulate = Kernel(_forward, _backward)
