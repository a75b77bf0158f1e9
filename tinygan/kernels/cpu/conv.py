"""Convolution, a block at a time.

The windows are called columns here: row (n, r, c) of the column matrix is what output pixel
(n, r, c) sees, kh*kw*C numbers. Columns are made a block at a time (two megabytes, so that they are
still in cache when BLAS reads them), and the blocks of a batch are shared out to threads. In NHWC a
window's row is one copy.

Fold writes each pixel many times, so dx is better seen as correlations with the turned kernel, one
for each phase of the stride: with stride 2, the input pixels of even rows meet only every second
row of the kernel, those of odd rows the others.

3x3 kernels with many channels, and 4x4 ones of stride 2, go another way (winograd.py); with few
channels, neighbouring output pixels are computed as one (`_together`); a kernel as large as its
image is a plain product.
"""

import functools
import math

import numpy as np

from .. import conv, fast
from ..conv import out_size
from . import linear, parallel, winograd
from .parallel import scratch
from .windows import cut, strided

# Of columns in a block. Small enough for a core's share of the cache, large enough that the threads seldom meet
# at the interpreter lock: at batch 64, blocks of 0.5, 1, 2 and 4 MB took 6.7, 6.9, 6.1 and 5.8 ms, at batch 16,
# 2.1, 1.9, 1.6 and, no longer enough blocks for two threads, 2.7 ms (4x4 stride 2, 14x14x64 -> 7x7x128).
BLOCK_BYTES = 2 << 20
FOLD_CHANNELS = 1  # with so few input channels (of 1x1 kernels, 3), folding beats products with so thin a matrix
WEIGHT_PARTS = 8  # partial weight gradients, added in order whichever thread made them


@fast(conv.forward)
def forward(x, w, stride, padding, groups, bias=None):
    """bias: added to every pixel, while it is still in cache."""
    n, outputs = x.shape[0], w.shape[3]
    size = tuple(map(out_size, x.shape[1:3], w.shape[:2], stride, padding))
    if _is_dense(w.shape[:2], x.shape[1:3], size, padding, groups):
        y = linear.matmul(_flat(x), w.reshape(w[..., 0].size, outputs)).reshape(n, *size, outputs)
        return y if bias is None else np.add(y, bias, out=y)
    y = np.empty((n, *size, outputs), x.dtype)
    if plan := _plan(w, stride, size, groups):
        winograd.forward(x, w, plan, padding, y, bias)
        return y
    parallel.run_all(_correlation(x, w, stride, (-padding[0], -padding[1]), groups, y, bias))
    return y


