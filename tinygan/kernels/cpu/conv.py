"""Convolution, one block at a time.

The windows of a batch are the rows of a matrix, the columns matrix (as in im2col): row (n, r, c)
holds the window of output pixel (n, r, c), kh * kw * C numbers. The matrix is made one block at a
time: two megabytes, so that a block is still in the cache when BLAS reads it. The threads share the
blocks. In NHWC, each row of a window is contiguous, so it is one copy.

Folding writes each pixel many times. So dx is computed as correlations with the flipped weights,
one for each phase of the stride: with stride 2, the input pixels of even rows depend on every
second row of the weights, and those of odd rows on the others. With few input channels, folding is
faster nevertheless, if the windows of neighbouring pixels are added as one (`_pixels_to_fold`).

Other ways are faster for some shapes. 3x3 windows with many channels, and 4x4 ones of stride 2, use
Winograd's method (winograd.py). With few channels, neighbouring output pixels are merged into one
(`_pixels_to_merge`), and with few channels in a group, neighbouring groups (groups.py). A
window as large as the image is a plain matrix product, one for each group.
"""

import functools
import math

import numpy as np

from tinygan.backend import xp

from .. import conv, fast
from ..conv import out_size
from . import linear, parallel, winograd
from .groups import groups_to_merge, merge_groups, merge_groups_adjoint
from .parallel import scratch
from .windows import rectangle, strided

# Bytes of columns in a block. Small enough for a core's share of the cache, and large enough that
# the threads seldom meet at the interpreter lock: at batch 64, blocks of 0.5, 1, 2 and 4 MB took
# 6.7, 6.9, 6.1 and 5.8 ms; at batch 16, they took 2.1, 1.9, 1.6 and 2.7 ms, because 4 MB left too
# few blocks for two threads (4x4 stride 2, 14x14x64 -> 7x7x128).
BLOCK_BYTES = 2 << 20
# The largest number of input channels for which folding is faster (3 for 1x1 windows). Otherwise,
# a product would have a very narrow matrix.
FOLD_CHANNELS = 1
WEIGHT_PARTS = 8  # partial weight gradients; they are added in order, whichever thread made them


@fast(conv.forward)
def forward(x, w, stride, padding, groups, bias=None):
    """Each block adds the bias while its pixels are still in the cache."""
    w, groups = merge_groups(w, groups)
    n, outputs = x.shape[0], w.shape[3]
    size = tuple(map(out_size, x.shape[1:3], w.shape[:2], stride, padding))
    if _is_dense(w.shape[:2], x.shape[1:3], size, padding):
        y = _join(linear.matmul(_flat(x, groups), _matrices(w, groups)), n, *size, outputs)
        return y if bias is None else np.add(y, bias, out=y)
    y = xp.empty((n, *size, outputs), x.dtype)
    if plan := _winograd_plan(w, stride, size, groups):
        winograd.forward(x, w, plan, padding, y, bias)
        return y
    offset = (-padding[0], -padding[1])
    parallel.run_all(_correlation_tasks(x, w, stride, offset, groups, y, bias))
    return y


