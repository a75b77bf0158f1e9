"""Images filtered and resampled, moved, turned and stretched."""

import numpy as np

from tinygan.backend import asarray, xp

from . import kernel


def filtered_size(size, f, up, down, padding):
    """Rows and columns that `upfirdn2d` makes of `size`. Raises ValueError for none."""
    left, right, top, bottom = padding
    out = (
        (size[0] * up[0] + top + bottom - f.shape[0]) // down[0] + 1,
        (size[1] * up[1] + left + right - f.shape[1]) // down[1] + 1,
    )
    if min(out) < 1:
        raise ValueError(
            f"upfirdn2d: a filter of shape {f.shape} leaves nothing of images of "
            f"{size[0]}x{size[1]} with up {up} and padding {padding}"
        )
    return out


@kernel
def upfirdn2d(x, f, up, down, padding):
    """Put zeros between the pixels of x (N, H, W, C), pad, correlate, keep every down-th pixel.

    f: (rows, columns), in host memory. padding: left, right, top, bottom; negative crops.
    """
    n, height, width, channels = x.shape
    rows, columns = filtered_size((height, width), f, up, down, padding)
    stuffed = xp.zeros((n, height * up[0], width * up[1], channels), x.dtype)
    stuffed[:, :: up[0], :: up[1]] = x
    left, right, top, bottom = padding
    widths = (max(0, top), max(0, bottom)), (max(0, left), max(0, right))
    padded = xp.pad(stuffed, ((0, 0), *widths, (0, 0)))[:, max(0, -top) :, max(0, -left) :]
    y = xp.zeros((n, rows, columns, channels), x.dtype)
    for i, j in np.ndindex(f.shape):
        seen = padded[:, i : i + down[0] * rows : down[0], j : j + down[1] * columns : down[1]]
        y += float(f[i, j]) * seen
    return y


@kernel
def translate(x, shifts):
    """x (N, H, W, C) moved by shifts (N, 2), integers; 0 comes in."""
    n, height, width, _ = x.shape
    rows = xp.arange(height)[:, None] - shifts[:, :1, None]  # (N, H, 1): where they come from
    columns = xp.arange(width) - shifts[:, 1:, None]  # (N, 1, W)
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    images = xp.arange(n)[:, None, None]
    y = x[images, xp.clip(rows, 0, height - 1), xp.clip(columns, 0, width - 1)]
    return xp.where(inside[..., None], y, xp.zeros_like(y))


@kernel
def gather(x, theta, size):
    """Sample x (N, H, W, C) under the maps theta (N, 2, 3), in host memory: (N, *size, C).

    See ops.affine_warp."""
    n, height, width, channels = x.shape
    pixels = x.reshape(n * height * width, channels)
    near = neighbours(theta, (height, width), size, x.dtype)
    y = sum(pixels[index] * weight for index, weight in near)
    return y.reshape(n, *size, channels)


@kernel
def scatter(g, shape, theta):
    """The adjoint of `gather`: add each pixel of g (N, OH, OW, C) back to where it was read."""
    n, height, width, channels = shape
    pixels = xp.zeros((n * height * width, channels), g.dtype)
    for index, weight in neighbours(theta, (height, width), g.shape[1:3], g.dtype):
        xp.add.at(pixels, index, g.reshape(-1, channels) * weight)
    return pixels.reshape(shape)


def neighbours(theta, size, out_size, dtype):
    """The four pixels around the place where each of P output pixels reads, and their shares.

    Four times (indices (P,) into all pixels, weights (P, 1)); outside the images, weights are 0.
    """
    (height, width), (out_height, out_width) = size, out_size
    across, down = ((np.arange(n) * 2 + 1) / n - 1 for n in (out_width, out_height))
    positions = []
    for row, n in ((1, height), (0, width)):  # theta maps to [-1, 1]; pixels are whole numbers here
        a = theta[:, row] * (n / 2)
        a[:, 2] += (n - 1) / 2
        by_column, by_row = a[:, :1] * across, a[:, 1:2] * down + a[:, 2:]
        by_column, by_row = asarray(by_column, dtype), asarray(by_row, dtype)
        positions.append(by_column[:, None, :] + by_row[:, :, None])
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
