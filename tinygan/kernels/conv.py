"""Convolution of NHWC images with HWIO weights: forward, input gradient, weight gradient.

As everywhere in deep learning, "convolution" means cross-correlation: the weights are not flipped.

Each output pixel depends on a window of the image: kh x kw pixels of C channels. `unfold` collects
all windows in an array (N, OH, OW, kh, kw, C). Each of the three passes is then one matrix product:

    y  = unfold(x) . w      summed over kh, kw, C
    dx = fold(g . w)        summed over O; fold adds each window back to its place in the image
    dw = unfold(x) . g      summed over N, OH, OW

The *adjoint* A^T of a linear map A satisfies <A x, y> = <x, A^T y> for all x and y. Backpropagation
through A applies A^T. So `fold` is the adjoint of `unfold`, and the two gradients are the adjoints
of the convolution, which is linear in x and in w.

With groups > 1, the channels are split into groups, and each group has a convolution of its own.
kernel_size, stride and padding are pairs (rows, columns).
"""

from tinygan.backend import xp

from . import kernel


def out_size(size, kernel_size, stride, padding):
    """Return the number of output pixels along one axis."""
    return (size + 2 * padding - kernel_size) // stride + 1


def taps(size, kernel_size, stride):
    """Return kh * kw indices. x[taps[k]] (N, OH, OW, C) holds, for every window, its k-th pixel.

    A *tap* is such a position in a window, counted row by row. size: rows and columns of the image,
    padding included.
    """
    oh, ow = (out_size(n, k, s, 0) for n, k, s in zip(size, kernel_size, stride))
    rows = [slice(i, i + stride[0] * oh, stride[0]) for i in range(kernel_size[0])]
    columns = [slice(j, j + stride[1] * ow, stride[1]) for j in range(kernel_size[1])]
    return [(slice(None), row, column) for row in rows for column in columns]


def unfold(x, kernel_size, stride, padding):
    """Return the window of each output pixel: x (N, H, W, C) -> (N, OH, OW, kh, kw, C)."""
    x = xp.pad(x, ((0, 0), (padding[0],) * 2, (padding[1],) * 2, (0, 0)))
    windows = xp.stack([x[tap] for tap in taps(x.shape[1:3], kernel_size, stride)], 3)
    return windows.reshape(*windows.shape[:3], *kernel_size, x.shape[3])


def fold(windows, size, stride, padding):
    """The adjoint of `unfold`: windows (N, OH, OW, kh, kw, C) -> (N, *size, C)."""
    n, oh, ow, kh, kw, channels = windows.shape
    height, width = (length + 2 * p for length, p in zip(size, padding))
    x = xp.zeros((n, height, width, channels), windows.dtype)
    for k, tap in enumerate(taps((height, width), (kh, kw), stride)):
        x[tap] += windows[:, :, :, k // kw, k % kw]
    return x[:, padding[0] : padding[0] + size[0], padding[1] : padding[1] + size[1]]


def for_each_group(function, groups, a, b):
    """Split the channels of a and b into groups; join the results of function(a, b) of each."""
    parts = zip(xp.split(a, groups, -1), xp.split(b, groups, -1))
    return xp.concatenate([function(*part) for part in parts], -1)


@kernel
def forward(x, w, stride, padding, groups, bias=None):
    """Convolve: x (N, H, W, C), w (kh, kw, C/groups, O), bias (O,) -> (N, OH, OW, O)."""

    def one_group(x, w):
        # The sum over kh, kw and C: the last three axes of the windows, the first three of w.
        return xp.tensordot(unfold(x, w.shape[:2], stride, padding), w, 3)

    y = for_each_group(one_group, groups, x, w)
    return y if bias is None else y + bias


@kernel
def input_gradient(g, w, size, stride, padding, groups, bias=None):
    """The adjoint of `forward` as a map of x: g (N, OH, OW, O) -> (N, *size, C).

    w: (kh, kw, C/groups, O). It is also the transposed convolution, which may have a bias (C,).
    """

    def one_group(g, w):
        # The sum over O, axis 3 of both, gives (N, OH, OW, kh, kw, C).
        return fold(xp.tensordot(g, w, (3, 3)), size, stride, padding)

    dx = for_each_group(one_group, groups, g, w)
    return dx if bias is None else dx + bias


@kernel
def weight_gradient(x, g, kernel_size, stride, padding, groups):
    """The adjoint of `forward` as a map of w: g (N, OH, OW, O) -> (kh, kw, C/groups, O).

    x: (N, H, W, C).
    """

    def one_group(x, g):
        # The sum over N, OH and OW, axes 0, 1 and 2 of both.
        return xp.tensordot(unfold(x, kernel_size, stride, padding), g, ((0, 1, 2), (0, 1, 2)))

    return for_each_group(one_group, groups, x, g)
