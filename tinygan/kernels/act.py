"""Activations on arrays. Every one is leaky: y = gain * (x where x > 0, else slope * x), relu with slope 0.

`where` and indexing with a mask take ten times as long as a multiplication, so the branch is arithmetic: the larger
of x and slope * x; and for the derivative a comparison, whose 0 or 1 becomes gain or gain * slope.
"""

from tinygan.backend import on_cpu, xp

from . import Kernel
from .cpu import parallel
from .cuda import gpu
from .linear import sum_channels
from .cpu.windows import scratch


def leaky_relu(x, slope, gain=1.0, bias=None):
    """gain * leaky(x + bias), with 0 <= slope <= 1 and gain > 0; bias: (C,), one number a channel."""
    if not on_cpu():
        return gpu.leaky_relu(x, 0.0 if bias is None else bias, slope, gain)
    y = xp.empty(x.shape, x.dtype)

    def block(x, y, bias=None):
        if bias is not None:
            x = xp.add(x, bias, out=y)
        if not slope:  # `maximum` with a number, which has no vector loop, takes three times as long as `clip`
            xp.clip(x, 0, xp.inf, out=y)
            if gain != 1:
                xp.multiply(y, gain, out=y)
            return
        low = scratch("low", x.shape, x.dtype)
        xp.multiply(x, gain * slope, out=low)
        xp.maximum(x if gain == 1 else xp.multiply(x, gain, out=y), low, out=y)

    parallel.elementwise(block, (x, y), () if bias is None else (bias,))
    return y


def gate(g, y, slope, gain=1.0):
    """g times the derivative of leaky_relu, told from the sign of its result y: gain where y > 0, else gain * slope."""
    if not on_cpu():
        return gpu.gate(g, y, slope, gain)
    out = xp.empty(g.shape, g.dtype)

    def block(g, y, out):
        slopes = scratch("low", g.shape, g.dtype)
        xp.copyto(slopes, xp.greater(y, 0, out=scratch("mask", g.shape, bool)))
        if gain != 1:
            xp.multiply(slopes, gain, out=slopes)
        if slope:
            xp.clip(slopes, gain * slope, gain, out=slopes)
        xp.multiply(g, slopes, out=out)

    parallel.elementwise(block, (g, y, out))
    return out


def _forward(x, bias, slope, gain):
    y = leaky_relu(x, slope, gain, bias)
    return y, (y, slope, gain)


def _backward(g, saved, needed):
    dx = gate(g, *saved)
    return dx, sum_channels(dx) if needed[1] else None


bias_act = Kernel(_forward, _backward)
