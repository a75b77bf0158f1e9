"""Normalisation, a block at a time.

The kinds of normalisation differ in which vectors (mean, inv_std, scale, shift) the images of a
batch share, and which each image has for itself. So x is seen as (images, pixels, channels) and a
vector as (1 or images, channels); where the images share all, the whole batch is one image of many
pixels.

`_walk` goes through that in blocks: one walk for the statistics, one for the values, and as many
backward. Other axes, other shapes of scale and shift, and small arrays take the general way, whole
arrays at a time.
"""

import functools
import math

import numpy as np

from .. import fast, norm
from ..linear import sum_to
from . import parallel
from .parallel import scratch

WIDTH = 2048  # numbers in a row, at most: neighbouring pixels with few channels make one row
BUFFER = 512  # rows as long as this gain from doing without NumPy's buffer


def _view(shape, axes, *vectors):
    """The (images, pixels, channels) as which to see x of this shape; None if it has to go the general way."""
    over_batch, over_image = (axes == tuple(range(first, len(shape) - 1)) for first in (0, 1))
    if math.prod(shape) <= parallel.SMALL or not axes or not (over_batch or over_image):
        return None
    shared, own = shape[-1:], (shape[0], *(1,) * (len(shape) - 2), shape[-1])
    shapes = {vector.shape for vector in vectors if vector is not None}
    images = 1 if over_batch and shapes <= {shared} else shape[0]
    pixels = math.prod(shape[:-1]) // images
    if not shapes <= {shared, own} or pixels == 1:  # vectors as many as pixels are no vectors
        return None
    return images, pixels, shape[-1]


