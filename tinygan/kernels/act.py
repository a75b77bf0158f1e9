"""Activations: leaky ReLU (with slope 0: ReLU) and its gradient.

y = gain * leaky(x),  leaky(x) = x where x > 0, else slope * x
"""

from tinygan.backend import xp

from . import kernel
from .linear import sum_to


@kernel
def leaky_relu(x, slope, gain=1.0, bias=None):
    """Return gain * leaky(x + bias).

    slope: between 0 and 1. gain: positive. bias (C,): one number for each channel, the last axis.
    """
    x = x if bias is None else x + bias
    return gain * xp.maximum(x, slope * x if slope else 0)  # 0 times infinity would be NaN


@kernel
def leaky_relu_gradient(g, y, slope, gain=1.0):
    """Return g times the derivative of leaky_relu, whose result is y.

    The derivative is gain where y > 0, else gain * slope.
    """
    return xp.where(y > 0, gain * g, gain * slope * g)


@kernel
def bias_act(x, bias, slope, gain):
    """Return y = gain * leaky(x + bias), and what its gradient needs (see linear.py)."""
    y = leaky_relu(x, slope, gain, bias)
    return y, (y, slope, gain)


@kernel
def bias_act_gradient(g, saved, needed):
    """Return the gradients of x and bias."""
    dx = leaky_relu_gradient(g, *saved)
    return dx, sum_to(dx, dx.shape[-1:]) if needed[1] else None
