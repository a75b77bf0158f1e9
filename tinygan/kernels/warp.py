"""Resampling of images: filters, translations and affine maps."""

import numpy as np

from tinygan.backend import asarray, xp

from . import kernel


def filtered_size(size, f, up, down, padding):
    """Return the rows and columns that `upfirdn2d` makes of images with `size` (rows, columns).

    Raises ValueError if none would be left.
    """
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
    """Upsample x (N, H, W, C) with zeros, pad, correlate with f, keep every down-th pixel.

    up, down: pairs (rows, columns); up - 1 zeros follow each pixel. f (rows, columns): the filter,
    in host memory. padding: left, right, top, bottom; negative numbers crop.
    """
    n, height, width, channels = x.shape
    rows, columns = filtered_size((height, width), f, up, down, padding)
    upsampled = xp.zeros((n, height * up[0], width * up[1], channels), x.dtype)
    upsampled[:, :: up[0], :: up[1]] = x
    left, right, top, bottom = padding
    widths = (max(0, top), max(0, bottom)), (max(0, left), max(0, right))
    padded = xp.pad(upsampled, ((0, 0), *widths, (0, 0)))[:, max(0, -top) :, max(0, -left) :]
    y = xp.zeros((n, rows, columns, channels), x.dtype)
    for i, j in np.ndindex(f.shape):
        pixels = padded[:, i : i + down[0] * rows : down[0], j : j + down[1] * columns : down[1]]
        y += float(f[i, j]) * pixels
    return y


@kernel
def translate(x, shifts):
    """Move each image of x (N, H, W, C) by its shifts (N, 2): pixels down and to the right.

    Pixels that nothing moves to become 0.
    """
    n, height, width, _ = x.shape
    rows = xp.arange(height)[:, None] - shifts[:, :1, None]  # source of each pixel: (N, H, 1)
    columns = xp.arange(width) - shifts[:, 1:, None]  # (N, 1, W)
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    images = xp.arange(n)[:, None, None]
    y = x[images, xp.clip(rows, 0, height - 1), xp.clip(columns, 0, width - 1)]
    return xp.where(inside[..., None], y, xp.zeros_like(y))


@kernel
def affine_warp(x, theta, size):
    """Sample x (N, H, W, C) under affine maps: (N, *size, C).

    theta (N, 2, 3): the maps, in host memory; see ops.affine_warp.
    """
    n, height, width, channels = x.shape
    pixels = x.reshape(n * height * width, channels)
    neighbours = bilinear_neighbours(theta, (height, width), size, x.dtype)
    y = sum(pixels[index] * weight for index, weight in neighbours)
    return y.reshape(n, *size, channels)


@kernel
def affine_warp_adjoint(g, shape, theta):
    """The adjoint of `affine_warp` as a map of x: g (N, OH, OW, C) -> an array of x's `shape`.

    Each pixel of g is added back to the four pixels that were read for it.
    """
    n, height, width, channels = shape
    pixels = xp.zeros((n * height * width, channels), g.dtype)
    for index, weight in bilinear_neighbours(theta, (height, width), g.shape[1:3], g.dtype):
        xp.add.at(pixels, index, g.reshape(-1, channels) * weight)
    return pixels.reshape(shape)


def bilinear_neighbours(theta, size, out_size, dtype):
    """Yield four pairs (index, weight): for every output pixel, one of its four nearest input
    pixels, and its weight.

    index: (P,), into the pixels of all input images. weight: (P, 1); 0 for a pixel outside its
    image. P: the number of output pixels of all images.
    """
    (height, width), (out_height, out_width) = size, out_size
    x_out, y_out = ((np.arange(n) * 2 + 1) / n - 1 for n in (out_width, out_height))
    positions = []  # of the output pixels in the image, (N, OH, OW): their rows, their columns
    for theta_row, n in ((1, height), (0, width)):
        coefficients = theta[:, theta_row] * (n / 2)  # from [-1, 1] to indices of pixels
        coefficients[:, 2] += (n - 1) / 2
        by_column = asarray(coefficients[:, :1] * x_out, dtype)
        by_row = asarray(coefficients[:, 1:2] * y_out + coefficients[:, 2:], dtype)
        positions.append(by_column[:, None, :] + by_row[:, :, None])
    axes = []  # for rows, then for columns: [(index, weight)] of the two nearest
    for position, n in zip(positions, (height, width)):
        first = xp.floor(position)
        fraction = position - first
        nearest = []
        for pixel, weight in ((first, 1 - fraction), (first + 1, fraction)):
            weight *= (pixel >= 0) & (pixel < n)
            nearest.append((xp.clip(pixel, 0, n - 1).astype(np.int32), weight))
        axes.append(nearest)
    images = (xp.arange(len(theta), dtype=np.int32) * (height * width))[:, None, None]
    for row, row_weight in axes[0]:
        start = row * np.int32(width) + images
        for column, column_weight in axes[1]:
            yield (start + column).reshape(-1), (row_weight * column_weight).reshape(-1, 1)