@functools.lru_cache
def _together(pixels, channels):
    """How many neighbours go into one row, because NumPy starts anew at every row.

    Vectors are repeated as often; against a seventh of an image (7x7: a row) that costs little.
    """
    return next(
        (t for t in range(min(WIDTH // channels, pixels // 7), 1, -1) if pixels % t == 0), 1
    )


def _walk(function, view, arrays, vectors=()):
    """Call function(*blocks of arrays, *vectors) over all blocks of some arrays, seen as `view`.

    A block is a few images, or rows of one image: (n, rows, width). vectors (1 or images, C) arrive as (1 or n, 1,
    width), to broadcast. What the function returns, matrices (n, C), is put together: (images, blocks of each, C).
    """
    images, pixels, channels = view
    width = channels * _together(pixels, channels)
    rows = pixels * channels // width
    arrays = [
        array.reshape(images, rows, width) for array in arrays
    ]  # copies if need be; what is written is whole
    stretches = parallel.blocks(rows, max(1, parallel.BLOCK // width))
    parts = [
        (some, stretch)
        for some in parallel.blocks(images, max(1, parallel.BLOCK // (rows * width)))
        for stretch in stretches
    ]
    results = [None] * len(parts)

    def work(i):
        mine = [vector if len(vector) == 1 else vector[parts[i][0]] for vector in vectors]
        results[i] = function(
            *(array[parts[i]] for array in arrays), *(_repeat(vector, width) for vector in mine)
        )

    with np.errstate():  # which also gives the buffer its old size at the end
        if width >= BUFFER:
            # NumPy 2.4 copies a row that it broadcasts into its buffer (8192 numbers) over and over, unless the
            # buffer is no longer than the row: 6.8 -> 4.8 us for 32 rows of 1024.
            np.setbufsize(BUFFER)
        parallel.run(work, range(len(parts)), arrays[0].size > parallel.SHARED)
    if results[0] is not None:
        return [
            np.concatenate(result).reshape(images, len(stretches), -1) for result in zip(*results)
        ]


def _repeat(vectors, width):
    """(n, C) -> (n, 1, width)"""
    n, channels = vectors.shape
    return vectors[:, None].repeat(width // channels, 1).reshape(n, 1, width)


def _sums(x, channels):
    """The sums over pixels of a block: (n, rows, width) -> (n, C). Products with ones, as `linear.row_sums`."""
    n, rows, width = x.shape
    sums = np.matmul(np.ones(rows, x.dtype), x)
    return sums if width == channels else sums.reshape(n, -1, channels).sum(1)


@fast(norm.moments)
def moments(x, axes):
    norm.refuse_empty_batch(x, axes)
    view = _view(x.shape, axes)
    if view is not None:
        return _block_moments(x, axes, view)
    mean = x.mean(axes, keepdims=True)
    centred = x - mean
    centred *= centred
    return mean, centred.mean(axes, keepdims=True)


def _block_moments(x, axes, view):
    """Moments of blocks, put together (Chan, Golub and LeVeque 1979)."""
    _, pixels, channels = view

    def block(x):
        count = np.full((len(x), 1), x[0].size // channels, x.dtype)
        mean = _sums(x, channels) / count
        centred = np.subtract(
            x, _repeat(mean, x.shape[2]), out=scratch("centred", x.shape, x.dtype)
        )
        np.multiply(centred, centred, out=centred)
        return count, mean, _sums(centred, channels)

    counts, means, squares = _walk(block, view, [x])
    mean = (counts * means).sum(1, keepdims=True) / x.dtype.type(pixels)
    squares += counts * (means - mean) ** 2
    shape = [1 if axis in axes else n for axis, n in enumerate(x.shape)]
    return mean.reshape(shape), (squares.sum(1) / x.dtype.type(pixels)).reshape(shape)


def _matrices(channels, *vectors):
    """Vectors of all shapes as (1 or images, C)."""
    return [None if vector is None else vector.reshape(-1, channels) for vector in vectors]


@fast(norm.normalize)
def normalize(x, scale, shift, axes, eps, statistics=None):
    mean, var = moments(x, axes) if statistics is None else statistics
    inv_std = 1 / np.sqrt(var + x.dtype.type(eps))
    saved = x, mean, inv_std, scale, shift, axes
    view = _view(x.shape, axes, scale, shift)
    if view is not None:
        return _block_values(view, *saved[:-1]), saved
    y = x - mean
    y *= inv_std
    if scale is not None:
        y *= scale
    if shift is not None:
        y += shift
    return y, saved


def _block_values(view, x, mean, inv_std, scale, shift):
    mean, inv_std, scale, shift = _matrices(view[2], mean, inv_std, scale, shift)
    y = np.empty(x.shape, x.dtype)

    def block(x, y, mean, size, *shift):
        np.subtract(x, mean, out=y)
        y *= size
        if shift:
            y += shift[0]

    size = inv_std if scale is None else inv_std * scale
    _walk(block, view, [x, y], [mean, size, *([] if shift is None else [shift])])
    return y


@fast(norm.normalize_gradient)
def normalize_gradient(g, saved, needed):
    x, mean, inv_std, scale, shift, axes = saved
    # Both statistics depend on x: take out of the gradient its mean, and its part along y.
    view = _view(x.shape, axes, scale, shift)
    if view is not None:
        return _block_backward(view, g, *saved[:-1], needed)
    y = x - mean
    y *= inv_std
    dscale = sum_to(g * y, scale.shape) if needed[1] else None
    dshift = sum_to(g, shift.shape) if needed[2] else None
    if not needed[0]:
        return None, dscale, dshift
    dx = g * scale if scale is not None else g.copy()
    along = (dx * y).mean(axes, keepdims=True)
    dx -= dx.mean(axes, keepdims=True)
    y *= along
    dx -= y
    dx *= inv_std
    return dx, dscale, dshift


def _block_backward(view, g, x, mean, inv_std, scale, shift, needed):
    channels = view[2]
    mean, inv_std, factor = _matrices(channels, mean, inv_std, scale)

    def sums(x, g, mean):
        y = np.subtract(x, mean, out=scratch("centred", x.shape, x.dtype))
        y *= g
        return _sums(g, channels), _sums(y, channels)

    def gradient(sums, vector):
        return sum_to(sums, (vector.size // channels, channels)).reshape(vector.shape)

    total, along = (parts.sum(1) for parts in _walk(sums, view, [x, g], [mean]))  # of each image
    along *= inv_std
    dscale, dshift = (
        gradient(along, scale) if needed[1] else None,
        gradient(total, shift) if needed[2] else None,
    )
    if not needed[0]:
        return None, dscale, dshift
    if factor is not None:
        total, along = total * factor, along * factor
    n = x.dtype.type(x.size // mean.size)
    total, along = (
        sum_to(total, mean.shape) * inv_std / n,
        sum_to(along, mean.shape) * inv_std**2 / n,
    )
    dx = np.empty(x.shape, x.dtype)

    def block(x, g, dx, mean, along, total, size):
        y = np.subtract(x, mean, out=scratch("centred", x.shape, x.dtype))
        y *= along
        y += total
        np.multiply(g, size, out=dx)
        dx -= y

    _walk(
        block,
        view,
        [x, g, dx],
        [mean, along, total, inv_std if factor is None else inv_std * factor],
    )
    return dx, dscale, dshift
