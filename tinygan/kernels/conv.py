"""Convolution on NHWC images and HWIO weights: forward, input gradient, weight gradient.

All three are matrix products with the columns of the image: row (n, r, c) of the column matrix is the
window that output pixel (n, r, c) sees, kh*kw*C numbers, so that

    y = columns(x) @ w        dw = columns(x).T @ g        dx = fold(g @ w.T)

where fold adds every window back to where it came from. On a CPU the columns are made a block at a time
(about a megabyte, so that they are still in cache when BLAS reads them) and the blocks of a batch are
shared out to threads. In NHWC a row of a window is one contiguous copy.
"""

import numpy as np

from tinygan.backend import on_cpu, xp

from . import parallel

BLOCK_BYTES = 1 << 20  # of columns; fits the second-level cache of current cores
WEIGHT_PARTS = 8  # partial weight gradients, added in order whichever thread made them


def out_size(size, kernel, stride, padding):
    """Pixels along one axis after a convolution."""
    return (size + 2 * padding - kernel) // stride + 1


def forward(x, w, stride, padding, groups):
    """x (N, H, W, C), w (kh, kw, C/groups, O) -> y (N, OH, OW, O). stride, padding: pairs (rows, columns)."""
    n, height, width, _ = x.shape
    kh, kw, _, outputs = w.shape
    oh, ow = out_size(height, kh, stride[0], padding[0]), out_size(width, kw, stride[1], padding[1])
    if (kh, kw) == (height, width) and padding == (0, 0) and groups == 1:  # one window: a dense layer
        x, w = x.reshape(n, 1, 1, -1), w.reshape(1, 1, -1, outputs)
    matrices = _per_group(w, groups)
    y = xp.empty((n, oh, ow, outputs), x.dtype)

    def block(part):
        images, rows = part
        columns = _columns(x, images, rows, ow, w.shape[:2], stride, padding, groups)
        if groups == 1:
            target = y[images, rows].reshape(-1, outputs)  # a view: blocks are contiguous in y
            xp.matmul(columns[0], matrices[0], out=target)
        else:
            product = xp.matmul(columns, matrices)  # (groups, pixels, O/groups)
            shape = y[images, rows].shape[:3] + (groups, outputs // groups)
            y[images, rows] = xp.moveaxis(product, 0, 1).reshape(shape).reshape(y[images, rows].shape)

    _for_blocks(block, n, oh, ow * w.size // outputs * groups * x.itemsize)
    return y


def input_gradient(g, w, size, stride, padding, groups):
    """The adjoint of `forward` in x: g (N, OH, OW, O), w -> (N, *size, C). Also the transposed convolution."""
    n, oh, ow, outputs = g.shape
    kh, kw, inputs, _ = w.shape
    if (kh, kw) == size and padding == (0, 0) and (oh, ow) == (1, 1) and groups == 1:
        dx = forward(g, w.transpose(3, 0, 1, 2).reshape(1, 1, outputs, -1), (1, 1), (0, 0), 1)
        return dx.reshape(n, kh, kw, inputs)
    if stride == (1, 1) and padding[0] < kh and padding[1] < kw:
        # Each input pixel sees the output through the kernel turned by 180 degrees.
        turned = w[::-1, ::-1].reshape(kh, kw, inputs, groups, outputs // groups).transpose(0, 1, 4, 3, 2)
        turned = xp.ascontiguousarray(turned).reshape(kh, kw, outputs // groups, inputs * groups)
        return forward(g, turned, stride, (kh - 1 - padding[0], kw - 1 - padding[1]), groups)
    matrices = xp.ascontiguousarray(_per_group(w, groups).transpose(0, 2, 1))  # (groups, O/groups, kh*kw*C/groups)
    dx = xp.empty((n, *size, inputs * groups), g.dtype)

    def block(part):
        images, rows = part
        pixels = g[images, rows].reshape(-1, groups, outputs // groups)
        columns = xp.matmul(xp.moveaxis(pixels, 1, 0), matrices)
        columns = columns.reshape(groups, -1, oh, ow, kh, kw, inputs)
        _fold(columns, dx[images], stride, padding)

    _for_blocks(block, n, oh, ow * kh * kw * inputs * groups * g.itemsize, whole_images=True)
    return dx


def weight_gradient(x, g, kernel, stride, padding, groups):
    """The adjoint of `forward` in w: x (N, H, W, C), g (N, OH, OW, O) -> (kh, kw, C/groups, O)."""
    n, oh, ow, outputs = g.shape
    inputs = x.shape[3] // groups
    if kernel == x.shape[1:3] and padding == (0, 0) and groups == 1:
        x, taps = x.reshape(n, 1, 1, -1), (1, 1)
    else:
        taps = kernel
    depth = taps[0] * taps[1] * x.shape[3] // groups
    parts = _blocks(n, oh, ow * depth * groups * x.itemsize)
    shares = parallel.blocks(len(parts), -(-len(parts) // WEIGHT_PARTS))
    partial = xp.zeros((len(shares), groups, depth, outputs // groups), x.dtype)

    def share(index):
        for images, rows in parts[shares[index]]:
            columns = _columns(x, images, rows, ow, taps, stride, padding, groups)
            pixels = xp.moveaxis(g[images, rows].reshape(-1, groups, outputs // groups), 1, 0)
            partial[index] += xp.matmul(columns.transpose(0, 2, 1), pixels)

    _run(share, range(len(shares)))
    dw = partial[0]
    for other in partial[1:]:
        dw += other
    dw = dw.reshape(groups, *kernel, inputs, outputs // groups).transpose(1, 2, 3, 0, 4)
    return xp.ascontiguousarray(dw).reshape(*kernel, inputs, outputs)


def _per_group(w, groups):
    """w (kh, kw, C/groups, O) as matrices (groups, kh*kw*C/groups, O/groups)."""
    outputs = w.shape[3]
    return xp.ascontiguousarray(w.reshape(-1, groups, outputs // groups).transpose(1, 0, 2))


def _columns(x, images, rows, ow, kernel, stride, padding, groups):
    """Windows of x for output pixels (images, rows, all columns): (groups, pixels, kh*kw*C/groups)."""
    n, height, width, channels = x[images].shape
    (kh, kw), count = kernel, rows.stop - rows.start
    if (kh, kw) == stride == (1, 1) and padding == (0, 0) and groups == 1:
        return x[images, rows].reshape(1, -1, channels)
    image = _padded(x, images, rows.start * stride[0] - padding[0], (count - 1) * stride[0] + kh, padding[1])
    shape = (groups, n, count, ow, kh, kw, channels // groups)
    columns = parallel.scratch("columns", shape, x.dtype) if on_cpu() else xp.empty(shape, x.dtype)
    if on_cpu():
        by_image, by_row, by_column, by_channel = image.strides
        windows = np.lib.stride_tricks.as_strided(
            image, shape, (by_channel * (channels // groups), by_image, by_row * stride[0], by_column * stride[1],
                           by_row, by_column, by_channel), writeable=False)
        np.copyto(columns, windows)
    else:
        for i in range(kh):
            for j in range(kw):
                tap = image[:, i:i + stride[0] * count:stride[0], j:j + stride[1] * ow:stride[1]]
                columns[:, :, :, :, i, j] = xp.moveaxis(tap.reshape(n, count, ow, groups, -1), 3, 0)
    return columns.reshape(groups, n * count * ow, kh * kw * channels // groups)


def _padded(x, images, top, rows, padding):
    """Rows top..top+rows of x[images], zeros where they lie outside, with `padding` zero columns each side."""
    n, height, width, channels = x[images].shape
    if top >= 0 and top + rows <= height and not padding:
        return x[images, top:top + rows]
    shape = (n, rows, width + 2 * padding, channels)
    image = parallel.scratch("padded", shape, x.dtype) if on_cpu() else xp.empty(shape, x.dtype)
    first, last = min(max(top, 0), height), max(min(top + rows, height), 0)
    above = min(max(-top, 0), rows)
    below = above + max(last - first, 0)
    image[:, :above] = 0
    image[:, below:] = 0
    image[:, :, :padding] = 0
    image[:, :, padding + width:] = 0
    image[:, above:below, padding:padding + width] = x[images, first:last]
    return image


def _fold(columns, target, stride, padding):
    """Add windows (groups, N, OH, OW, kh, kw, C/groups) up into images; the adjoint of taking columns."""
    groups, n, oh, ow, kh, kw, inputs = columns.shape
    height, width = target.shape[1:3]
    shape = (n, max(height + 2 * padding[0], (oh - 1) * stride[0] + kh),
             max(width + 2 * padding[1], (ow - 1) * stride[1] + kw), groups, inputs)
    image = parallel.scratch("padded", shape, target.dtype) if on_cpu() else xp.empty(shape, target.dtype)
    image[...] = 0
    for i in range(kh):
        for j in range(kw):
            tap = image[:, i:i + stride[0] * oh:stride[0], j:j + stride[1] * ow:stride[1]]
            tap += xp.moveaxis(columns[:, :, :, :, i, j], 0, 3)
    image = image.reshape(*shape[:3], groups * inputs)
    target[...] = image[:, padding[0]:padding[0] + height, padding[1]:padding[1] + width]


def _blocks(images, rows, row_bytes, whole_images=False):
    """Cut (images, output rows) into parts of about BLOCK_BYTES of columns: several images, or rows of one."""
    if not on_cpu():
        return [(slice(0, images), slice(0, rows))]
    together = BLOCK_BYTES // (row_bytes * rows)
    if together or whole_images:
        return [(part, slice(0, rows)) for part in parallel.blocks(images, together)]
    return [(slice(n, n + 1), part) for n in range(images)
            for part in parallel.blocks(rows, BLOCK_BYTES // row_bytes)]


def _for_blocks(function, images, rows, row_bytes, whole_images=False):
    _run(function, _blocks(images, rows, row_bytes, whole_images))


def _run(function, items):
    if on_cpu():
        parallel.run(function, items)
    else:
        for item in items:
            function(item)
