"""Normalisation, one block at a time.

The kinds of normalisation differ in which vectors (mean, inv_std, scale, shift) the images of a
batch share, and which each image has for itself. So x is viewed as (images, pixels, channels), and
a vector as (1 or images, channels). Where the images share all vectors, the whole batch counts as
one image of many pixels.

`_for_each_block` goes through this view in blocks: forward once for the statistics and once for y,
backward once for the sums and once for dx. Other axes, other shapes of scale and shift, and small
arrays are computed on whole arrays.
"""

import functools
import math

import numpy as np

from tinygan.backend import xp

from .. import fast
from .. import normalize as plain
from ..linear import mean_over, sum_over, sum_to
from . import parallel
from .linear import row_sums
from .parallel import nothing, scratch

WIDTH = 2048  # numbers in a row, at most: neighbouring pixels with few channels share a row
# Standard deviations from which the rounding error of a mean so far from 0 matters.
FAR_FROM_0 = 4
BUFFER = 512  # the row length from which it pays to shrink NumPy's buffer


def _view(shape, axes, *vectors):
    """Return the shape (images, pixels, channels) in which to view x, or None to compute on whole
    arrays."""
    over_batch, over_image = (axes == tuple(range(first, len(shape) - 1)) for first in (0, 1))
    if math.prod(shape) <= parallel.SMALL or not axes or not (over_batch or over_image):
        return None
    shared, per_image = shape[-1:], (shape[0], *(1,) * (len(shape) - 2), shape[-1])
    shapes = {vector.shape for vector in vectors if vector is not None}
    images = 1 if over_batch and shapes <= {shared} else shape[0]
    pixels = math.prod(shape[:-1]) // images
    if not shapes <= {shared, per_image} or pixels == 1:  # one pixel: vectors as large as x
        return None
    return images, pixels, shape[-1]


