"""Filtering as products with banded matrices, and warping in blocks of images."""

import functools
import math

import numpy as np

from .. import fast, warp
from . import parallel
from .parallel import scratch


@fast(warp.upfirdn2d)
def upfirdn2d(x, f, up, down, padding):
    """A filter that is an outer product, as almost all are, works on rows and on columns by itself, and along one
    axis it is a matrix: output pixels by input pixels, mostly zeros, which BLAS multiplies faster than anything
    else could skip them (16x16 -> 32x32, 64 channels, batch 32, by [1, 3, 3, 1]: 0.9 ms, tap by tap 31 ms).
    """
    n, height, width, channels = x.shape
    out = warp.filtered_size((height, width), f, up, down, padding)
    factors = outer_factors(f)
    if factors is None:
        return warp.upfirdn2d.__wrapped__(x, f, up, down, padding)
    by_row, by_column = factors
    rows = _bands(tuple(by_row), height, out[0], up[0], down[0], padding[2])
    columns = _bands(tuple(by_column), width, out[1], up[1], down[1], padding[0])
    y = np.empty((n, *out, channels), x.dtype)

    def block(images):
        part = x[images]
        lines = scratch("lines", (len(part), out[0], width * channels), x.dtype)
        for matrix, here, there in rows:
            source = part[:, here].reshape(len(part), -1, width * channels)
            np.matmul(np.asarray(matrix, x.dtype), source, out=lines[:, there])
        lines = lines.reshape(len(part), out[0], width, channels)
        for matrix, here, there in columns:
            np.matmul(np.asarray(matrix, x.dtype), lines[:, :, here], out=y[images, :, there])

    parts = parallel.blocks(n, max(1, BLOCK // max(1, out[0] * max(out[1], width) * channels)))
    parallel.run(block, parts, y.size + x.size > parallel.SHARED)
    return y


BLOCK = 1 << 18  # output pixels times channels that are filtered at a time
BAND = 16  # output pixels of a band: along a longer axis the matrix is cut, because off its diagonal it is zero


def outer_factors(f):
    """(by rows, by columns) with f = the outer product of the two, or None."""
    row, column = np.unravel_index(np.abs(f).argmax(), f.shape)
    if not f[row, column]:
        return f[:, 0], f[0]
    by_row, by_column = f[:, column], f[row] / f[row, column]
    return (
        (by_row, by_column)
        if np.allclose(np.outer(by_row, by_column), f, rtol=1e-14, atol=0)
        else None
    )


@functools.lru_cache(256)
def _bands(f, size, out, up, down, before):
    """[(matrix, input pixels, output pixels)] of the correlation with f along an axis of `size` pixels."""
    matrix, bands = filter_matrix(f, size, out, up, down, before), []
    for there in parallel.blocks(out, BAND):
        used = np.flatnonzero(matrix[there].any(0))
        here = slice(int(used[0]), int(used[-1]) + 1) if used.size else slice(0, 1)
        bands.append((np.ascontiguousarray(matrix[there, here]), here, there))
    return bands


def filter_matrix(f, size, out, up, down, before):
    """(out, size): the correlation with f along an axis of `size` pixels, `before` zeros in front of them."""
    f = np.array(f)
    position = np.arange(out)[:, None] * down - before  # of the first tap, on the zero-stuffed axis
    tap = np.arange(size)[None] * up - position
    return np.where((tap >= 0) & (tap < len(f)), f[np.clip(tap, 0, len(f) - 1)], 0.0)


@fast(warp.translate)
def translate(x, shifts):
    y, (height, width) = np.zeros(x.shape, x.dtype), x.shape[1:3]
    for image, source, (down, right) in zip(y, x, shifts.tolist()):
        rows = slice(max(down, 0), height + min(down, 0))
        columns = slice(max(right, 0), width + min(right, 0))
        if rows.start < rows.stop and columns.start < columns.stop:  # else all of it has moved out
            image[rows, columns] = source[
                rows.start - down : rows.stop - down, columns.start - right : columns.stop - right
            ]
    return y


@fast(warp.gather)
def gather(x, theta, size):
    n, height, width, channels = x.shape
    y = np.empty((n, *size, channels), x.dtype)

    def block(images):
        pixels, out = x[images].reshape(-1, channels), y[images].reshape(-1, channels)
        for i, (index, weight) in enumerate(
            warp.neighbours(theta[images], (height, width), size, x.dtype)
        ):
            value = np.take(pixels, index, 0)
            value *= weight
            if i:
                out += value
            else:
                out[...] = value

    _by_images(block, n, math.prod(size))
    return y


@fast(warp.scatter)
def scatter(g, shape, theta):
    n, height, width, channels = shape
    x = np.zeros(shape, g.dtype)

    def block(images):
        pixels, share = x[images].reshape(-1, channels), g[images].reshape(-1, channels)
        for index, weight in warp.neighbours(theta[images], (height, width), g.shape[1:3], g.dtype):
            value = share * weight
            for c in range(channels):  # several times as fast as np.add.at, and adds in float64
                pixels[:, c] += np.bincount(index, value[:, c], len(pixels))

    _by_images(block, n, g.shape[1] * g.shape[2])
    return x


WARP_BLOCK = 1 << 15  # output pixels that are sampled at a time


def _by_images(block, n, pixels):
    """Call block(slice of images)."""
    parallel.run(
        block,
        parallel.blocks(n, max(1, WARP_BLOCK // max(1, pixels))),
        n * pixels > parallel.SHARED,
    )
