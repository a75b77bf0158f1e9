"""Filters as products with banded matrices, and affine maps in blocks of images."""

import math

import numpy as np

from tinygan.backend import constants, xp

from .. import fast, warp
from . import parallel
from .parallel import scratch
from .recording import whole

BLOCK = 1 << 18  # output pixels times channels that are filtered at a time
BAND = 16  # output pixels in a band of a filter matrix
WARP_BLOCK = 1 << 15  # output pixels that are sampled at a time


@fast(warp.upfirdn2d)
def upfirdn2d(x, f, up, down, padding):
    """Filter rows and columns separately, as products with matrices.

    Almost every filter is an outer product, so rows and columns can be filtered one after the
    other. Along one axis the filter is a matrix (output pixels, input pixels) of mostly zeros. BLAS
    multiplies these zeros faster than anything else could skip them: 16x16 -> 32x32, 64 channels,
    batch 32, by [1, 3, 3, 1] takes 0.9 ms, and 31 ms tap by tap.
    """
    n, height, width, channels = x.shape
    plan = _plan(f.tobytes(), f.shape, f.dtype, (height, width), up, down, tuple(padding), x.dtype)
    if plan is None:
        return warp.upfirdn2d.__wrapped__(x, f, up, down, padding)
    out, rows, columns = plan
    y = xp.empty((n, *out, channels), x.dtype)

    def block(images):
        part = x[images]
        lines = scratch("lines", (len(part), out[0], width * channels), x.dtype)
        for matrix, inputs, outputs in rows:
            source = part[:, inputs].reshape(len(part), -1, width * channels)
            np.matmul(matrix, source, out=lines[:, outputs])
        lines = lines.reshape(len(part), out[0], width, channels)
        for matrix, inputs, outputs in columns:
            np.matmul(matrix, lines[:, :, inputs], out=y[images, :, outputs])

    parts = parallel.blocks(n, max(1, BLOCK // max(1, out[0] * max(out[1], width) * channels)))
    parallel.run(block, parts, y.size + x.size > parallel.SHARED)
    return y


@constants
def _plan(f_bytes, f_shape, f_dtype, size, up, down, padding, dtype):
    """Return (size of the result, bands for the rows, bands for the columns), or None if f is not
    an outer product. size: rows and columns of the images.

    A network filters the same few shapes at every step, and a plan takes as long as filtering a
    small image. So the plans are kept.
    """
    f = np.frombuffer(f_bytes, f_dtype).reshape(f_shape)
    out = warp.filtered_size(size, f, up, down, padding)
    factors = outer_factors(f)
    if factors is None:
        return None
    by_row, by_column = factors
    left, _, top, _ = padding
    rows = _bands(by_row, size[0], out[0], up[0], down[0], top, dtype)
    columns = _bands(by_column, size[1], out[1], up[1], down[1], left, dtype)
    return out, rows, columns


def outer_factors(f):
    """Return (by_row, by_column), whose outer product is f, or None if f is not an outer
    product."""
    row, column = np.unravel_index(np.abs(f).argmax(), f.shape)
    if not f[row, column]:
        return f[:, 0], f[0]
    by_row, by_column = f[:, column], f[row] / f[row, column]
    separable = np.allclose(np.outer(by_row, by_column), f, rtol=1e-14, atol=0)
    return (by_row, by_column) if separable else None


def _bands(f, size, out, up, down, padding, dtype):
    """Return `filter_matrix` in bands: [(matrix, slice of input pixels, slice of output pixels)].

    Away from its diagonal the matrix of a long axis is zero. Each band holds only the inputs that
    its outputs depend on.
    """
    matrix, bands = filter_matrix(f, size, out, up, down, padding), []
    for outputs in parallel.blocks(out, BAND):
        used = np.flatnonzero(matrix[outputs].any(0))
        inputs = slice(int(used[0]), int(used[-1]) + 1) if used.size else slice(0, 1)
        bands.append((np.ascontiguousarray(matrix[outputs, inputs], dtype), inputs, outputs))
    return bands


def filter_matrix(f, size, out, up, down, padding):
    """Return the matrix (out, size) of upfirdn2d along one axis of `size` pixels.

    padding: zeros before the first pixel.
    """
    f = np.array(f)
    # Where the first tap of each output lies on the axis with up - 1 zeros after each pixel.
    position = np.arange(out)[:, None] * down - padding
    tap = np.arange(size)[None] * up - position
    return np.where((tap >= 0) & (tap < len(f)), f[np.clip(tap, 0, len(f) - 1)], 0.0)


@fast(warp.translate)
@whole()
def translate(x, shifts):
    y, (height, width) = xp.zeros(x.shape, x.dtype), x.shape[1:3]
    for image, source, (down, right) in zip(y, x, shifts.tolist()):
        rows = slice(max(down, 0), height + min(down, 0))
        columns = slice(max(right, 0), width + min(right, 0))
        if rows.start < rows.stop and columns.start < columns.stop:  # else no pixel remains
            image[rows, columns] = source[
                rows.start - down : rows.stop - down, columns.start - right : columns.stop - right
            ]
    return y


@fast(warp.affine_warp)
def affine_warp(x, theta, size):
    n, height, width, channels = x.shape
    y = xp.empty((n, *size, channels), x.dtype)

    def block(images):
        pixels, out = x[images].reshape(-1, channels), y[images].reshape(-1, channels)
        neighbours = warp.bilinear_neighbours(theta[images], (height, width), size, x.dtype)
        for i, (index, weight) in enumerate(neighbours):
            value = np.take(pixels, index, 0)
            value *= weight
            if i:
                out += value
            else:
                out[...] = value

    _for_image_blocks(block, n, math.prod(size))
    return y


@fast(warp.affine_warp_adjoint)
def affine_warp_adjoint(g, shape, theta):
    n, height, width, channels = shape
    x = xp.zeros(shape, g.dtype)

    def block(images):
        pixels, gradients = x[images].reshape(-1, channels), g[images].reshape(-1, channels)
        neighbours = warp.bilinear_neighbours(theta[images], (height, width), g.shape[1:3], g.dtype)
        for index, weight in neighbours:
            value = gradients * weight
            for c in range(channels):  # several times as fast as np.add.at, and adds in float64
                pixels[:, c] += np.bincount(index, value[:, c], len(pixels))

    _for_image_blocks(block, n, g.shape[1] * g.shape[2])
    return x


def _for_image_blocks(block, n, pixels):
    """Call block(slice of images) for all n images. pixels: output pixels of one image."""
    parts = parallel.blocks(n, max(1, WARP_BLOCK // max(1, pixels)))
    parallel.run(block, parts, n * pixels > parallel.SHARED)
