"""Filtering with resampling, and moving, turning and stretching images: linear maps, each beside its adjoint."""

import numpy as np

from tinygan.backend import asarray, xp

from . import kernel


def filtered_size(size, f, up, down, padding):
    """Rows and columns that `upfirdn2d` makes of images of this size. Raises ValueError if there are none."""
    left, right, top, bottom = padding
    out = ((size[0] * up[0] + top + bottom - f.shape[0]) // down[0] + 1,
           (size[1] * up[1] + left + right - f.shape[1]) // down[1] + 1)
    if min(out) < 1:
        raise ValueError(f"upfirdn2d: a filter of shape {f.shape} leaves nothing of images of {size[0]}x{size[1]} "
                         f"with up {up} and padding {padding}")
    return out


@kernel
def upfirdn2d(x, f, up, down, padding):
    """Correlate zero-stuffed, padded x (N, H, W, C) with f (rows, columns, a host array), keep every down-th pixel.

    padding: left, right, top, bottom; negative crops.
    """
    n, height, width, channels = x.shape
    rows, columns = filtered_size((height, width), f, up, down, padding)
    stuffed = xp.zeros((n, height * up[0], width * up[1], channels), x.dtype)
    stuffed[:, ::up[0], ::up[1]] = x
    left, right, top, bottom = padding
    padded = xp.pad(stuffed, ((0, 0), *((max(0, p), max(0, q)) for p, q in ((top, bottom), (left, right))), (0, 0)))
    padded = padded[:, max(0, -top):, max(0, -left):]
    y = xp.zeros((n, rows, columns, channels), x.dtype)
    for i, j in np.ndindex(f.shape):
        y += float(f[i, j]) * padded[:, i:i + down[0] * rows:down[0], j:j + down[1] * columns:down[1]]
    return y


@kernel
def translate(x, shifts):
    """x (N, H, W, C) moved by shifts (N, 2), integers; 0 comes in."""
    n, height, width, _ = x.shape
    rows = xp.arange(height)[:, None] - shifts[:, :1, None]  # (N, H, 1): where each pixel comes from
    columns = xp.arange(width) - shifts[:, 1:, None]  # (N, 1, W)
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    y = x[xp.arange(n)[:, None, None], xp.clip(rows, 0, height - 1), xp.clip(columns, 0, width - 1)]
    return xp.where(inside[..., None], y, xp.zeros_like(y))


@kernel
def gather(x, theta, size):
    """Sample x (N, H, W, C) under the maps theta (N, 2, 3), a host array: (N, *size, C). See ops.affine_warp."""
    n, height, width, channels = x.shape
    pixels = x.reshape(n * height * width, channels)
    y = sum(pixels[index] * weight for index, weight in neighbours(theta, (height, width), size, x.dtype))
    return y.reshape(n, *size, channels)


@kernel
def scatter(g, shape, theta):
    """The adjoint of `gather`: add each pixel of g (N, OH, OW, C) back to where it was read, in an array of `shape`."""
    n, height, width, channels = shape
    pixels = xp.zeros((n * height * width, channels), g.dtype)
    for index, weight in neighbours(theta, (height, width), g.shape[1:3], g.dtype):
        xp.add.at(pixels, index, g.reshape(-1, channels) * weight)
    return pixels.reshape(shape)


def neighbours(theta, size, out_size, dtype):
    """Four (indices (P,) into the pixels of the images, weights (P, 1)), where P runs over all output pixels: the four pixels
    around where each reads, and how much of them. Outside the images the weights are 0."""
    (height, width), (out_height, out_width) = size, out_size
    across, down = ((np.arange(n) * 2 + 1) / n - 1 for n in (out_width, out_height))
    positions = []
    for row, n in ((1, height), (0, width)):  # theta maps to [-1, 1], pixel centres are whole numbers here
        a = theta[:, row] * (n / 2)
        a[:, 2] += (n - 1) / 2
        by_column, by_row = a[:, :1] * across, a[:, 1:2] * down + a[:, 2:]
        positions.append(asarray(by_column, dtype)[:, None, :] + asarray(by_row, dtype)[:, :, None])
    halves = []
    for position, n in zip(positions, (height, width)):
        first = xp.floor(position)
        share = position - first
        near = []
        for pixel, weight in ((first, 1 - share), (first + 1, share)):
            weight *= (pixel >= 0) & (pixel < n)
            near.append((xp.clip(pixel, 0, n - 1).astype(np.int32), weight))
        halves.append(near)
    images = (xp.arange(len(theta), dtype=np.int32) * (height * width))[:, None, None]
    for row, by_row in halves[0]:
        start = row * np.int32(width) + images
        for column, by_column in halves[1]:
            yield (start + column).reshape(-1), (by_row * by_column).reshape(-1, 1)
