"""Convolution with fewer multiplications: Winograd's minimal filtering (Lavin and Gray 2016).

The m outputs of a filter with r taps are coefficients of a product of polynomials. Polynomials can
be multiplied through their values: evaluate both at n = m + r - 1 points, multiply n numbers,
interpolate back. A filter is the transpose of such a multiplication; in one dimension:

    y = At ((G w) * (Bt x))        x: n pixels, w: r taps, y: m outputs, * elementwise

with constant matrices that depend on the points (`transform_matrices`). In two dimensions, rows and
columns go through it one after the other: a tile of 6x6 pixels and a 3x3 window give 4x4 outputs
with 36 products instead of 144. For each position in a tile, the products of all tiles are one
matrix product over the channels. The transforms are matrix products too, of small matrices and long
rows, at which BLAS runs at the speed of the cache:

    rows of the tiles    Bt @ (6, width * C), straight from the padded image
    columns              Bt @ (6, 6 * tiles * C), after one copy that puts the tiles side by side
    products             36 times (tiles, C) @ (C, O)
    and back             At @ (6, 6 * tiles * O), one copy, At @ (6, width * O), straight into y

A 4x4 window of stride 2 is the same with 2 taps, on an image whose squares of 2x2 pixels became
channels (space to depth). Here that only means reading the image with other strides. A 3x3 window
of stride 2 counts as a 4x4 one with zeros: 100 products instead of 144, which pays for the input
gradient. The zeros go where they make the padding a multiple of the stride.

Rounding errors grow with the size of the points. With 0, 1, -1, 1/2, -2 and infinity they are four
times those of a plain sum (in float32: 1.2e-6 of the size of the result, against 0.3e-6). A NaN or
an infinity spoils all outputs of the tiles that read it, not only those whose windows contain it.
"""

from typing import NamedTuple

import numpy as np

from tinygan.backend import constants, xp

from . import parallel
from .parallel import scratch
from .windows import rectangle, strided

M = 4  # outputs of a tile along each axis
POINTS = {2: (0.0, 1.0, -1.0, 0.5), 3: (0.0, 1.0, -1.0, 0.5, -2.0)}  # by taps; and infinity
BLOCK = 1 << 24  # multiply-adds in a block, at most
BLOCK_BYTES = 1 << 20  # bytes of transformed tiles in a block, at most
CHUNK_BYTES = 16 << 20  # bytes of transformed images that a weight gradient holds at once
SIZES = (3, 1), (4, 2)  # (kernel size, stride)
# For the input gradient, also (3, 2): 6.9 instead of 8.2 ms for 32x32 pixels. (For 33x33, it would
# take 11.2 instead of 7.4 ms.)
INPUT_SIZES = (*SIZES, (3, 2))
MIN_GROUP = 8
MIN_CHANNELS = 32  # of input and output; with fewer, the transforms cost more than they save


@constants
def transform_matrices(taps, dtype):
    """Return (At (M, n), G (n, taps), Bt (n, n)) for filters of 2 or 3 taps.

    They follow from transposing the multiplication of polynomials. Let Vk be the Vandermonde matrix
    of k coefficients. If Vn c = (Vm a) * (Vr b) are the values of c = a b at the points, then
    At = Vm^T, G = Vr and Bt = (Vn^-1)^T.
    """

    def vandermonde(k):
        finite = [[p**j for j in range(k)] for p in POINTS[taps]]
        return np.array(finite + [[0.0] * (k - 1) + [1.0]])  # at infinity: the leading coefficient

    n = M + taps - 1
    at, g, bt = vandermonde(M).T, vandermonde(taps), np.linalg.inv(vandermonde(n)).T
    # Scale is moved from Bt to G, so that neither is large.
    size = np.abs(bt).max(1, keepdims=True)
    return tuple(np.ascontiguousarray(matrix, dtype) for matrix in (at, g * size, bt / size))


class Plan(NamedTuple):
    """How to compute a convolution: with `taps` squares of step x step pixels along each axis.

    step is the stride, and kernel_size, the rows and columns of the window, is at most step * taps.
    With groups > 1, step is 1.
    """

    taps: int
    step: int
    kernel_size: int
    groups: int


