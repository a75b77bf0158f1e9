"""Convolution on NHWC images and HWIO weights: forward, input gradient, weight gradient.

Strictly speaking, it is a cross-correlation: the kernel is not turned around.

Each output pixel sees a window of the image: kh x kw pixels of C channels. All windows together are
an array (N, OH, OW, kh, kw, C), and with it all three are one matrix product:

    y = windows(x) . w      summed over kh, kw, C
    dx = fold(g . w)        summed over O; fold adds each window back to where it came from
    dw = windows(x) . g     summed over N, OH, OW

Groups are convolutions side by side, each of its own run of channels. stride, padding and kernel
are pairs (rows, columns).
"""

from tinygan.backend import xp

from . import kernel


def out_size(size, kernel, stride, padding):
    """Pixels along one axis after a convolution."""
    return (size + 2 * padding - kernel) // stride + 1


def taps(size, kernel, stride):
    """For each position in the kernel, the index of the pixels there, one per output pixel.

    size: rows and columns of the image, padding included.
    """
    oh, ow = (out_size(n, k, s, 0) for n, k, s in zip(size, kernel, stride))
    rows = [slice(i, i + stride[0] * oh, stride[0]) for i in range(kernel[0])]
    columns = [slice(j, j + stride[1] * ow, stride[1]) for j in range(kernel[1])]
    return [(slice(None), row, column) for row in rows for column in columns]


def windows(x, kernel, stride, padding):
    """What each output pixel sees: x (N, H, W, C) -> (N, OH, OW, kh, kw, C)."""
    x = xp.pad(x, ((0, 0), (padding[0],) * 2, (padding[1],) * 2, (0, 0)))
    seen = xp.stack([x[tap] for tap in taps(x.shape[1:3], kernel, stride)], 3)
    return seen.reshape(*seen.shape[:3], *kernel, x.shape[3])


def fold(seen, size, stride, padding):
    """The adjoint of `windows`: seen (N, OH, OW, kh, kw, C) -> (N, *size, C)."""
    n, oh, ow, kh, kw, channels = seen.shape
    height, width = (length + 2 * p for length, p in zip(size, padding))
    x = xp.zeros((n, height, width, channels), seen.dtype)
    for k, tap in enumerate(taps((height, width), (kh, kw), stride)):
        x[tap] += seen[:, :, :, k // kw, k % kw]
    return x[:, padding[0] : padding[0] + size[0], padding[1] : padding[1] + size[1]]


def by_group(function, groups, a, b):
    """function(a, b) for one group of their channels, the last axis, after the other."""
    parts = zip(xp.split(a, groups, -1), xp.split(b, groups, -1))
    return xp.concatenate([function(*part) for part in parts], -1)


@kernel
def forward(x, w, stride, padding, groups, bias=None):
    """x (N, H, W, C), w (kh, kw, C/groups, O), bias (O,) -> (N, OH, OW, O)."""

    def one_group(x, w):
        return xp.tensordot(windows(x, w.shape[:2], stride, padding), w, 3)

    y = by_group(one_group, groups, x, w)
    return y if bias is None else y + bias


@kernel
def input_gradient(g, w, size, stride, padding, groups, bias=None):
    """The adjoint of `forward` in x: g (N, OH, OW, O), w -> (N, *size, C).

    Also the transposed convolution, which may have a bias (C,)."""

    def one_group(g, w):
        return fold(xp.tensordot(g, w, (3, 3)), size, stride, padding)

    dx = by_group(one_group, groups, g, w)
    return dx if bias is None else dx + bias


@kernel
def weight_gradient(x, g, kernel, stride, padding, groups):
    """The adjoint of `forward` in w: x (N, H, W, C), g (N, OH, OW, O) -> (kh, kw, C/groups, O)."""

    def one_group(x, g):
        return xp.tensordot(windows(x, kernel, stride, padding), g, ((0, 1, 2), (0, 1, 2)))

    return by_group(one_group, groups, x, g)