@fast(conv.input_gradient)
def input_gradient(g, w, size, stride, padding, groups, bias=None):
    w, groups = merge_groups(w, groups)
    n, oh, ow, outputs = g.shape
    kh, kw, inputs, _ = w.shape
    if _is_dense((kh, kw), size, (oh, ow), padding):
        dx = linear.matmul(_flat(g, groups), _matrices(w, groups).swapaxes(-1, -2))
        dx = _join(dx, n, kh, kw, inputs * groups)
        return dx if bias is None else np.add(dx, bias, out=dx)
    dx = xp.empty((n, *size, inputs * groups), g.dtype)
    if inputs * groups <= (max(FOLD_CHANNELS, 3) if (kh, kw) == (1, 1) else FOLD_CHANNELS):
        _multiply_and_fold(g, w, dx, stride, padding, groups, bias)
        return dx
    # For 3x3 windows of stride 2, Winograd's method pays only if its tiles fill the image.
    full = all(n % (winograd.M * s) == 0 for n, s in zip(size, stride))
    sizes = winograd.INPUT_SIZES if full else winograd.SIZES
    if plan := _winograd_plan(w, stride, (oh, ow), groups, sizes):
        winograd.input_gradient(g, w, plan, padding, dx, bias)
        return dx
    t = _pixels_to_fold((oh, ow), size, (kh, kw), stride, (inputs, outputs)) if groups == 1 else 0
    if t:
        merged = g.reshape(n, oh, ow // t, t * outputs)
        w = _merge_weights(w, t, stride[1])
        _multiply_and_fold(merged, w, dx, (stride[0], stride[1] * t), padding, 1, bias)
        return dx
    # The weights as (kh, kw, O/groups, C), flipped along both axes.
    flipped = w[::-1, ::-1].reshape(kh, kw, inputs, groups, outputs // groups)
    flipped = flipped.transpose(0, 1, 4, 3, 2)
    flipped = xp.ascontiguousarray(flipped).reshape(kh, kw, outputs // groups, inputs * groups)
    tasks = []  # of all phases at once, so that the threads wait for each other only once
    for row in range(stride[0]):
        for column in range(stride[1]):
            taps, offset = zip(*map(_taps_of_phase, (row, column), (kh, kw), stride, padding))
            target = dx[:, row :: stride[0], column :: stride[1]]
            if 0 in target.shape:
                continue
            weights = flipped[taps]
            if 0 in weights.shape:  # the stride skips these pixels
                target[...] = 0 if bias is None else bias
            else:
                tasks += _correlation_tasks(g, weights, (1, 1), offset, groups, target, bias)
    parallel.run_all(tasks)
    return dx


def _taps_of_phase(phase, kernel_size, stride, padding):
    """Return which taps the input pixels phase, phase + stride, ... of one axis depend on.

    The result is a slice of the flipped weights, and the position on g of the first of these taps
    for the first of these pixels.

    Pixel y = stride * q + phase takes tap i of w times g[(y + padding - i) / stride], so
    i = stride * t + rest.
    """
    ahead, rest = divmod(phase + padding, stride)
    count = len(range(rest, kernel_size, stride))
    return slice((kernel_size - 1 - rest) % stride, None, stride), ahead - count + 1


@fast(conv.weight_gradient)
def weight_gradient(x, g, kernel_size, stride, padding, groups):
    n, oh, ow, outputs = g.shape
    inputs = x.shape[3] // groups
    m = groups_to_merge(groups, inputs, outputs // groups)
    if m > 1:
        dw = weight_gradient(x, g, kernel_size, stride, padding, groups // m)
        return merge_groups_adjoint(dw, groups, m)
    if plan := winograd.make_plan(kernel_size, stride, (oh, ow), (inputs, outputs), groups):
        return winograd.weight_gradient(x, g, plan, padding)
    if _is_dense(kernel_size, x.shape[1:3], (oh, ow), padding):
        dw = linear.matmul(_flat(x, groups).swapaxes(-1, -2), _flat(g, groups))
        return _join(dw, *kernel_size, inputs, outputs)
    t = _pixels_to_merge(g, kernel_size, stride[1], inputs, groups)
    if t > 1:
        merged = g.reshape(n, oh, ow // t, t * outputs)
        wide = (kernel_size[0], kernel_size[1] + (t - 1) * stride[1])
        dw = weight_gradient(x, merged, wide, (stride[0], stride[1] * t), padding, 1)
        return _merge_weights_adjoint(dw, t, stride[1])
    depth = kernel_size[0] * kernel_size[1] * inputs
    offset = (-padding[0], -padding[1])
    parts = _blocks(n, oh, ow * depth * groups * x.itemsize)
    shares = parallel.blocks(len(parts), -(-len(parts) // WEIGHT_PARTS))
    partial = xp.zeros((len(shares), groups, depth, outputs // groups), x.dtype)

    def share(index):
        for images, rows in parts[shares[index]]:
            columns = _columns(x, images, rows, ow, kernel_size, stride, offset, groups)
            pixels = g[images, rows].reshape(-1, groups, outputs // groups)
            partial[index] += np.matmul(columns.transpose(0, 2, 1), pixels.transpose(1, 0, 2))

    parallel.run_all([functools.partial(share, index) for index in range(len(shares))])
    dw = xp.zeros(partial.shape[1:], x.dtype)
    for part in partial:
        dw += part
    dw = dw.reshape(groups, *kernel_size, inputs, outputs // groups).transpose(1, 2, 3, 0, 4)
    return xp.ascontiguousarray(dw).reshape(*kernel_size, inputs, outputs)


def _flat(x, groups):
    """Return x (N, ...) as a matrix (N, everything else), also if N is 0; with groups > 1, as
    matrices (groups, N, everything else of one group)."""
    if groups == 1:
        return x.reshape(len(x), math.prod(x.shape[1:]))
    x = x.reshape(len(x), math.prod(x.shape[1:3]), groups, x.shape[3] // groups)
    return x.transpose(2, 0, 1, 3).reshape(groups, len(x), math.prod(x.shape[1::2]))


def _matrices(w, groups):
    """Return w (kh, kw, C, O) as a matrix (kh * kw * C, O); with groups > 1, as a matrix for each
    group, (groups, kh * kw * C, O / groups)."""
    if groups == 1:
        return w.reshape(w[..., 0].size, w.shape[3])
    return w.reshape(w[..., 0].size, groups, w.shape[3] // groups).swapaxes(0, 1)


def _join(result, *shape):
    """Return the product of such matrices as an array of this shape, with the groups side by
    side in its last axis."""
    if result.ndim == 3:
        groups, rows, columns = result.shape
        channels = shape[-1] // groups
        result = result.reshape(groups, rows, columns // channels, channels).transpose(1, 2, 0, 3)
    return result.reshape(shape)


def _is_dense(kernel_size, size, out, padding):
    """Return whether the only window is the image itself. Then convolution is a matrix product."""
    return kernel_size == size and out == (1, 1) and padding == (0, 0)


def _winograd_plan(w, stride, out, groups, sizes=winograd.SIZES):
    return winograd.make_plan(w.shape[:2], stride, out, w.shape[2:], groups, sizes)


def _pixels_to_merge(pixels, kernel_size, stride, channels, groups):
    """Return how many neighbours in a row of output `pixels` (N, OH, OW, O) to compute as one.

    With few channels, a window consists of many short runs of numbers, and BLAS is slow at products
    with few columns. So t neighbouring pixels are merged: they are one pixel of a convolution with
    t times the outputs. Its window is wider by the t - 1 steps between the pixels, and its weights
    are shifted copies of w among zeros. The runs are fewer and longer; the arithmetic is more, but
    faster. The result is the t for which the estimated time is least. LeNet's first layer (5x5,
    1 -> 6 channels, batch 128): 2.0 -> 1.0 ms.
    """
    if groups > 1 or not pixels.flags.c_contiguous:
        return 1
    return _fastest_correlation(pixels.shape[2:], kernel_size[:2], stride, channels)[1]


@functools.lru_cache(1024)
def _fastest_correlation(pixels, kernel_size, stride, channels):
    """Return (nanoseconds, t): the estimated time of an output pixel, with t of them merged.

    pixels: (their number in a row, their channels).
    """
    width, outputs = pixels

    def nanoseconds(t):
        """Measured: 12 a run, 0.25 a number, 0.025 a multiply-add."""
        run = (kernel_size[1] + (t - 1) * stride) * channels
        slowdown = 1 + 8 / (t * outputs)  # of BLAS with few columns
        return kernel_size[0] * ((12 + run * 0.25) / t + run * outputs * 0.025 * slowdown)

    return min((nanoseconds(t), t) for t in range(1, width + 1) if width % t == 0)


@functools.lru_cache(1024)
def _pixels_to_fold(out, size, kernel_size, stride, channels):
    """Return how many neighbours in a row of g (N, *out, O) to fold as one into dx (N, *size, C),
    or 0 if correlations are faster.

    As in `_pixels_to_merge`, t neighbouring pixels become one with t times the channels. A row of
    its window, a run, is added to dx at once: t times fewer additions than one window at a time,
    and each is longer. The result is the t for which the estimated time is least. LeNet's second
    layer (5x5, 6 <- 16 channels, batch 128): 6.2 -> 2.6 ms; the first layer of a DCGAN's D for
    colours (4x4 stride 2, 3 <- 64 channels, 16x16 pixels of g, batch 32): 8.3 -> 1.7 ms.
    channels: (C, O).
    """
    (inputs, outputs), width = channels, out[1]

    def nanoseconds(t):
        """The time of a pixel of g. Measured: 12 a run, 1.4 a number, 0.019 a multiply-add."""
        run = (kernel_size[1] + (t - 1) * stride[1]) * inputs
        slowdown = 1 + 26 / (kernel_size[0] * run)  # of BLAS with few columns
        return kernel_size[0] * ((12 + run * 1.4) / t + run * outputs * 0.019 * slowdown)

    time, t = min((nanoseconds(t), t) for t in range(1, width + 1) if width % t == 0)
    # The taps of one phase. Only with stride 1 are a phase's pixels contiguous and can be merged.
    taps = [length / step for length, step in zip(kernel_size, stride)]
    pixels = (size[1] if stride == (1, 1) else 1), inputs
    correlation, _ = _fastest_correlation(pixels, tuple(taps), 1, outputs)
    # The estimates are off by a fifth, so a small lead is none.
    return t if out[0] * width * time < 0.9 * size[0] * size[1] * correlation else 0


def _merge_weights(w, t, stride):
    """Return the weights for t merged pixels.

    w (kh, kw, C, O) -> (kh, kw + (t - 1) * stride, C, t * O). Because of the zeros, a NaN or an
    infinity in the window of one pixel spoils all t of them.
    """
    kh, kw, channels, outputs = w.shape
    merged = xp.zeros((kh, kw + (t - 1) * stride, channels, t, outputs), w.dtype)
    for k in range(t):
        merged[:, k * stride : k * stride + kw, :, k] = w
    return merged.reshape(*merged.shape[:3], -1)


def _merge_weights_adjoint(dw, t, stride):
    """The adjoint of `_merge_weights`: the gradient of w from the gradient of its result."""
    kh, width, channels, outputs = dw.shape
    dw, kw = dw.reshape(kh, width, channels, t, outputs // t), width - (t - 1) * stride
    return sum(dw[:, k * stride : k * stride + kw, :, k] for k in range(t))


def _correlation_tasks(x, w, stride, offset, groups, out, bias=None):
    """Return tasks, one for each block, that write the correlation of x with w into `out`:

        out[n, r, c] = (the window of x at (r, c) * stride + offset) @ w + bias

    A window holds zeros where it lies outside x.
    """
    n, oh, ow, outputs = out.shape
    t = _pixels_to_merge(out, w.shape, stride[1], w.shape[2], groups)
    if t > 1:
        w, bias = _merge_weights(w, t, stride[1]), None if bias is None else np.tile(bias, t)
        out, stride = out.reshape(n, oh, ow // t, t * outputs), (stride[0], stride[1] * t)
        ow, outputs = ow // t, outputs * t
    matrices = xp.ascontiguousarray(w.reshape(-1, groups, outputs // groups).transpose(1, 0, 2))
    direct = groups == 1 and out.flags.c_contiguous

    def block(images, rows):
        columns = _columns(x, images, rows, ow, w.shape[:2], stride, offset, groups)
        target = out[images, rows]
        if direct:  # blocks are contiguous, so `reshape` returns a view
            np.matmul(columns[0], matrices[0], out=target.reshape(-1, outputs))
        elif groups == 1:
            product = scratch("product", (columns.shape[1], outputs), x.dtype)
            target[...] = np.matmul(columns[0], matrices[0], out=product).reshape(target.shape)
        else:
            target[...] = np.matmul(columns, matrices).transpose(1, 0, 2).reshape(target.shape)
        if bias is not None:
            target += bias

    parts = _blocks(n, oh, ow * matrices.shape[1] * groups * x.itemsize)
    return [functools.partial(block, *part) for part in parts]


def _columns(x, images, rows, ow, kernel_size, stride, offset, groups):
    """Return the windows of some images and output rows: (groups, pixels, kh*kw*C/groups)."""
    channels = x.shape[3]
    (kh, kw), oh = kernel_size, rows.stop - rows.start
    top = rows.start * stride[0] + offset[0]
    height, width = (oh - 1) * stride[0] + kh, (ow - 1) * stride[1] + kw
    inside = rows.stop <= x.shape[1] and ow == x.shape[2]
    if inside and kernel_size == stride == (1, 1) and offset == (0, 0) and groups == 1:
        return x[images, rows].reshape(1, -1, channels)
    image = rectangle(x, images, top, height, offset[1], width)
    n = len(image)
    shape = (groups, n, oh, ow, kh, kw, channels // groups)
    columns = scratch("columns", shape, x.dtype)
    line = image.shape[2] * channels
    to_pixel = image.shape[1] * line, line * stride[0], channels * stride[1]
    strides = channels // groups, *to_pixel, line, channels, 1
    np.copyto(columns, strided(image, shape, strides))
    return columns.reshape(groups, n * oh * ow, kh * kw * channels // groups)


def _multiply_and_fold(g, w, dx, stride, padding, groups, bias):
    """Write fold(g @ w.T) + bias into dx.

    Each window is added row by row. With one channel, the rows are short; then it is faster to add
    one tap of all windows in a row of pixels at a time (also for 1x1 windows, which have no other).
    """
    n, oh, ow, outputs = g.shape
    kh, kw, inputs, _ = w.shape
    height, width = dx.shape[1:3]
    rows = max(height + 2 * padding[0], (oh - 1) * stride[0] + kh)
    columns = max(width + 2 * padding[1], (ow - 1) * stride[1] + kw)
    matrices = xp.ascontiguousarray(w.reshape(-1, groups, outputs // groups).transpose(1, 2, 0))
    tap_by_tap = kw <= (ow if inputs * groups == 1 else 1)

    def block(images, _):
        pixels = g[images].reshape(-1, groups, outputs // groups)
        shape = (groups, len(pixels), matrices.shape[2])
        windows = scratch("windows", shape, g.dtype)
        np.matmul(pixels.transpose(1, 0, 2), matrices, out=windows)
        windows = windows.reshape(groups, -1, oh, ow, kh, kw, inputs).transpose(1, 2, 3, 4, 5, 0, 6)
        image = scratch("image", (len(windows), rows, columns, groups, inputs), g.dtype)
        image[...] = 0
        for i in range(kh):
            lines = image[:, i : i + stride[0] * oh : stride[0]]
            if tap_by_tap:
                for j in range(kw):
                    lines[:, :, j : j + stride[1] * ow : stride[1]] += windows[:, :, :, i, j]
            else:
                for c in range(ow):
                    lines[:, :, stride[1] * c : stride[1] * c + kw] += windows[:, :, c, i]
        inside = image[:, padding[0] : padding[0] + height, padding[1] : padding[1] + width]
        dx[images] = inside.reshape(dx[images].shape)
        if bias is not None:
            dx[images] += bias

    parts = _blocks(n, oh, ow * kh * kw * inputs * groups * g.itemsize, whole_images=True)
    parallel.run_all([functools.partial(block, *part) for part in parts])


def _blocks(images, rows, row_bytes, whole_images=False):
    """Cut (images, output rows) into parts of at most BLOCK_BYTES of columns.

    A part is several images, or several rows of one image. Parts of small batches are smaller, so
    that each thread has one.
    """
    size = min(BLOCK_BYTES, max(BLOCK_BYTES // 8, images * rows * row_bytes // 4))
    images_per_block = size // (row_bytes * rows)
    if images_per_block or whole_images:
        return [(part, slice(0, rows)) for part in parallel.blocks(images, images_per_block)]
    return [
        (slice(n, n + 1), part)
        for n in range(images)
        for part in parallel.blocks(rows, size // row_bytes)
    ]
