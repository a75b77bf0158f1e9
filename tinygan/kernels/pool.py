"""Maxima over windows of NHWC images, and pixels repeated. kernel, stride: pairs."""

import functools

from tinygan.backend import xp

from . import kernel
from .conv import taps


@kernel
def largest(x, kernel, stride):
    """The maximum of x (N, H, W, C) over each window."""
    return functools.reduce(xp.maximum, [x[tap] for tap in taps(x.shape[1:3], kernel, stride)])


@kernel
def spread(g, x, y, kernel, stride):
    """Take g, a number a window, back to the pixels that hold its maximum y; ties share it."""
    dx, places = xp.zeros(x.shape, x.dtype), taps(x.shape[1:3], kernel, stride)
    share = g / sum((x[tap] == y).astype(x.dtype) for tap in places)
    for tap in places:
        dx[tap] += share * (x[tap] == y)
    return dx


@kernel
def gather(h, x, y, kernel, stride):
    """The adjoint of `spread` in g: the mean of h over the pixels that hold a window's maximum."""
    places = taps(x.shape[1:3], kernel, stride)
    hits = [(x[tap] == y).astype(x.dtype) for tap in places]
    return sum(hit * h[tap] for hit, tap in zip(hits, places)) / sum(hits)


@kernel
def repeated(y, kernel):
    """Each pixel of y (N, H, W, C) kernel[0] x kernel[1] times."""
    return y.repeat(kernel[1], 2).repeat(kernel[0], 1)
