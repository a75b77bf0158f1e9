"""Losses on arrays, in forms that neither overflow nor lose small values."""

from tinygan.backend import on_cpu, xp

from . import Kernel
from .cuda import gpu


def softplus(x):
    """log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|))."""
    if not on_cpu():
        return gpu.softplus(x)
    y = xp.empty_like(x)  # not xp.abs(x): of a 0-d array that is a scalar, which no `out=` takes
    xp.abs(x, out=y)
    xp.negative(y, out=y)
    xp.exp(y, out=y)
    xp.log1p(y, out=y)
    y += xp.maximum(x, 0)
    return y


def sigmoid(x):
    """1 / (1 + exp(-x)), through tanh, which cannot overflow."""
    if not on_cpu():
        return gpu.sigmoid(x)
    y = xp.empty_like(x)
    xp.multiply(x, x.dtype.type(0.5), out=y)
    xp.tanh(y, out=y)
    y *= x.dtype.type(0.5)
    y += x.dtype.type(0.5)
    return y


def _forward(x, target):
    """Mean of softplus(x) - target * x."""
    y = softplus(x) - target * x if on_cpu() else gpu.cross_entropy(x, target)
    return y.mean(), (x, target)


def _backward(g, saved, needed):
    x, target = saved
    if not needed[0]:
        d = None
    else:
        d = (sigmoid(x) - target) * (g / x.size) if on_cpu() else gpu.cross_entropy_slope(x, target, g, x.size)
    return d, (-x * (g / x.size) if needed[1] else None)


binary_cross_entropy_with_logits = Kernel(_forward, _backward)