@functools.lru_cache
def _pixels_per_row(pixels, channels):
    """Return how many neighbouring pixels share a row, because NumPy starts anew at every row.

    Vectors are repeated to the length of a row. It is at most a seventh of an image (of 7x7: one
    line of pixels), so this costs little.
    """
    largest = min(WIDTH // channels, pixels // 7)
    return next((t for t in range(largest, 1, -1) if pixels % t == 0), 1)


def _for_each_block(function, view, arrays, vectors=()):
    """Call function(*blocks of the arrays, *vectors) for every block of the arrays, in this view.

    A block is some images, or some rows of one image: (n, rows, width). The vectors (1 or images,
    C) arrive as (1 or n, 1, width), to broadcast over it. If the function returns matrices (n, C),
    they are joined and returned: (images, blocks of an image, C).
    """
    images, pixels, channels = view
    width = channels * _pixels_per_row(pixels, channels)
    rows = pixels * channels // width
    # This may copy arrays that are read; those that are written are C-contiguous.
    arrays = [array.reshape(images, rows, width) for array in arrays]
    row_parts = parallel.blocks(rows, max(1, parallel.BLOCK // width))
    parts = [
        (image_part, row_part)
        for image_part in parallel.blocks(images, max(1, parallel.BLOCK // (rows * width)))
        for row_part in row_parts
    ]
    results = [None] * len(parts)

    def work(i):
        own = [vector if len(vector) == 1 else vector[parts[i][0]] for vector in vectors]
        results[i] = function(
            *(array[parts[i]] for array in arrays), *(_repeat(vector, width) for vector in own)
        )

    with np.errstate():  # at its end, the buffer has its old size again
        if width >= BUFFER:
            # NumPy 2.4 copies a row that it broadcasts into its buffer (8192 numbers) again and
            # again, unless the buffer is at most as long as the row: 6.8 -> 4.8 us for 32 rows of
            # 1024.
            np.setbufsize(BUFFER)
        parallel.run(work, range(len(parts)), arrays[0].size > parallel.SHARED)
    if results[0] is not None:
        return [
            np.concatenate(result).reshape(images, len(row_parts), -1) for result in zip(*results)
        ]


def _repeat(vectors, width):
    """Repeat vectors (n, C) to rows: (n, 1, width)."""
    n, channels = vectors.shape
    return vectors[:, None].repeat(width // channels, 1).reshape(n, 1, width)


def _sums(x, channels):
    """Return the sums over the pixels of a block: (n, rows, width) -> (n, C)."""
    if channels == 1:
        return sum_over(x, (1, 2)).reshape(-1, 1)
    sums = row_sums(x)
    if x.shape[2] == channels:
        return sums
    return row_sums(sums.reshape(len(x), -1, channels))


@fast(plain.moments)
def moments(x, axes):
    plain.check_not_empty(x, axes)
    view = _view(x.shape, axes)
    if view is not None:
        return _moments_in_blocks(x, axes, view)
    mean = mean_over(x, axes)
    centred = x - mean
    rest = mean_over(centred, axes)
    centred -= rest
    centred *= centred
    return mean, rest, mean_over(centred, axes)


def _moments_in_blocks(x, axes, view):
    """Compute the moments of each block, then combine them (Chan, Golub and LeVeque 1979)."""
    _, pixels, channels = view

    def block(x):
        count = xp.full((len(x), 1), x[0].size // channels, x.dtype)
        mean = _sums(x, channels) / count
        centred = scratch("centred", x.shape, x.dtype)
        np.subtract(x, _repeat(mean, x.shape[2]), out=centred)
        squares = _sums(np.multiply(centred, centred, out=centred), channels)
        rest = xp.zeros_like(mean)

        def correct():
            np.subtract(x, _repeat(mean, x.shape[2]), out=centred)
            np.divide(_sums(centred, channels), count, out=rest)
            np.subtract(centred, _repeat(rest, x.shape[2]), out=centred)
            squares[...] = _sums(np.multiply(centred, centred, out=centred), channels)

        parallel.branch((count * mean**2 > FAR_FROM_0**2 * squares).any(), correct, nothing)
        return count, mean, rest, squares

    counts, means, rests, squares = _for_each_block(block, view, [x])
    average = lambda values: sum_over(values, (1,), True) / x.dtype.type(pixels)
    mean = average(counts * means)
    distances = means - mean + rests
    rest = average(counts * distances)
    var = average(squares + counts * (distances - rest) ** 2)
    shape = [1 if axis in axes else n for axis, n in enumerate(x.shape)]
    return mean.reshape(shape), rest.reshape(shape), var.reshape(shape)


def _as_matrices(channels, *vectors):
    """Return vectors of all shapes as (1 or images, C)."""
    return [None if vector is None else vector.reshape(-1, channels) for vector in vectors]


@fast(plain.safe_scale)
def safe_scale(x, axes, eps):
    """Most arrays can stay as they are; it takes little time to see that.

    The bounds leave room for the powers of the squares that derivatives contain.
    """
    info = np.finfo(x.dtype)
    largest = info.max**0.125
    if not x.size:
        return 1.0
    if eps <= info.tiny**0.25:
        return plain.safe_scale.__wrapped__(x, axes, eps)
    return parallel.branch(
        np.logical_and(x.min() > -largest, x.max() < largest),
        lambda: 1.0,
        lambda: plain.safe_scale.__wrapped__(x, axes, eps),
    )


@fast(plain.normalize)
def normalize(x, scale, shift, axes, eps, statistics=None):
    """y = (x - mean) * factor + shift: `rest` is subtracted from the shift, not from every x."""
    mean, rest, var = moments(x, axes) if statistics is None else statistics
    inv_std = 1 / np.sqrt(var + x.dtype.type(eps))
    saved = x, mean, rest, inv_std, scale, shift, axes
    view = _view(x.shape, axes, scale, shift)
    factor, lost = inv_std, rest * inv_std
    if scale is not None:
        factor, lost = factor * scale, lost * scale
    if shift is not None:
        shift = shift - lost
    if view is not None:
        y = _normalize_in_blocks(view, x, mean, factor, shift)
    else:
        y = x - mean
        y *= factor
        if shift is not None:
            y += shift
    if shift is None:

        def correct():
            np.subtract(y, lost, out=y)

        # Smaller ones do not change y.
        parallel.branch((np.abs(lost) > np.finfo(x.dtype).eps).any(), correct, nothing)
    return y, saved


def _normalize_in_blocks(view, x, mean, factor, shift):
    mean, factor, shift = _as_matrices(view[2], mean, factor, shift)
    y = xp.empty(x.shape, x.dtype)

    def block(x, y, mean, factor, *shift):
        np.subtract(x, mean, out=y)
        y *= factor
        if shift:
            y += shift[0]

    _for_each_block(block, view, [x, y], [mean, factor, *([] if shift is None else [shift])])
    return y


@fast(plain.normalize_gradient)
def normalize_gradient(g, saved, needed):
    x, mean, rest, inv_std, scale, shift, axes = saved
    view = _view(x.shape, axes, scale, shift)
    if view is not None:
        return _gradient_in_blocks(view, g, *saved[:-1], needed)
    normalized = x - mean
    normalized -= rest
    normalized *= inv_std
    dscale = sum_to(g * normalized, scale.shape) if needed[1] else None
    dshift = sum_to(g, shift.shape) if needed[2] else None
    if not needed[0]:
        return None, dscale, dshift
    dx = g * scale if scale is not None else g.copy()
    projection = mean_over(dx * normalized, axes)
    dx -= mean_over(dx, axes)
    normalized *= projection
    dx -= normalized
    dx *= inv_std
    return dx, dscale, dshift


def _gradient_in_blocks(view, g, x, mean, rest, inv_std, scale, shift, needed):
    channels = view[2]
    mean, rest, inv_std, factor = _as_matrices(channels, mean, rest, inv_std, scale)

    def sums(x, g, mean):
        product = np.subtract(x, mean, out=scratch("centred", x.shape, x.dtype))
        product *= g
        return _sums(g, channels), _sums(product, channels)

    def gradient(sums, vector):
        return sum_to(sums, (vector.size // channels, channels)).reshape(vector.shape)

    # The sums over each image, of g and of g * (x - mean).
    total, projection = (
        sum_over(parts, (1,)) for parts in _for_each_block(sums, view, [x, g], [mean])
    )
    projection -= rest * total
    projection *= inv_std
    dscale = gradient(projection, scale) if needed[1] else None
    dshift = gradient(total, shift) if needed[2] else None
    if not needed[0]:
        return None, dscale, dshift
    if factor is not None:
        total, projection = total * factor, projection * factor
    n = x.dtype.type(x.size // mean.size)
    projection = sum_to(projection, mean.shape) * inv_std**2 / n
    total = sum_to(total, mean.shape) * inv_std / n - rest * projection
    factor = inv_std if factor is None else inv_std * factor
    dx = xp.empty(x.shape, x.dtype)

    def block(x, g, dx, mean, projection, total, factor):
        lost = np.subtract(x, mean, out=scratch("centred", x.shape, x.dtype))
        lost *= projection
        lost += total
        np.multiply(g, factor, out=dx)
        dx -= lost

    _for_each_block(block, view, [x, g, dx], [mean, projection, total, factor])
    return dx, dscale, dshift
