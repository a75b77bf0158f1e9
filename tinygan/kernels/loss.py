"""Functions that losses consist of, in forms that neither overflow nor lose small values."""

from tinygan.backend import xp

from . import kernel


@kernel
def softplus(x):
    """Return log(1 + exp(x)), as max(x, 0) + log1p(exp(-|x|))."""
    return xp.log1p(xp.exp(-xp.abs(x))) + xp.maximum(x, 0)


@kernel
def sigmoid(x):
    """Return 1 / (1 + exp(-x)), as (1 + tanh(x / 2)) / 2: tanh cannot overflow."""
    return 0.5 * xp.tanh(0.5 * x) + 0.5


@kernel
def binary_cross_entropy(x, target):
    """Return the mean of softplus(x) - target * x, and what its gradient needs (see linear.py).

    x: logits. target: an array of x's shape.
    """
    return (softplus(x) - target * x).mean(), (x, target)


@kernel
def binary_cross_entropy_gradient(g, saved, needed):
    """Return the gradients of x and target."""
    x, target = saved
    g = g / x.size
    return (sigmoid(x) - target) * g if needed[0] else None, -x * g if needed[1] else None
