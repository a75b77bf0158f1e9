"""Convolution with fewer multiplications: Winograd's minimal filtering (Lavin and Gray 2016).

m outputs of a filter with r taps are m products of polynomials' coefficients, and a polynomial can be
multiplied by its values: evaluate both at n = m + r - 1 points, multiply n numbers, interpolate back.
In one dimension that is

    y = At ((G w) * (Bt x))        x: n pixels, w: r taps, y: m outputs, * elementwise

with constant matrices made from the points (`scheme`). In two dimensions rows and columns each go through
it: a tile of 6x6 pixels and a 3x3 kernel give 4x4 outputs by 36 products instead of 144. The products of
all tiles at one position of the tile are one matrix product over the channels, and the transforms are
matrix products too, small and left of long rows, for which BLAS runs at the speed of the cache:

    rows of the tiles    Bt @ (6, width * C), straight from the padded image
    columns              Bt @ (6, 6 * tiles * C), after one copy that sets the tiles side by side
    products             36 times (tiles, C) @ (C, O)
    and back             At @ (6, 6 * tiles * O), one copy, At @ (6, width * O), straight into the result

A 4x4 kernel of stride 2 is the same thing with 2 taps on the image whose 2x2 squares became channels (space to
depth), which here is only another way to read the strides; and a 3x3 one is a 4x4 one with zeros, at 100 products
instead of 144, which pays for the input gradient. The zeros go where they make the padding a whole number of squares.

Rounding errors grow with the points; 0, 1, -1, 1/2, -2 and infinity keep them at four times those of a
plain sum (in float32: 1.2e-6 of the result's size, against 0.3e-6). A NaN or an infinity spoils all outputs of the
tiles that see it, not only those whose windows do.
"""

import functools
from typing import NamedTuple

import numpy as np

from . import parallel
from .parallel import scratch
from .windows import cut, strided

M = 4  # outputs of a tile along each axis
POINTS = {2: (0.0, 1.0, -1.0, 0.5), 3: (0.0, 1.0, -1.0, 0.5, -2.0)}  # by taps; and infinity
BLOCK = 1 << 24  # multiply-adds in a block, and
BLOCK_BYTES = 1 << 20  # of transformed tiles in it, at most
CHUNK_BYTES = 16 << 20  # of transformed images that a weight gradient holds at once
SIZES = (3, 1), (4, 2)  # of kernel and stride
INPUT_SIZES = (
    *SIZES,
    (3, 2),
)  # for the input gradient of 32x32 pixels: 6.9 instead of 8.2 ms (of 33x33: 11.2 and 7.4)
MIN_CHANNELS = 32  # of input and output; with fewer the transforms cost more than they save


@functools.cache
def scheme(taps, dtype):
    """(At (M, n), G (n, taps), Bt (n, n)) for filters of 2 or 3 taps.

    By the transposition of polynomial multiplication: if Vn c = (Vm a) * (Vr b) are the values of c = a b at
    the points, with Vk the Vandermonde matrix of k coefficients, then At = Vm^T, G = Vr, Bt = (Vn^-1)^T.
    """

    def vandermonde(k):
        finite = [[p**j for j in range(k)] for p in POINTS[taps]]
        return np.array(finite + [[0.0] * (k - 1) + [1.0]])  # at infinity: the leading coefficient

    n = M + taps - 1
    at, g, bt = vandermonde(M).T, vandermonde(taps), np.linalg.inv(vandermonde(n)).T
    size = np.abs(bt).max(
        1, keepdims=True
    )  # moved from one factor to the other, so that neither is large
    return tuple(np.ascontiguousarray(matrix, dtype) for matrix in (at, g * size, bt / size))


class Plan(NamedTuple):
    """How a convolution of this shape is done: with `taps` squares of step x step pixels, where step is the stride.

    kernel: its rows and columns, step * taps or less.
    """

    taps: int
    step: int
    kernel: int


