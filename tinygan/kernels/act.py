"""Activations. Every one is leaky: y = gain * (x where x > 0, else slope * x); relu has slope 0."""

from tinygan.backend import xp

from . import kernel
from .linear import sum_to


@kernel
def leaky_relu(x, slope, gain=1.0, bias=None):
    """gain * leaky(x + bias): 0 <= slope <= 1, gain > 0, bias (C,), one number a channel."""
    x = x if bias is None else x + bias
    return gain * xp.maximum(x, slope * x if slope else 0)  # 0 times infinity would not be 0


@kernel
def leaky_relu_gradient(g, y, slope, gain=1.0):
    """g times the derivative of leaky_relu: gain where its result y > 0, else gain * slope."""
    return xp.where(y > 0, gain * g, gain * slope * g)


@kernel
def bias_act(x, bias, slope, gain):
    """(gain * leaky(x + bias), what its gradient reads)."""
    y = leaky_relu(x, slope, gain, bias)
    return y, (y, slope, gain)


@kernel
def bias_act_gradient(g, saved, needed):
    """The gradients of x and of bias."""
    dx = leaky_relu_gradient(g, *saved)
    return dx, sum_to(dx, dx.shape[-1:]) if needed[1] else None
