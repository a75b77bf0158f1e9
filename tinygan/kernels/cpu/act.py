"""Activations, a block at a time and without branches.

`where` and indexing with a mask take ten times as long as a multiplication, so the branch is arithmetic: the larger
of x and slope * x; and for the derivative a comparison, whose 0 or 1 becomes gain or gain * slope.
"""

import numpy as np

from .. import act, fast
from . import parallel
from .linear import sum_channels
from .parallel import scratch


@fast(act.leaky_relu)
def leaky_relu(x, slope, gain=1.0, bias=None):
    y = np.empty(x.shape, x.dtype)

    def block(x, y, bias=None):
        if bias is not None:
            x = np.add(x, bias, out=y)
        if (
            not slope
        ):  # `maximum` with a number, which has no vector loop, takes three times as long as `clip`
            np.clip(x, 0, np.inf, out=y)
            if gain != 1:
                np.multiply(y, gain, out=y)
            return
        low = scratch("low", x.shape, x.dtype)
        np.multiply(x, gain * slope, out=low)
        np.maximum(x if gain == 1 else np.multiply(x, gain, out=y), low, out=y)

    parallel.elementwise(block, (x, y), () if bias is None else (bias,))
    return y


@fast(act.leaky_relu_gradient)
def leaky_relu_gradient(g, y, slope, gain=1.0):
    out = np.empty(g.shape, g.dtype)

    def block(g, y, out):
        slopes = scratch("low", g.shape, g.dtype)
        np.copyto(slopes, np.greater(y, 0, out=scratch("mask", g.shape, bool)))
        if gain != 1:
            np.multiply(slopes, gain, out=slopes)
        if slope:
            np.clip(slopes, gain * slope, gain, out=slopes)
        np.multiply(g, slopes, out=out)

    parallel.elementwise(block, (g, y, out))
    return out


@fast(act.bias_act)
def bias_act(x, bias, slope, gain):
    y = leaky_relu(x, slope, gain, bias)
    return y, (y, slope, gain)


@fast(act.bias_act_gradient)
def bias_act_gradient(g, saved, needed):
    dx = leaky_relu_gradient(g, *saved)
    return dx, sum_channels(dx) if needed[1] else None
