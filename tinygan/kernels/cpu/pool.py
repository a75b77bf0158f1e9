"""Maxima over windows of NHWC images, in blocks of images.

Where the windows lie side by side, rows are compared first, a whole line of pixels and channels at a time, then
columns; short inner loops over a few channels are then left with half of the pixels or less.
"""

import numpy as np

from tinygan.backend import xp

from .. import fast, pool
from . import parallel


@fast(pool.largest)
def largest(x, kernel, stride):
    if kernel != stride:
        return pool.largest.__wrapped__(x, kernel, stride)
    return _by_images(lambda x: side_by_side(xp.maximum, x, kernel), x)


@fast(pool.spread)
def spread(g, x, y, kernel, stride):
    if kernel != stride:
        return pool.spread.__wrapped__(g, x, y, kernel, stride)
    return _by_images(lambda *images: spread_side_by_side(*images, kernel), g, x, y)


def spread_side_by_side(g, x, y, kernel):
    inside = x[:, : y.shape[1] * kernel[0], : y.shape[2] * kernel[1]]
    hit = xp.asarray(inside == pool.repeated(y, kernel), x.dtype)
    share = pool.repeated(g / side_by_side(xp.add, hit, kernel), kernel)
    share *= hit
    if inside.shape == x.shape:
        return share
    dx = xp.zeros(x.shape, x.dtype)
    dx[:, : inside.shape[1], : inside.shape[2]] = share
    return dx


def _by_images(function, *arrays):
    """function(*arrays), some images at a time."""
    n = len(arrays[0])
    if arrays[-1].size < parallel.SHARED // 4:
        return function(*arrays)
    parts = parallel.blocks(n, max(1, parallel.BLOCK * n // max(array.size for array in arrays)))
    results = [None] * len(parts)

    def block(i):
        results[i] = function(*(array[parts[i]] for array in arrays))

    parallel.run(block, range(len(parts)))
    return np.concatenate(results)


def side_by_side(combine, x, kernel):
    """combine, such as xp.maximum, over windows of x that lie side by side."""
    (kh, kw), (height, width) = kernel, x.shape[1:3]
    rows = [x[:, i : height // kh * kh : kh] for i in range(kh)]
    lines = _chain(combine, rows)
    return _chain(combine, [lines[:, :, j : width // kw * kw : kw] for j in range(kw)])


def _chain(combine, parts):
    if len(parts) == 1:
        return parts[0].copy()
    y = combine(parts[0], parts[1])
    for part in parts[2:]:
        combine(y, part, out=y)
    return y
