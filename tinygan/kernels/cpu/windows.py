"""Rectangles and windows of NHWC images, with zeros around them."""

import numpy as np

from .parallel import scratch


def cut(x, images, top, height, left, width):
    """The rectangle of x[images] with this corner and size, zeros where it lies outside; C-contiguous.

    A view where it is all of x[images]; otherwise a scratch buffer, valid until this thread cuts again.
    """
    x = x[images]
    n, rows, columns, channels = x.shape
    if (top, left, height, width) == (0, 0, rows, columns) and x.flags.c_contiguous:
        return x
    (above, below), (before, after) = _overlap(top, height, rows), _overlap(left, width, columns)
    image = scratch("image", (n, height, width, channels), x.dtype)
    for edge in (
        image[:, :above],
        image[:, below:],
        image[:, above:below, :before],
        image[:, above:below, after:],
    ):
        if edge.size:
            edge[...] = 0
    image[:, above:below, before:after] = x[
        :, top + above : top + below, left + before : left + after
    ]
    return image


def _overlap(start, length, size):
    """The stretch of range(length) for which start + i lies in range(size)."""
    first = min(max(0, -start), length)
    return first, max(first, min(length, size - start))


def strided(x, shape, strides):
    """A view of C-contiguous x (NumPy) with this shape and these strides, in elements. Windows may overlap:
    not to be written to. (np.lib.stride_tricks.as_strided takes ten times as long.)
    """
    return np.ndarray(shape, x.dtype, x, 0, [x.itemsize * s for s in strides])