def plan(kernel, stride, out, channels, groups, sizes=SIZES):
    """The Plan for a convolution with `out` (rows, columns) of output, or None where columns are quicker.

    channels: (input, output). sizes: the pairs of kernel and stride to take.
    """
    step, size = stride[0], kernel[0]
    square = kernel == (size, size) and stride == (step, step)
    if (
        not square
        or (size, step) not in sizes
        or groups != 1
        or min(channels) < MIN_CHANNELS
        or min(out) < M - 1
    ):
        return None
    return Plan(-(-size // step), step, size)


def forward(x, w, plan, padding, y, bias=None):
    """Write the convolution of x (N, H, W, C) with w (kh, kw, C, O), plus bias (O,), into y (N, OH, OW, O)."""
    kernel = _split(w, plan)  # (taps, taps, step * step * C, O)
    _filter(x, kernel, plan, plan.step, 1, (-padding[0], -padding[1]), y, (0, 0), bias)


def input_gradient(g, w, plan, padding, dx, bias=None):
    """Write the adjoint in x, plus bias (C,), into dx (N, H, W, C): a convolution of g with the turned kernel."""
    taps, step, _ = plan
    spare = taps * step - plan.kernel
    if spare:
        front = [min(-p % step, spare) for p in padding]
        w = np.pad(w, [(f, spare - f) for f in front] + [(0, 0)] * 2)
        padding = [p + f for p, f in zip(padding, front)]
    kernel = _split(w, plan)[::-1, ::-1].swapaxes(2, 3)  # (taps, taps, O, step * step * C)
    first = [
        p // step for p in padding
    ]  # of the squares of step x step pixels, the first with a pixel of dx
    start = [f - taps + 1 for f in first]
    _filter(
        g, kernel, plan, 1, step, start, dx, [p - f * step for p, f in zip(padding, first)], bias
    )


def weight_gradient(x, g, plan, padding):
    """The adjoint in w: (kh, kw, C, O)."""
    (taps, step, _), (n, oh, ow, outputs) = plan, g.shape
    at, gt, bt = scheme(taps, x.dtype)
    size, across, down = len(bt), -(-ow // M), -(-oh // M)
    depth = step * step * x.shape[3]
    total = np.zeros((size * size, depth, outputs), x.dtype)
    spread = np.ascontiguousarray(at.T)
    tiles_together = CHUNK_BYTES // (size * size * (depth + outputs) * x.itemsize)
    for images, rows in _cut(slice(0, n), slice(0, down), across, tiles_together):
        high = rows.stop - rows.start
        tiles = (images.stop - images.start) * high * across
        pixels = scratch("pixels", (size, size, tiles, depth), x.dtype)
        slopes = scratch("slopes", (size, size, tiles, outputs), x.dtype)

        def transform(part):
            some, lines = part
            first = (
                (some.start - images.start) * high + lines.start - rows.start
            )  # rows of tiles before this part
            count = (some.stop - some.start) * (lines.stop - lines.start)
            where = slice(first * across, (first + count) * across)
            _transform(
                bt,
                x,
                step,
                some,
                lines,
                across,
                size,
                (-padding[0], -padding[1]),
                pixels[:, :, where],
            )
            _transform(spread, g, 1, some, lines, across, M, (0, 0), slopes[:, :, where])

        parallel.run(transform, _cut(images, rows, across, _tiles_of_a_block(size, depth, outputs)))

        def multiply(some):  # positions of a tile
            left, right = (a.reshape(size * size, tiles, -1)[some] for a in (pixels, slopes))
            products = scratch("products", (len(left), depth, outputs), x.dtype)
            total[some] += np.matmul(left.swapaxes(1, 2), right, out=products)

        parallel.run(multiply, parallel.blocks(size * size, size))
    dw = np.matmul(gt.T, total.reshape(size, -1)).reshape(taps, size, -1)
    dw = np.matmul(gt.T, dw).reshape(taps, taps, depth, outputs)
    return _join(dw, plan)


def _split(w, plan):
    """w (kh, kw, C, O) as taps of squares, columns first: (taps, taps, step * step * C, O)."""
    taps, step, _ = plan
    return (
        w.reshape(taps, step, taps, step, *w.shape[2:])
        .transpose(2, 0, 1, 3, 4, 5)
        .reshape(taps, taps, -1, w.shape[3])
    )


def _join(dw, plan):
    """The inverse of `_split`."""
    (taps, step, _), outputs = plan, dw.shape[3]
    dw = dw.reshape(taps, taps, step, step, -1, outputs).transpose(1, 2, 0, 3, 4, 5)
    return dw.reshape(taps * step, taps * step, -1, outputs)


def _filter(x, kernel, plan, step_in, step_out, start, y, crop, bias):
    """y = bias + the correlation of x with kernel (taps, taps, K, L), columns first, on squares of step_in pixels of x.

    Output squares of step_out pixels begin with the window at square `start` of x (in pixels for step_in);
    y begins at pixel `crop` of them.
    """
    at, gt, bt = scheme(plan.taps, x.dtype)
    taps, size, (n, height, width, channels) = plan.taps, len(bt), y.shape
    depth, outputs = kernel.shape[2:]
    down, across = (-(-(length + c) // (step_out * M)) for length, c in zip((height, width), crop))
    weights = np.empty((size, size, depth, outputs), x.dtype)

    def transform(some):
        part = np.matmul(gt, np.ascontiguousarray(kernel[:, :, some]).reshape(taps, -1))
        part = np.matmul(gt, part.reshape(size, taps, -1))
        weights[:, :, some] = part.reshape(size, size, -1, outputs)

    parallel.run(transform, parallel.blocks(depth, 1 << 14 >> (outputs.bit_length() - 1)))
    exact = step_out == 1 and tuple(crop) == (0, 0) and (down * M, across * M) == (height, width)

    def block(part):
        images, rows = part
        count, high = images.stop - images.start, rows.stop - rows.start
        tiles = count * high * across
        values = scratch("values", (size, size, tiles, depth), x.dtype)
        _transform(bt, x, step_in, images, rows, across, size, start, values)
        products = scratch("products", (size, size, tiles, outputs), x.dtype)
        np.matmul(values, weights, out=products)
        # Back: columns first, then, with the tiles' columns side by side, rows.
        columns = scratch(
            "values", (M, size, count, high, across, step_out, outputs // step_out), x.dtype
        )
        np.matmul(at, products.reshape(size, -1), out=columns.reshape(M, -1))
        lines = scratch(
            "products", (count, high, size, step_out, across, M, outputs // step_out), x.dtype
        )
        np.copyto(lines, columns.transpose(2, 3, 1, 5, 4, 0, 6))
        lines = lines.reshape(count, high, size, -1)
        if exact:
            target = y[images, rows.start * M : rows.stop * M]
            np.matmul(at, lines, out=target.reshape(count, high, M, -1))
            if bias is not None:
                target += bias
            return
        image = scratch(
            "values", (count, high * M * step_out, across * M * step_out, channels), x.dtype
        )
        np.matmul(at, lines, out=image.reshape(count, high, M, -1))
        first = rows.start * M * step_out - crop[0]  # row of y that this image begins at
        top, bottom = max(first, 0), min(first + image.shape[1], height)
        part = image[:, top - first : bottom - first, crop[1] : crop[1] + width]
        if bias is None:
            y[images, top:bottom] = part
        else:
            np.add(part, bias, out=y[images, top:bottom])

    parallel.run(
        block, _cut(slice(0, n), slice(0, down), across, _tiles_of_a_block(size, depth, outputs))
    )


def _transform(matrix, x, step, images, rows, across, size, start, out):
    """The transformed tiles of some images and rows of tiles: out (points, points, tiles, step * step * C).

    matrix (points, size) is applied along both axes of tiles of size x size squares, one every M squares; the
    first lies at pixel `start` of x.
    """
    points, channels, high = len(matrix), x.shape[3], rows.stop - rows.start
    reach = ((high - 1) * M + size, (across - 1) * M + size)  # squares
    image = cut(
        x, images, start[0] + rows.start * M * step, reach[0] * step, start[1], reach[1] * step
    )
    n, line, square = (
        len(image),
        reach[1] * step * step * channels,
        step * channels,
    )  # a row of squares, of pixels
    tiles = strided(image, (n, high, size, line), (reach[0] * line, M * line, line, 1))
    lines = np.matmul(matrix, tiles, out=scratch("lines", (n, high, points, line), x.dtype))
    side = strided(
        lines,
        (size, points, n, high, across, step, square),
        (square, line, high * points * line, points * line, M * square, line // step, 1),
    )
    columns = scratch("columns", side.shape, x.dtype)
    np.copyto(columns, side)
    columns = columns.reshape(size, points, -1).swapaxes(0, 1)
    np.matmul(matrix, columns, out=out.reshape(points, points, -1).swapaxes(0, 1))


def _tiles_of_a_block(size, depth, outputs):
    return min(
        BLOCK // (size * size * depth * outputs),
        BLOCK_BYTES // (size * size * max(depth, outputs) * 4),
    )


def _cut(images, rows, across, tiles):
    """Cut (images, rows of tiles) into parts of at most that many tiles: several images, or rows of one."""
    high = rows.stop - rows.start
    together = tiles // (high * across)
    if together:
        return [
            (_shifted(part, images.start), rows)
            for part in parallel.blocks(images.stop - images.start, together)
        ]
    return [
        (slice(i, i + 1), _shifted(part, rows.start))
        for i in range(images.start, images.stop)
        for part in parallel.blocks(high, tiles // across)
    ]


def _shifted(part, by):
    return slice(part.start + by, part.stop + by)
