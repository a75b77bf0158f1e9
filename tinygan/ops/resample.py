"""Ops on images (N, H, W, C): pooling, upsampling, filtering, warping."""

import math
import operator

import numpy as np

from tinygan.autograd import described, op
from tinygan.backend import asarray, to_numpy, xp
from tinygan.kernels import pool, warp
from tinygan.kernels.conv import taps
from tinygan.kernels.linear import sum_over

from .bilinear import as_pair, einsum
from .composite import check_images, composite_op
from .linear import linear

# Pooling


def _pooling_sizes(name, x, kernel_size, stride):
    """kernel_size and stride as pairs. Raises ValueError if they do not fit the images x."""
    kernel_size = as_pair(kernel_size)
    if x.ndim != 4 or x.shape[1] < kernel_size[0] or x.shape[2] < kernel_size[1]:
        raise ValueError(
            f"{name}: takes images (N, H, W, C) no smaller than the window {kernel_size}, "
            f"got {x.shape}"
        )
    stride = kernel_size if stride is None else as_pair(stride)
    if min(*kernel_size, *stride) < 1:
        raise ValueError(f"{name}: window {kernel_size} and stride {stride} must be 1 or more")
    return kernel_size, stride


def _avg_pool_adjoint(g, shape, kernel_size, stride):
    dx = xp.zeros(shape, g.dtype)
    for tap in taps(shape[1:3], kernel_size, stride):
        dx[tap] += g
    dx /= math.prod(kernel_size)
    return dx


@linear(_avg_pool_adjoint)
def _avg_pool2d(x, /, kernel_size, stride):
    first, *rest = taps(x.shape[1:3], kernel_size, stride)
    y = x[first].copy()
    for tap in rest:
        y += x[tap]
    y /= math.prod(kernel_size)
    return y


@composite_op(1)
def avg_pool2d(x, kernel_size=2, stride=None):
    """The mean over windows of `kernel_size`, one every `stride` pixels.

    stride: default kernel_size, so that the windows lie side by side.
    """
    return _avg_pool2d(x, *_pooling_sizes("avg_pool2d", x, kernel_size, stride))


@composite_op(1)
def max_pool2d(x, kernel_size=2, stride=None):
    """The maximum over windows of `kernel_size`, one every `stride` pixels.

    stride: default kernel_size, so that the windows lie side by side. Pixels of a window that tie
    share the gradient equally.
    """
    return _max_pool2d(x, *_pooling_sizes("max_pool2d", x, kernel_size, stride))


@op(name="max_pool2d")
def _max_pool2d(x, /, kernel_size, stride):
    return (
        pool.max_pool(x.data, kernel_size, stride),
        lambda g, y: _max_pool_gradient(g, x.data, y.data, kernel_size, stride),
    )


# Which pixels of the array x hold the maxima y counts as constant: so these two maps are linear.


@op
def _max_pool_gradient(g, /, x, y, kernel_size, stride):
    return (
        pool.max_pool_gradient(g.data, x, y, kernel_size, stride),
        lambda h: _max_pool_gradient_adjoint(h, x, y, kernel_size, stride),
    )


@op
def _max_pool_gradient_adjoint(h, /, x, y, kernel_size, stride):
    return (
        pool.max_pool_gradient_adjoint(h.data, x, y, kernel_size, stride),
        lambda g: _max_pool_gradient(g, x, y, kernel_size, stride),
    )


# Upsampling


def _upsample_adjoint(g, shape, factor):
    n, height, width, channels = shape
    return sum_over(g.reshape(n, height, factor, width, factor, channels), (2, 4))


@linear(_upsample_adjoint)
def upsample_nearest(x, /, factor=2):
    """Each pixel becomes a block of factor x factor equal pixels."""
    check_images("upsample_nearest", x)
    return pool.repeat_pixels(x, (factor, factor))


@composite_op(1)
def upsample_bilinear(x, factor=2):
    """Bilinear interpolation of images x (N, H, W, C) to `factor` times their size.

    Pixels are areas: the centre of output pixel i lies at (i + 1/2) / factor - 1/2. Beyond the
    border, the pixels at the edge continue.
    """
    check_images("upsample_bilinear", x)
    rows, columns = (asarray(_interpolation(n, factor), x.dtype) for n in x.shape[1:3])
    return einsum("ph,nhqc->npqc", rows, einsum("qw,nhwc->nhqc", columns, x))


def _interpolation(n, factor):
    """The matrix (n * factor, n) that interpolates n pixels linearly."""
    position = np.clip((np.arange(n * factor) + 0.5) / factor - 0.5, 0, n - 1)
    return np.clip(1 - np.abs(position[:, None] - np.arange(n)), 0, None)


