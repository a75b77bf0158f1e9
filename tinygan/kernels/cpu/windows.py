"""Rectangles of NHWC images, padded with zeros, and strided views."""

import numpy as np

from .parallel import scratch

# Numbers up to which the whole rectangle is set to 0 in one call, instead of its edges in four.
ONE_FILL = 1 << 15


def rectangle(x, images, top, height, left, width):
    """Return the rectangle of x[images] with this corner and size, C-contiguous.

    It holds zeros where it lies outside the image. If it is all of x[images], the result is a view;
    otherwise a scratch buffer, valid until this thread calls `rectangle` again.
    """
    x = x[images]
    n, rows, columns, channels = x.shape
    if (top, left, height, width) == (0, 0, rows, columns) and x.flags.c_contiguous:
        return x
    (above, below), (before, after) = _overlap(top, height, rows), _overlap(left, width, columns)
    image = scratch("image", (n, height, width, channels), x.dtype)
    if image.size <= ONE_FILL:
        image.fill(0)
    else:
        for edge in (
            image[:, :above],
            image[:, below:],
            image[:, above:below, :before],
            image[:, above:below, after:],
        ):
            if edge.size:
                edge[...] = 0
    inside = x[:, top + above : top + below, left + before : left + after]
    image[:, above:below, before:after] = inside
    return image


def _overlap(start, length, size):
    """Return the first and last + 1 of those i in range(length) with start + i in range(size)."""
    first = min(max(0, -start), length)
    return first, max(first, min(length, size - start))


def strided(x, shape, strides):
    """Return a view of C-contiguous x with this shape and these strides, counted in elements.

    Its windows may overlap, so do not write to it. (np.lib.stride_tricks.as_strided takes ten times
    as long.)
    """
    if not isinstance(x, np.ndarray):  # of a recorded step
        return x.strided(shape, [x.itemsize * s for s in strides])
    return np.ndarray(shape, x.dtype, x, 0, [x.itemsize * s for s in strides])
