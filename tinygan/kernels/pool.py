"""Max pooling of NHWC images, and repeating pixels. kernel_size, stride: pairs (rows, columns)."""

import functools

from tinygan.backend import xp

from . import kernel
from .conv import taps


@kernel
def max_pool(x, kernel_size, stride):
    """Return the maximum of x (N, H, W, C) over each window: (N, OH, OW, C)."""
    return functools.reduce(xp.maximum, [x[tap] for tap in taps(x.shape[1:3], kernel_size, stride)])


@kernel
def max_pool_gradient(g, x, y, kernel_size, stride):
    """Return the gradient of x: g of a window goes to the pixels that hold its maximum y.

    Pixels that tie share it equally.
    """
    dx, positions = xp.zeros(x.shape, x.dtype), taps(x.shape[1:3], kernel_size, stride)
    share = g / sum((x[tap] == y).astype(x.dtype) for tap in positions)
    for tap in positions:
        dx[tap] += share * (x[tap] == y)
    return dx


@kernel
def max_pool_gradient_adjoint(h, x, y, kernel_size, stride):
    """The adjoint of `max_pool_gradient` as a map of g.

    It is, for each window, the mean of h (N, H, W, C) over the pixels that hold its maximum y.
    """
    positions = taps(x.shape[1:3], kernel_size, stride)
    hits = [(x[tap] == y).astype(x.dtype) for tap in positions]
    return sum(hit * h[tap] for hit, tap in zip(hits, positions)) / sum(hits)


@kernel
def repeat_pixels(y, times):
    """Enlarge y (N, H, W, C): each pixel becomes a block of times[0] x times[1] equal pixels."""
    return y.repeat(times[1], 2).repeat(times[0], 1)