# Filtering


@composite_op(1)
def upfirdn2d(x, f, up=1, down=1, padding=0, flip_filter=False, gain=1.0):
    """Upsample, filter and downsample images, each channel separately (Karras et al. 2019, 2020).

    Insert up - 1 zeros after each pixel; pad; convolve with f * gain; keep every down-th pixel.

    f: a constant array, (taps,), used along rows and columns, or (rows, columns).
    up, down: an int, or a pair (rows, columns).
    padding: an int, or (left, right, top, bottom); negative padding crops.
    flip_filter: True correlates with f instead of convolving (the name is that of the authors'
    code).
    """
    check_images("upfirdn2d", x)
    f = np.asarray(to_numpy(f), np.float64)
    if f.ndim not in (1, 2):
        raise ValueError(f"upfirdn2d: f has shape {f.shape}; it must be (taps,) or (rows, columns)")
    if not f.size or min(*as_pair(up), *as_pair(down)) < 1:
        raise ValueError(
            f"upfirdn2d: the filter, of shape {f.shape}, must not be empty, and "
            f"up {up} and down {down} must be 1 or more"
        )
    try:
        left, right, top, bottom = (
            padding if isinstance(padding, (tuple, list)) else (operator.index(padding),) * 4
        )
    except (TypeError, ValueError):
        raise ValueError(
            "upfirdn2d: padding must be an integer or (left, right, top, bottom), not "
            f"{described(padding)}"
        ) from None
    f = f if flip_filter else np.flip(f)
    up, down = as_pair(up), as_pair(down)
    f = np.outer(f, f) if f.ndim == 1 else f
    return _upfirdn2d(x, f * gain, up, down, (left, right, top, bottom))


@op(name="upfirdn2d", cost=lambda y, x, f, *_: y.size * f.size)
def _upfirdn2d(x, /, f, up, down, padding):
    """Correlate with f, a float64 array in host memory.

    The adjoint is the same op with up and down exchanged and f flipped.
    """
    value = warp.upfirdn2d(x.data, f, up, down, padding)
    (height, width), (out_height, out_width) = x.shape[1:3], value.shape[1:3]
    (rows, columns), (left, _, top, _) = f.shape, padding
    adjoint_padding = (
        columns - 1 - left,
        width * up[1] - out_width * down[1] + left - up[1] + 1,
        rows - 1 - top,
        height * up[0] - out_height * down[0] + top - up[0] + 1,
    )
    return value, lambda g: _upfirdn2d(g, np.flip(f), down, up, adjoint_padding)


# Warping


@composite_op(1)
def translate(x, shifts):
    """Move each image of x (N, H, W, C) by whole pixels; zeros fill the gap.

    shifts: integers (N, 2), down and to the right. Raises ValueError for anything else.
    """
    check_images("translate", x)
    shifts = asarray(shifts)
    if shifts.shape != (x.shape[0], 2) or shifts.dtype.kind not in "iu":
        raise ValueError(
            f"translate: shifts are {shifts.dtype} {shifts.shape}; for {x.shape[0]} images they "
            f"must be integers ({x.shape[0]}, 2)"
        )
    return _translate(x, shifts.astype(np.int64))  # a copy, and signed: the adjoint negates it


@linear(lambda g, shape, shifts: warp.translate(g, -shifts))
def _translate(x, /, shifts):
    return warp.translate(x, shifts)


@composite_op(1)
def affine_warp(x, theta, size=None):
    """Sample images x (N, H, W, C) bilinearly under affine maps -> (N, *size, C).

    theta: (N, 2, 3), constants; it maps output to input positions. Output position (u, v) shows the
    input at theta @ (u, v, 1), or 0 outside the image. Coordinates run from -1 to 1 between the
    outer borders of the image, u to the right, v down. size: (height, width); default (H, W).
    Raises ValueError for a theta of another shape.
    """
    check_images("affine_warp", x)
    theta = np.array(to_numpy(theta), np.float64)
    if theta.shape != (x.shape[0], 2, 3):
        raise ValueError(
            f"affine_warp: theta has shape {theta.shape}; for {x.shape[0]} images it must be "
            f"({x.shape[0]}, 2, 3)"
        )
    return _affine_warp(x, theta, tuple(x.shape[1:3] if size is None else size))


@linear(lambda g, shape, theta, size: warp.affine_warp_adjoint(g, shape, theta))
def _affine_warp(x, /, theta, size):
    return warp.affine_warp(x, theta, size)