@fast(conv.input_gradient)
def input_gradient(g, w, size, stride, padding, groups, bias=None):
    n, oh, ow, outputs = g.shape
    kh, kw, inputs, _ = w.shape
    if _is_dense((kh, kw), size, (oh, ow), padding, groups):
        dx = linear.matmul(_flat(g), w.reshape(w[..., 0].size, outputs).T)
        dx = dx.reshape(n, kh, kw, inputs)
        return dx if bias is None else np.add(dx, bias, out=dx)
    dx = np.empty((n, *size, inputs * groups), g.dtype)
    if inputs * groups <= (max(FOLD_CHANNELS, 3) if (kh, kw) == (1, 1) else FOLD_CHANNELS):
        _fold_all(g, w, dx, stride, padding, groups, bias)
        return dx
    # A 3x3 kernel of stride 2 among zeros is worth it where the tiles fill the image, not where an odd pixel is left over.
    full = all(n % (winograd.M * s) == 0 for n, s in zip(size, stride))
    if plan := _plan(w, stride, (oh, ow), groups, winograd.INPUT_SIZES if full else winograd.SIZES):
        winograd.input_gradient(g, w, plan, padding, dx, bias)
        return dx
    # (kh, kw, O/groups, C), turned by 180 degrees
    turned = w[::-1, ::-1].reshape(kh, kw, inputs, groups, outputs // groups)
    turned = turned.transpose(0, 1, 4, 3, 2)
    turned = np.ascontiguousarray(turned).reshape(kh, kw, outputs // groups, inputs * groups)
    tasks = []  # of all phases together, so that the threads wait for each other once
    for row in range(stride[0]):
        for column in range(stride[1]):
            taps, offset = zip(*map(_phase, (row, column), (kh, kw), stride, padding))
            target = dx[:, row :: stride[0], column :: stride[1]]
            if 0 in target.shape:
                continue
            kernel = turned[taps]
            if 0 in kernel.shape:  # the stride skips these pixels
                target[...] = 0 if bias is None else bias
            else:
                tasks += _correlation(g, kernel, (1, 1), offset, groups, target, bias)
    parallel.run_all(tasks)
    return dx


def _phase(phase, kernel, stride, padding):
    """Along one axis: which taps of the turned kernel the pixels phase, phase + stride, ... meet, and the
    position of the first of these taps on g for the first of these pixels.

    Pixel y = stride * q + phase takes tap i of w times g[(y + padding - i) / stride], so i = stride * t + rest.
    """
    ahead, rest = divmod(phase + padding, stride)
    count = len(range(rest, kernel, stride))
    return slice((kernel - 1 - rest) % stride, None, stride), ahead - count + 1


@fast(conv.weight_gradient)
def weight_gradient(x, g, kernel, stride, padding, groups):
    n, oh, ow, outputs = g.shape
    inputs = x.shape[3] // groups
    if plan := winograd.plan(kernel, stride, (oh, ow), (x.shape[3], outputs), groups):
        return winograd.weight_gradient(x, g, plan, padding)
    if _is_dense(kernel, x.shape[1:3], (oh, ow), padding, groups):
        return linear.matmul(_flat(x).T, _flat(g)).reshape(*kernel, inputs, outputs)
    t = _together(g, kernel, stride[1], inputs, groups)
    if t > 1:
        wide = (kernel[0], kernel[1] + (t - 1) * stride[1])
        dw = weight_gradient(
            x, g.reshape(n, oh, ow // t, t * outputs), wide, (stride[0], stride[1] * t), padding, 1
        )
        return _narrowed(dw, t, stride[1])
    depth = kernel[0] * kernel[1] * inputs
    offset = (-padding[0], -padding[1])
    parts = _blocks(n, oh, ow * depth * groups * x.itemsize)
    shares = parallel.blocks(len(parts), -(-len(parts) // WEIGHT_PARTS))
    partial = np.zeros((len(shares), groups, depth, outputs // groups), x.dtype)

    def share(index):
        for images, rows in parts[shares[index]]:
            columns = _columns(x, images, rows, ow, kernel, stride, offset, groups)
            pixels = g[images, rows].reshape(-1, groups, outputs // groups)
            partial[index] += np.matmul(columns.transpose(0, 2, 1), pixels.transpose(1, 0, 2))

    parallel.run_all([functools.partial(share, index) for index in range(len(shares))])
    dw = np.zeros(partial.shape[1:], x.dtype)
    for part in partial:
        dw += part
    dw = dw.reshape(groups, *kernel, inputs, outputs // groups).transpose(1, 2, 3, 0, 4)
    return np.ascontiguousarray(dw).reshape(*kernel, inputs, outputs)


def _flat(x):
    """x (N, ...) as (N, everything else), for no images too."""
    return x.reshape(len(x), math.prod(x.shape[1:]))


def _is_dense(kernel, size, out, padding, groups):
    """Does the kernel see a whole image of `size` at once? Then this is a matrix product without any windows."""
    return kernel == size and out == (1, 1) and groups == 1 and padding == (0, 0)


def _plan(w, stride, out, groups, sizes=winograd.SIZES):
    return winograd.plan(w.shape[:2], stride, out, w.shape[2:], groups, sizes)


def _together(pixels, kernel, stride, channels, groups):
    """How many neighbours in a row of output `pixels` (N, OH, OW, O) to compute as one, for the least time.

    With few channels a window is many short runs of numbers, and BLAS is slow at a product with few columns. t
    pixels side by side are one pixel of a convolution with t times the outputs, whose kernel, wider by the t - 1
    steps between them, is mostly shifted copies of w and otherwise zeros: fewer and longer runs for more, but
    faster, arithmetic. LeNet's first layer (5x5, 1 -> 6 channels, batch 128): 2.0 -> 1.0 ms.
    """
    width, outputs = pixels.shape[2:]
    if groups > 1 or not pixels.flags.c_contiguous:
        return 1

    def nanoseconds(
        t,
    ):  # an output pixel, as measured: a run takes 12, a number of it 0.25, a multiply-add 0.025
        run = (kernel[1] + (t - 1) * stride) * channels
        slow = 1 + 8 / (t * outputs)  # BLAS at few columns
        return kernel[0] * ((12 + run * 0.25) / t + run * outputs * 0.025 * slow)

    return min((t for t in range(1, width + 1) if width % t == 0), key=nanoseconds)


def _widened(w, t, stride):
    """w (kh, kw, C, O) for t output pixels as one: (kh, kw + (t - 1) * stride, C, t * O)."""
    kh, kw, channels, outputs = w.shape
    wide = np.zeros((kh, kw + (t - 1) * stride, channels, t, outputs), w.dtype)
    for k in range(t):
        wide[:, k * stride : k * stride + kw, :, k] = w
    return wide.reshape(*wide.shape[:3], -1)


def _narrowed(wide, t, stride):
    """The adjoint of `_widened`."""
    kh, width, channels, outputs = wide.shape
    wide, kw = wide.reshape(kh, width, channels, t, outputs // t), width - (t - 1) * stride
    return sum(wide[:, k * stride : k * stride + kw, :, k] for k in range(t))


def _correlation(x, w, stride, offset, groups, out, bias=None):
    """Tasks, one for each block, that write out[n, r, c] = (the window of x at (r, c) * stride + offset) @ w + bias.

    Where a window lies outside x it holds zeros.
    """
    n, oh, ow, outputs = out.shape
    t = _together(out, w.shape, stride[1], w.shape[2], groups)
    if t > 1:
        w, bias = _widened(w, t, stride[1]), None if bias is None else np.tile(bias, t)
        out, stride = out.reshape(n, oh, ow // t, t * outputs), (stride[0], stride[1] * t)
        ow, outputs = ow // t, outputs * t
    matrices = np.ascontiguousarray(w.reshape(-1, groups, outputs // groups).transpose(1, 0, 2))
    direct = groups == 1 and out.flags.c_contiguous

    def block(images, rows):
        columns = _columns(x, images, rows, ow, w.shape[:2], stride, offset, groups)
        target = out[images, rows]
        if direct:
            np.matmul(
                columns[0], matrices[0], out=target.reshape(-1, outputs)
            )  # a view: blocks are contiguous
        elif groups == 1:
            product = scratch("product", (columns.shape[1], outputs), x.dtype)
            target[...] = np.matmul(columns[0], matrices[0], out=product).reshape(target.shape)
        else:
            target[...] = np.matmul(columns, matrices).transpose(1, 0, 2).reshape(target.shape)
        if bias is not None:
            target += bias

    return [
        functools.partial(block, *part)
        for part in _blocks(n, oh, ow * matrices.shape[1] * groups * x.itemsize)
    ]


def _columns(x, images, rows, ow, kernel, stride, offset, groups):
    """The windows of output pixels (images, rows, 0..ow): (groups, pixels, kh*kw*C/groups)."""
    channels = x.shape[3]
    (kh, kw), oh = kernel, rows.stop - rows.start
    top, height, width = (
        rows.start * stride[0] + offset[0],
        (oh - 1) * stride[0] + kh,
        (ow - 1) * stride[1] + kw,
    )
    inside = rows.stop <= x.shape[1] and ow == x.shape[2]
    if inside and kernel == stride == (1, 1) and offset == (0, 0) and groups == 1:
        return x[images, rows].reshape(1, -1, channels)
    image = cut(x, images, top, height, offset[1], width)
    n = len(image)
    shape = (groups, n, oh, ow, kh, kw, channels // groups)
    columns = scratch("columns", shape, x.dtype)
    by_row = image.shape[2] * channels
    windows = strided(
        image,
        shape,
        (
            channels // groups,
            image.shape[1] * by_row,
            by_row * stride[0],
            channels * stride[1],
            by_row,
            channels,
            1,
        ),
    )
    np.copyto(columns, windows)
    return columns.reshape(groups, n * oh * ow, kh * kw * channels // groups)


def _fold_all(g, w, dx, stride, padding, groups, bias):
    """dx = fold(g @ w.T) + bias."""
    n, oh, ow, outputs = g.shape
    kh, kw, inputs, _ = w.shape
    height, width = dx.shape[1:3]
    rows = max(height + 2 * padding[0], (oh - 1) * stride[0] + kh)
    columns = max(width + 2 * padding[1], (ow - 1) * stride[1] + kw)
    t = (
        _together(g, w.shape, stride[1], inputs, groups) if inputs > 3 else 1
    )  # with fewer, taps are quicker
    if t > 1:
        w, kw = _widened(w, t, stride[1]), kw + (t - 1) * stride[1]
        ow, outputs, stride = ow // t, outputs * t, (stride[0], stride[1] * t)
        g = g.reshape(n, oh, ow, outputs)
    matrices = np.ascontiguousarray(w.reshape(-1, groups, outputs // groups).transpose(1, 2, 0))

    def block(images, _):
        pixels = g[images].reshape(-1, groups, outputs // groups)
        windows = np.matmul(pixels.transpose(1, 0, 2), matrices)
        windows = windows.reshape(groups, -1, oh, ow, kh, kw, inputs).transpose(1, 2, 3, 4, 5, 0, 6)
        image = scratch("image", (len(windows), rows, columns, groups, inputs), g.dtype)
        image[...] = 0
        for i in range(kh):
            lines = image[:, i : i + stride[0] * oh : stride[0]]
            if ow < kw:  # whichever takes fewer steps: a window at a time,
                for c in range(ow):
                    lines[:, :, stride[1] * c : stride[1] * c + kw] += windows[:, :, c, i]
            else:  # or a tap of all windows
                for j in range(kw):
                    lines[:, :, j : j + stride[1] * ow : stride[1]] += windows[:, :, :, i, j]
        dx[images] = image[
            :, padding[0] : padding[0] + height, padding[1] : padding[1] + width
        ].reshape(dx[images].shape)
        if bias is not None:
            dx[images] += bias

    parts = _blocks(n, oh, ow * kh * kw * inputs * groups * g.itemsize, whole_images=True)
    parallel.run_all([functools.partial(block, *part) for part in parts])


def _blocks(images, rows, row_bytes, whole_images=False):
    """Cut (images, output rows) into parts of about BLOCK_BYTES of columns: several images, or rows of one."""
    size = min(BLOCK_BYTES, max(BLOCK_BYTES // 8, images * rows * row_bytes // 4))
    together = size // (row_bytes * rows)
    if together or whole_images:
        return [(part, slice(0, rows)) for part in parallel.blocks(images, together)]
    return [
        (slice(n, n + 1), part)
        for n in range(images)
        for part in parallel.blocks(rows, size // row_bytes)
    ]
