"""Max pooling, in blocks of images.

Windows that lie side by side, here called tiles, can be pooled faster. Maxima are taken first over
the rows of a tile, a whole line of pixels and channels at a time. Then they are taken over its
columns: of the lines and the same lines moved by a pixel, which also computes the maxima of windows
between the tiles. But all of it is one long loop, instead of one short loop over the channels for
each tile. Of the results, those of the tiles are copied, each pixel as a whole.
"""

import math

import numpy as np

from tinygan.backend import xp

from .. import fast, pool
from . import parallel
from .parallel import scratch


def _are_tiles(kernel_size, stride):
    """Return whether windows lie side by side, and their pixels can be counted in 8 bits."""
    return kernel_size == stride and math.prod(kernel_size) < 256


@fast(pool.max_pool)
def max_pool(x, kernel_size, stride):
    if not _are_tiles(kernel_size, stride):
        return pool.max_pool.__wrapped__(x, kernel_size, stride)
    n, height, width, channels = x.shape
    y = xp.empty((n, height // stride[0], width // stride[1], channels), x.dtype)
    _in_image_blocks(lambda *blocks: _write_maxima(*blocks, kernel_size), x, y)
    return y


@fast(pool.max_pool_gradient)
def max_pool_gradient(g, x, y, kernel_size, stride):
    if not _are_tiles(kernel_size, stride):
        return pool.max_pool_gradient.__wrapped__(g, x, y, kernel_size, stride)
    dx = xp.empty(x.shape, x.dtype)
    height, width = y.shape[1] * stride[0], y.shape[2] * stride[1]
    dx[:, height:] = 0
    dx[:, :, width:] = 0

    def block(g, x, y, dx):
        maxima = pool.repeat_pixels(y, kernel_size)
        hit = np.equal(x, maxima)
        count = reduce_tiles(np.add, hit.view(np.uint8), kernel_size)
        share = pool.repeat_pixels(g / count, kernel_size)
        np.copyto(maxima, hit)  # as numbers, in memory that is no longer needed
        np.multiply(maxima, share, out=dx)

    _in_image_blocks(block, g, x[:, :height, :width], y, dx[:, :height, :width])
    return dx


def _in_image_blocks(function, *arrays):
    """Call function(*blocks) on matching blocks of images of all arrays."""
    n, largest = len(arrays[0]), max(array.size for array in arrays)
    if largest <= parallel.BLOCK:
        return function(*arrays)
    parts = parallel.blocks(n, max(1, parallel.BLOCK * n // largest))
    parallel.run(lambda part: function(*(array[part] for array in arrays)), parts)


def _write_maxima(x, y, kernel_size):
    """Write the maxima of the tiles of x into y, which is C-contiguous."""
    (kh, kw), (n, rows, columns, channels) = kernel_size, y.shape
    if channels == 1 or x.size <= parallel.SMALL:
        y[...] = reduce_tiles(np.maximum, x, kernel_size)
        return
    lines = scratch("lines", (n, rows, x.shape[2], channels), x.dtype)
    _reduce(np.maximum, [x[:, i : rows * kh : kh] for i in range(kh)], lines)
    windows = scratch("windows", lines.shape, x.dtype)  # beginning at every pixel of `lines`
    flat, end = lines.reshape(-1), lines.size - (kw - 1) * channels
    moved = [flat[j * channels : j * channels + end] for j in range(kw)]
    _reduce(np.maximum, moved, windows.reshape(-1)[:end])
    _whole_pixels(y)[...] = _whole_pixels(windows)[:, :, : columns * kw : kw]


def _whole_pixels(x):
    """Return a view of x (N, H, W, C) whose elements are whole pixels: (N, H, W)."""
    return x.view(np.dtype((np.void, x.shape[3] * x.itemsize)))[..., 0]


def reduce_tiles(combine, x, kernel_size):
    """Combine the pixels of each tile of x, by a function such as np.maximum."""
    (kh, kw), (height, width) = kernel_size, x.shape[1:3]
    lines = _reduce(combine, [x[:, i : height // kh * kh : kh] for i in range(kh)])
    return _reduce(combine, [lines[:, :, j : width // kw * kw : kw] for j in range(kw)])


def _reduce(combine, parts, out=None):
    """Return combine(... combine(parts[0], parts[1]) ...), in `out` or in new memory."""
    if len(parts) == 1:
        if out is None:
            return parts[0].copy()
        out[...] = parts[0]
        return out
    y = combine(parts[0], parts[1], out=out)
    for part in parts[2:]:
        combine(y, part, out=y)
    return y
