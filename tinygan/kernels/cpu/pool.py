"""Max pooling, in blocks of images.

Windows that lie side by side, here called tiles, can be pooled faster: maxima are taken first over
the rows of a tile, a whole line of pixels and channels at a time, and then over its columns. The
short inner loops over a few channels then run over half of the pixels or fewer.
"""

import numpy as np

from tinygan.backend import xp

from .. import fast, pool
from . import parallel


@fast(pool.max_pool)
def max_pool(x, kernel_size, stride):
    if kernel_size != stride:
        return pool.max_pool.__wrapped__(x, kernel_size, stride)
    return _in_image_blocks(lambda x: reduce_tiles(xp.maximum, x, kernel_size), x)


@fast(pool.max_pool_gradient)
def max_pool_gradient(g, x, y, kernel_size, stride):
    if kernel_size != stride:
        return pool.max_pool_gradient.__wrapped__(g, x, y, kernel_size, stride)
    return _in_image_blocks(lambda *images: gradient_of_tiles(*images, kernel_size), g, x, y)


def gradient_of_tiles(g, x, y, kernel_size):
    """Return max_pool_gradient for windows that lie side by side."""
    covered = x[:, : y.shape[1] * kernel_size[0], : y.shape[2] * kernel_size[1]]
    hit = xp.asarray(covered == pool.repeat_pixels(y, kernel_size), x.dtype)
    share = pool.repeat_pixels(g / reduce_tiles(xp.add, hit, kernel_size), kernel_size)
    share *= hit
    if covered.shape == x.shape:
        return share
    dx = xp.zeros(x.shape, x.dtype)
    dx[:, : covered.shape[1], : covered.shape[2]] = share
    return dx


def _in_image_blocks(function, *arrays):
    """Return function(*arrays), computed for a block of images at a time."""
    n = len(arrays[0])
    if arrays[-1].size < parallel.SHARED // 4:
        return function(*arrays)
    parts = parallel.blocks(n, max(1, parallel.BLOCK * n // max(array.size for array in arrays)))
    results = [None] * len(parts)

    def block(i):
        results[i] = function(*(array[parts[i]] for array in arrays))

    parallel.run(block, range(len(parts)))
    return np.concatenate(results)


def reduce_tiles(combine, x, kernel_size):
    """Combine the pixels of each tile of x, by a function such as xp.maximum."""
    (kh, kw), (height, width) = kernel_size, x.shape[1:3]
    rows = [x[:, i : height // kh * kh : kh] for i in range(kh)]
    lines = _reduce(combine, rows)
    return _reduce(combine, [lines[:, :, j : width // kw * kw : kw] for j in range(kw)])


def _reduce(combine, parts):
    """Return combine(... combine(parts[0], parts[1]) ...), in new memory."""
    if len(parts) == 1:
        return parts[0].copy()
    y = combine(parts[0], parts[1])
    for part in parts[2:]:
        combine(y, part, out=y)
    return y
