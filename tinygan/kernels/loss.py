"""Losses on arrays, in forms that neither overflow nor lose small values."""

from tinygan.backend import xp

from . import kernel


@kernel
def softplus(x):
    """log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|))."""
    return xp.log1p(xp.exp(-xp.abs(x))) + xp.maximum(x, 0)


@kernel
def sigmoid(x):
    """1 / (1 + exp(-x)), through tanh, which cannot overflow."""
    return 0.5 * xp.tanh(0.5 * x) + 0.5


@kernel
def binary_cross_entropy(x, target):
    """(The mean of softplus(x) - target * x, what its gradient reads)."""
    return (softplus(x) - target * x).mean(), (x, target)


@kernel
def binary_cross_entropy_gradient(g, saved, needed):
    """The gradients of x and of target."""
    x, target = saved
    g = g / x.size
    return (sigmoid(x) - target) * g if needed[0] else None, -x * g if needed[1] else None
