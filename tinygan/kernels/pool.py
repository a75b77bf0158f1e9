"""Maxima over windows of NHWC images.

Where the windows lie side by side, rows are compared first, a whole line of pixels and channels at a time, then
columns; short inner loops over a few channels are then left with half of the pixels or less.
"""

import numpy as np

from tinygan.backend import on_cpu, xp

from .cpu import parallel


def windows(size, kernel, stride):
    """For each of the kernel's taps, the index of the pixels that it meets, one per output pixel."""
    out = [(n - k) // s + 1 for n, k, s in zip(size, kernel, stride)]
    return [(slice(None), slice(i, i + stride[0] * out[0], stride[0]), slice(j, j + stride[1] * out[1], stride[1]))
            for i in range(kernel[0]) for j in range(kernel[1])]


def largest(x, kernel, stride):
    """The maximum of x (N, H, W, C) over each window."""
    if kernel != stride:
        return _chain(xp.maximum, [x[tap] for tap in windows(x.shape[1:3], kernel, stride)])
    return _by_images(lambda x: _side_by_side(xp.maximum, x, kernel), x)


def spread(g, x, y, kernel, stride):
    """Take g, one number for each window, back to the pixels that hold the maximum y; ties share it equally."""
    if kernel == stride:
        return _by_images(lambda *images: _spread_side_by_side(*images, kernel), g, x, y)
    dx, taps = xp.zeros(x.shape, x.dtype), windows(x.shape[1:3], kernel, stride)
    share = g / sum(xp.asarray(x[tap] == y, x.dtype) for tap in taps)
    for tap in taps:
        dx[tap] += share * (x[tap] == y)
    return dx


def gather(h, x, y, kernel, stride):
    """The adjoint of `spread` in g: the mean of h over the pixels of each window that hold its maximum."""
    hits = [xp.asarray(x[tap] == y, x.dtype) for tap in windows(x.shape[1:3], kernel, stride)]
    total = sum(hit * h[tap] for hit, tap in zip(hits, windows(x.shape[1:3], kernel, stride)))
    return total / sum(hits)


def _spread_side_by_side(g, x, y, kernel):
    inside = x[:, :y.shape[1] * kernel[0], :y.shape[2] * kernel[1]]
    hit = xp.asarray(inside == repeated(y, kernel), x.dtype)
    share = repeated(g / _side_by_side(xp.add, hit, kernel), kernel)
    share *= hit
    if inside.shape == x.shape:
        return share
    dx = xp.zeros(x.shape, x.dtype)
    dx[:, :inside.shape[1], :inside.shape[2]] = share
    return dx


def _by_images(function, *arrays):
    """function(*arrays), some images at a time."""
    n = len(arrays[0])
    if not on_cpu() or arrays[-1].size < parallel.SHARED // 4:
        return function(*arrays)
    parts = parallel.blocks(n, max(1, parallel.BLOCK * n // max(array.size for array in arrays)))
    results = [None] * len(parts)

    def block(i):
        results[i] = function(*(array[parts[i]] for array in arrays))

    parallel.run(block, range(len(parts)))
    return np.concatenate(results)


def repeated(y, kernel):
    """Each pixel of y kernel[0] x kernel[1] times."""
    if on_cpu():
        return y.repeat(kernel[1], 2).repeat(kernel[0], 1)
    (kh, kw), (n, height, width, channels) = kernel, y.shape  # CuPy's `repeat` takes a launch for each row
    wide = xp.broadcast_to(y[:, :, None, :, None], (n, height, kh, width, kw, channels))
    return wide.reshape(n, height * kh, width * kw, channels)


def _side_by_side(combine, x, kernel):
    (kh, kw), (n, height, width, channels) = kernel, x.shape
    rows = [x[:, i:height // kh * kh:kh] for i in range(kh)]
    lines = _chain(combine, rows)
    return _chain(combine, [lines[:, :, j:width // kw * kw:kw] for j in range(kw)])


def _chain(combine, parts):
    if len(parts) == 1:
        return parts[0].copy()
    y = combine(parts[0], parts[1])
    for part in parts[2:]:
        combine(y, part, out=y)
    return y
