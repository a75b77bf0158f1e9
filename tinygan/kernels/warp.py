"""Filtering with resampling, and bilinear warping, on arrays."""

import functools
import math

import numpy as np

from tinygan.backend import active, asarray, constants, on_cpu, xp

from .cpu import parallel
from .cuda import cublas, gpu
from .cpu.windows import scratch


def upfirdn2d(x, f, up, down, padding):
    """Correlate zero-stuffed, padded x (N, H, W, C) with f (rows, columns, a host array), keep every down-th pixel.

    A filter that is an outer product, as almost all are, works on rows and on columns by itself, and along one
    axis it is a matrix: output pixels by input pixels, mostly zeros, which BLAS multiplies faster than anything
    else could skip them (16x16 -> 32x32, 64 channels, batch 32, by [1, 3, 3, 1]: 0.9 ms, tap by tap 31 ms).
    """
    n, height, width, channels = x.shape
    left, right, top, bottom = padding
    out = ((height * up[0] + top + bottom - f.shape[0]) // down[0] + 1,
           (width * up[1] + left + right - f.shape[1]) // down[1] + 1)
    if min(out) < 1:
        raise ValueError(f"upfirdn2d: a filter of shape {f.shape} leaves nothing of images of {height}x{width} "
                         f"with up {up} and padding {padding}")
    factors = _outer_factors(f)
    if factors is None:
        return _by_taps(x, f, up, down, padding, out)
    by_row, by_column = factors
    if not on_cpu():
        rows = _device_matrix(active(), tuple(by_row), height, out[0], up[0], down[0], top, str(x.dtype))
        columns = _device_matrix(active(), tuple(by_column), width, out[1], up[1], down[1], left, str(x.dtype))
        y = cublas.matmul(rows, x.reshape(n, height, width * channels))
        return cublas.matmul(columns, y.reshape(n * out[0], width, channels)).reshape(n, *out, channels)
    rows = _bands(tuple(by_row), height, out[0], up[0], down[0], top)
    columns = _bands(tuple(by_column), width, out[1], up[1], down[1], left)
    y = xp.empty((n, *out, channels), x.dtype)

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


def _outer_factors(f):
    """(by rows, by columns) with f = the outer product of the two, or None."""
    row, column = np.unravel_index(np.abs(f).argmax(), f.shape)
    if not f[row, column]:
        return f[:, 0], f[0]
    by_row, by_column = f[:, column], f[row] / f[row, column]
    return (by_row, by_column) if np.allclose(np.outer(by_row, by_column), f, rtol=1e-14, atol=0) else None


@functools.lru_cache(256)
def _bands(f, size, out, up, down, before):
    """[(matrix, input pixels, output pixels)] of the correlation with f along an axis of `size` pixels."""
    matrix, bands = _matrix(f, size, out, up, down, before), []
    for there in parallel.blocks(out, BAND):
        used = np.flatnonzero(matrix[there].any(0))
        here = slice(int(used[0]), int(used[-1]) + 1) if used.size else slice(0, 1)
        bands.append((np.ascontiguousarray(matrix[there, here]), here, there))
    return bands


def _matrix(f, size, out, up, down, before):
    f = np.array(f)
    position = np.arange(out)[:, None] * down - before  # of the first tap, on the zero-stuffed axis
    tap = np.arange(size)[None] * up - position
    return np.where((tap >= 0) & (tap < len(f)), f[np.clip(tap, 0, len(f) - 1)], 0.0)


@constants
def _device_matrix(module, f, size, out, up, down, before, dtype):
    return asarray(_matrix(f, size, out, up, down, before), dtype)


def _by_taps(x, f, up, down, padding, out):
    n, height, width, channels = x.shape
    left, right, top, bottom = padding
    rows, columns = height * up[0] + top + bottom, width * up[1] + left + right
    stuffed = xp.zeros((n, rows, columns, channels), x.dtype)
    (y_from, y_to), (x_from, x_to) = _inside(height, up[0], top, rows), _inside(width, up[1], left, columns)
    if y_from < y_to and x_from < x_to:  # else the crop leaves nothing but padding
        stuffed[:, top + y_from * up[0]:top + (y_to - 1) * up[0] + 1:up[0],
                left + x_from * up[1]:left + (x_to - 1) * up[1] + 1:up[1]] = x[:, y_from:y_to, x_from:x_to]
    y = xp.zeros((n, *out, channels), x.dtype)
    for i in range(f.shape[0]):
        for j in range(f.shape[1]):
            if f[i, j]:
                y += stuffed[:, i:i + down[0] * out[0]:down[0], j:j + down[1] * out[1]:down[1]] * x.dtype.type(f[i, j])
    return y


def _inside(n, up, before, length):
    """The pixels start..stop of n that a negative padding does not crop away."""
    start = max(0, -(before // up))  # the first i with before + i * up >= 0
    stop = min(n, -(-(length - before) // up))  # past the last i with before + i * up < length
    return start, max(start, stop)


def translate(x, shifts):
    """x (N, H, W, C) moved by shifts (N, 2), integers; 0 comes in."""
    if on_cpu():
        y, (height, width) = xp.zeros(x.shape, x.dtype), x.shape[1:3]
        for image, source, (down, right) in zip(y, x, shifts.tolist()):
            rows, columns = slice(max(down, 0), height + min(down, 0)), slice(max(right, 0), width + min(right, 0))
            if rows.start < rows.stop and columns.start < columns.stop:  # else all of it has moved out
                image[rows, columns] = source[rows.start - down:rows.stop - down, columns.start - right:columns.stop - right]
        return y
    return gpu.translate(x, shifts)


def gather(x, theta, size):
    """Sample x (N, H, W, C) under the maps theta (N, 2, 3), a host array: (N, *size, C). See ops.affine_warp."""
    n, height, width, channels = x.shape
    y = xp.empty((n, *size, channels), x.dtype)

    def block(images):
        pixels, out = x[images].reshape(-1, channels), y[images].reshape(-1, channels)
        for i, (index, weight) in enumerate(_taps(theta[images], (height, width), size, x.dtype)):
            value = xp.take(pixels, index, 0)
            value *= weight
            if i:
                out += value
            else:
                out[...] = value

    _by_images(block, n, math.prod(size))
    return y


def scatter(g, shape, theta):
    """The adjoint of `gather`: add each pixel of g (N, OH, OW, C) back to where it was read, in an array of `shape`."""
    n, height, width, channels = shape
    x = xp.zeros(shape, g.dtype)

    def block(images):
        pixels, share = x[images].reshape(-1, channels), g[images].reshape(-1, channels)
        for index, weight in _taps(theta[images], (height, width), g.shape[1:3], g.dtype):
            value = share * weight
            if on_cpu():  # several times as fast as np.add.at, and adds in float64
                for c in range(channels):
                    pixels[:, c] += np.bincount(index, value[:, c], len(pixels))
            else:
                xp.add.at(pixels, index, value)

    _by_images(block, n, g.shape[1] * g.shape[2])
    return x


WARP_BLOCK = 1 << 15  # output pixels that are sampled at a time


def _by_images(block, n, pixels):
    """Call block(slice of images): on a GPU all at once."""
    if on_cpu():
        parallel.run(block, parallel.blocks(n, max(1, WARP_BLOCK // max(1, pixels))), n * pixels > parallel.SHARED)
    else:
        block(slice(0, n))


def _taps(theta, size, out_size, dtype):
    """Four (indices (P,) into the pixels of the images, weights (P, 1)), where P runs over all output pixels: where each
    reads, and how much."""
    (height, width), (out_height, out_width) = size, out_size
    across, down = ((np.arange(n) * 2 + 1) / n - 1 for n in (out_width, out_height))
    positions = []
    for row, n in ((1, height), (0, width)):  # theta maps to [-1, 1], pixel centres are whole numbers here
        a = theta[:, row] * (n / 2)
        a[:, 2] += (n - 1) / 2
        by_column, by_row = a[:, :1] * across, a[:, 1:2] * down + a[:, 2:]
        positions.append(asarray(by_column, dtype)[:, None, :] + asarray(by_row, dtype)[:, :, None])
    halves = []
    for position, n in zip(positions, (height, width)):
        first = xp.floor(position)
        share = position - first
        near = []
        for pixel, weight in ((first, 1 - share), (first + 1, share)):
            weight *= (pixel >= 0) & (pixel < n)
            near.append((xp.clip(pixel, 0, n - 1).astype(np.int32), weight))
        halves.append(near)
    images = (xp.arange(len(theta), dtype=np.int32) * (height * width))[:, None, None]
    for row, by_row in halves[0]:
        start = row * np.int32(width) + images
        for column, by_column in halves[1]:
            yield (start + column).reshape(-1), (by_row * by_column).reshape(-1, 1)