def make_plan(kernel_size, stride, out, channels, groups, sizes=SIZES):
    """Return the Plan of a convolution, or None if the way over columns (conv.py) is faster.

    out: its output (rows, columns). channels: (input, output). sizes: the pairs (kernel size,
    stride) that may have a plan.
    """
    step, size = stride[0], kernel_size[0]
    square = kernel_size == (size, size) and stride == (step, step)
    if not square or (size, step) not in sizes or min(out) < M - 1:
        return None
    if groups > 1 and step > 1 or min(channels) < (MIN_CHANNELS if groups == 1 else MIN_GROUP):
        return None
    return Plan(-(-size // step), step, size, groups)


def forward(x, w, plan, padding, y, bias=None):
    """Write the convolution of x (N, H, W, C) with w (kh, kw, C, O), plus bias (O,), into y."""
    weights = _split_taps(w, plan)  # (taps, taps, step * step * C, O)
    _correlate(x, weights, plan, plan.step, 1, (-padding[0], -padding[1]), y, (0, 0), bias)


def input_gradient(g, w, plan, padding, dx, bias=None):
    """Write the adjoint of `forward` as a map of x, plus bias (C,), into dx (N, H, W, C).

    It is a convolution of g with the flipped weights.
    """
    taps, step, _, groups = plan
    zeros = taps * step - plan.kernel_size
    if zeros:
        front = [min(-p % step, zeros) for p in padding]
        w = np.pad(w, [(f, zeros - f) for f in front] + [(0, 0)] * 2)
        padding = [p + f for p, f in zip(padding, front)]
    weights = _split_taps(w, plan)[::-1, ::-1]
    weights = weights.reshape(taps, taps, weights.shape[2], groups, -1).transpose(0, 1, 4, 3, 2)
    weights = weights.reshape(taps, taps, weights.shape[2], -1)  # (taps, taps, O, step * step * C)
    first = [p // step for p in padding]  # the first square with a pixel of dx
    start = [f - taps + 1 for f in first]
    crop = [p - f * step for p, f in zip(padding, first)]
    _correlate(g, weights, plan, 1, step, start, dx, crop, bias)


def weight_gradient(x, g, plan, padding):
    """The adjoint of `forward` as a map of w: (kh, kw, C, O)."""
    (taps, step, _, groups), (n, oh, ow, outputs) = plan, g.shape
    at, gt, bt = transform_matrices(taps, x.dtype)
    size, across, down = len(bt), -(-ow // M), -(-oh // M)
    depth = step * step * x.shape[3]
    shape = groups, depth // groups, outputs // groups
    total = xp.zeros((size * size, *shape), x.dtype)
    a = xp.ascontiguousarray(at.T)
    tiles_per_block = _tiles_per_block(size, depth, outputs, groups)
    tiles_per_chunk = CHUNK_BYTES // (size * size * (depth + outputs) * x.itemsize)
    for images, rows in _parts(slice(0, n), slice(0, down), across, tiles_per_chunk):
        high = rows.stop - rows.start
        tiles = (images.stop - images.start) * high * across
        pixels = scratch("pixels", (size, size, tiles, depth), x.dtype)
        gradients = scratch("gradients", (size, size, tiles, outputs), x.dtype)

        def transform(part):
            image_part, row_part = part
            # Rows of tiles before this part.
            first = (image_part.start - images.start) * high + row_part.start - rows.start
            count = (image_part.stop - image_part.start) * (row_part.stop - row_part.start)
            where = slice(first * across, (first + count) * across)
            place, start = (*part, across), (-padding[0], -padding[1])
            _transform(bt, x, step, *place, size, start, pixels[:, :, where])
            _transform(a, g, 1, *place, M, (0, 0), gradients[:, :, where])

        parallel.run(transform, _parts(images, rows, across, tiles_per_block))

        def multiply(positions):  # a block of the positions in a tile
            left, right = (
                _by_group(values.reshape(size * size, tiles, -1)[positions], groups)
                for values in (pixels, gradients)
            )
            products = scratch("products", (len(left), *shape), x.dtype)
            total[positions] += np.matmul(left.swapaxes(2, 3), right, out=products)

        parallel.run(multiply, parallel.blocks(size * size, size))
    dw = np.matmul(gt.T, total.reshape(size, -1)).reshape(taps, size, -1)
    dw = np.matmul(gt.T, dw).reshape(taps, taps, *shape).swapaxes(2, 3)
    dw = dw.reshape(taps, taps, -1, outputs)
    return _join_taps(dw, plan)


def _by_group(x, groups):
    """Split the last axis of x (..., tiles, channels) into groups: (..., groups, tiles, C)."""
    return x.reshape(*x.shape[:-1], groups, -1).swapaxes(-2, -3)


def _split_taps(w, plan):
    """Split w (kh, kw, C, O) into squares: (taps, taps, step * step * C, O), columns first."""
    taps, step, *_ = plan
    w = w.reshape(taps, step, taps, step, *w.shape[2:]).transpose(2, 0, 1, 3, 4, 5)
    return w.reshape(taps, taps, -1, w.shape[5])


def _join_taps(dw, plan):
    """The inverse of `_split_taps`."""
    (taps, step, *_), outputs = plan, dw.shape[3]
    dw = dw.reshape(taps, taps, step, step, -1, outputs).transpose(1, 2, 0, 3, 4, 5)
    return dw.reshape(taps * step, taps * step, -1, outputs)


def _correlate(x, w, plan, step_in, step_out, start, y, crop, bias):
    """Write the correlation of x with w (taps, taps, K, L), columns first, plus bias, into y.

    x is read as squares of step_in x step_in pixels, and the result consists of squares of step_out
    x step_out pixels. Its first square belongs to the window at pixel `start` of x, and y begins at
    pixel `crop` of it.
    """
    at, gt, bt = transform_matrices(plan.taps, x.dtype)
    taps, size, (n, height, width, channels) = plan.taps, len(bt), y.shape
    groups, inner, outputs = plan.groups, *w.shape[2:]
    depth = groups * inner
    down, across = (-(-(length + c) // (step_out * M)) for length, c in zip((height, width), crop))
    weights = xp.empty((size, size, inner, outputs), x.dtype)
    by_group = weights.reshape(size, size, inner, groups, -1).swapaxes(2, 3)

    def transform(rows):  # a block of the K rows
        part = np.matmul(gt, xp.ascontiguousarray(w[:, :, rows]).reshape(taps, -1))
        part = np.matmul(gt, part.reshape(size, taps, -1))
        weights[:, :, rows] = part.reshape(size, size, -1, outputs)

    parallel.run(transform, parallel.blocks(inner, 1 << 14 >> (outputs.bit_length() - 1)))
    exact = step_out == 1 and tuple(crop) == (0, 0) and (down * M, across * M) == (height, width)

    def block(part):
        images, rows = part
        count, high = images.stop - images.start, rows.stop - rows.start
        tiles = count * high * across
        values = scratch("values", (size, size, tiles, depth), x.dtype)
        _transform(bt, x, step_in, images, rows, across, size, start, values)
        products = scratch("products", (size, size, tiles, outputs), x.dtype)
        np.matmul(_by_group(values, groups), by_group, out=_by_group(products, groups))
        # Back: first the columns of all tiles; then, with the tiles side by side, their rows.
        shape = (M, size, count, high, across, step_out, outputs // step_out)
        columns = scratch("values", shape, x.dtype)
        np.matmul(at, products.reshape(size, -1), out=columns.reshape(M, -1))
        shape = (count, high, size, step_out, across, M, outputs // step_out)
        lines = scratch("products", shape, x.dtype)
        np.copyto(lines, columns.transpose(2, 3, 1, 5, 4, 0, 6))
        lines = lines.reshape(count, high, size, -1)
        if exact:
            target = y[images, rows.start * M : rows.stop * M]
            np.matmul(at, lines, out=target.reshape(count, high, M, -1))
            if bias is not None:
                target += bias
            return
        shape = (count, high * M * step_out, across * M * step_out, channels)
        image = scratch("values", shape, x.dtype)
        np.matmul(at, lines, out=image.reshape(count, high, M, -1))
        first = rows.start * M * step_out - crop[0]  # row of y that this image begins at
        top, bottom = max(first, 0), min(first + image.shape[1], height)
        part = image[:, top - first : bottom - first, crop[1] : crop[1] + width]
        if bias is None:
            y[images, top:bottom] = part
        else:
            np.add(part, bias, out=y[images, top:bottom])

    tiles_per_block = _tiles_per_block(size, depth, outputs, groups)
    parallel.run(block, _parts(slice(0, n), slice(0, down), across, tiles_per_block))


def _transform(matrix, x, step, images, rows, across, size, start, out):
    """Write transformed tiles of some images and rows of tiles into `out`.

    out: (points, points, tiles, step * step * C). matrix (points, size) is applied along both axes
    of each tile. A tile is size x size squares of step x step pixels. A new one begins every M
    squares, the first at pixel `start` of x. across: tiles in a row.
    """
    points, channels, high = len(matrix), x.shape[3], rows.stop - rows.start
    reach = ((high - 1) * M + size, (across - 1) * M + size)  # squares
    top = start[0] + rows.start * M * step
    image = rectangle(x, images, top, reach[0] * step, start[1], reach[1] * step)
    # Numbers in a row of squares, and in one row of pixels of a square.
    n, line, square = len(image), reach[1] * step * step * channels, step * channels
    tiles = strided(image, (n, high, size, line), (reach[0] * line, M * line, line, 1))
    lines = np.matmul(matrix, tiles, out=scratch("lines", (n, high, points, line), x.dtype))
    shape = (size, points, n, high, across, step, square)
    strides = (square, line, high * points * line, points * line, M * square, line // step, 1)
    columns = scratch("columns", shape, x.dtype)
    np.copyto(columns, strided(lines, shape, strides))
    columns = columns.reshape(size, points, -1).swapaxes(0, 1)
    np.matmul(matrix, columns, out=out.reshape(points, points, -1).swapaxes(0, 1))


def _tiles_per_block(size, depth, outputs, groups):
    return min(
        BLOCK // (size * size * depth * outputs // groups),
        BLOCK_BYTES // (size * size * max(depth, outputs) * 4),
    )


def _parts(images, rows, across, tiles):
    """Cut (images, rows of tiles) into parts of at most `tiles` tiles, or one row of tiles if that
    is more.

    A part is several images, or several rows of one image.
    """
    high = rows.stop - rows.start
    images_per_part = tiles // (high * across)
    if images_per_part:
        return [
            (_shifted(part, images.start), rows)
            for part in parallel.blocks(images.stop - images.start, images_per_part)
        ]
    return [
        (slice(i, i + 1), _shifted(part, rows.start))
        for i in range(images.start, images.stop)
        for part in parallel.blocks(high, tiles // across)
    ]


def _shifted(part, by):
    return slice(part.start + by, part.stop + by)
