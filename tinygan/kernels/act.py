"""Activations: leaky ReLU (with slope 0: ReLU) and its gradient; the parts of GELU.

y = gain * leaky(x),  leaky(x) = x where x > 0, else slope * x
"""

import numpy as np

from tinygan import backend
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


@kernel
def normal_cdf(x, k):
    """Return x^k times the probability Phi(x) that a standard normal number is less than x, for k =
    0 or 1.

    On the left, Phi(x) = exp(-x^2 / 2) erfcx(-x / sqrt(2)) / 2, where erfcx(a) = exp(a^2) erfc(a)
    has no small values to lose; on the right, it is 1 - Phi(-x).
    """
    root, size = _root_of_exponential(x)
    scaled = 0.5 * backend.special("erfcx")(size * 0.5**0.5) * root
    left = xp.clip(x, -FAR, FAR) if k else 1  # infinity * 0 would be NaN
    right = x if k else 1
    return xp.where(x > 0, right * (1 - scaled * root), left * scaled * root)


@kernel
def normal_density(x, k):
    """Return x^k times the density exp(-x^2 / 2) / sqrt(2 pi) of standard normal numbers."""
    root, _ = _root_of_exponential(x)
    return xp.clip(x, -FAR, FAR) ** k * (root * (2 * np.pi) ** -0.5) * root


FAR = 50  # exp(-x^2 / 2) is 0 there, and exp(-x^2 / 4) is not, in float64


def _root_of_exponential(x):
    """Return exp(-x^2 / 4), whose square may underflow before x times the square does; and |x|,
    which counts as FAR if it is larger.

    The rounding of x^2 would change the result by up to 10 units in the last place. So x is a
    multiple of 1/16, whose square is exact, and a small rest.
    """
    size = xp.minimum(xp.abs(x), FAR)
    multiple = xp.round(size * 16) * 0.0625
    return xp.exp(-0.25 * multiple * multiple) * xp.exp(
        -0.25 * (size - multiple) * (size + multiple)
    ), size
