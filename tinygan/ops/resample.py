"""Linear ops on images (N, H, W, C): pooling, upsampling, filtering, warping."""

import math
import operator

import numpy as np

from tinygan.autograd import described, op
from tinygan.backend import asarray, to_numpy, xp
from tinygan.kernels import pool, warp
from tinygan.kernels.conv import taps

from .bilinear import _pair, einsum
from .composite import check_images, composite_op
from .linear import linear

# Pooling


def _pooling(name, x, kernel_size, stride):
    """kernel_size and stride as pairs, checked."""
    kernel = _pair(kernel_size)
    if x.ndim != 4 or x.shape[1] < kernel[0] or x.shape[2] < kernel[1]:
        raise ValueError(
            f"{name}: takes images (N, H, W, C) no smaller than the window {kernel}, got {x.shape}"
        )
    stride = kernel if stride is None else _pair(stride)
    if min(*kernel, *stride) < 1:
        raise ValueError(f"{name}: window {kernel} and stride {stride} must be 1 or more")
    return kernel, stride


def _avg_pool_adjoint(g, shape, kernel, stride):
    x = xp.zeros(shape, g.dtype)
    for window in taps(shape[1:3], kernel, stride):
        x[window] += g
    x /= math.prod(kernel)
    return x


@linear(_avg_pool_adjoint)
def _avg_pool2d(x, /, kernel, stride):
    first, *rest = taps(x.shape[1:3], kernel, stride)
    y = x[first].copy()
    for window in rest:
        y += x[window]
    y /= math.prod(kernel)
    return y


@composite_op(1)
def avg_pool2d(x, kernel_size=2, stride=None):
    """Mean over windows of `kernel_size`, one every `stride` pixels (default: side by side)."""
    return _avg_pool2d(x, *_pooling("avg_pool2d", x, kernel_size, stride))


@composite_op(1)
def max_pool2d(x, kernel_size=2, stride=None):
    """Maximum over windows of `kernel_size`, one every `stride` pixels (default: side by side).

    Where several pixels of a window tie, they share the gradient equally.
    """
    return _max_pool2d(x, *_pooling("max_pool2d", x, kernel_size, stride))


@op(name="max_pool2d")
def _max_pool2d(x, /, kernel, stride):
    return pool.largest(x.data, kernel, stride), lambda g, y: _max_spread(
        g, x.data, y.data, kernel, stride
    )


# Which pixels hold the maximum counts as constant; given that, taking g back to them is linear.


@op
def _max_spread(x, /, at, largest, kernel, stride):
    return (
        pool.spread(x.data, at, largest, kernel, stride),
        lambda g: _max_gather(g, at, largest, kernel, stride),
    )


@op
def _max_gather(x, /, at, largest, kernel, stride):
    return (
        pool.gather(x.data, at, largest, kernel, stride),
        lambda g: _max_spread(g, at, largest, kernel, stride),
    )


# Upsampling


def _upsample_adjoint(g, shape, factor):
    n, height, width, channels = shape
    return g.reshape(n, height, factor, width, factor, channels).sum((2, 4))


@linear(_upsample_adjoint)
def upsample_nearest(x, /, factor=2):
    """Each pixel repeated factor x factor times."""
    check_images("upsample_nearest", x)
    return pool.repeated(x, (factor, factor))


@composite_op(1)
def upsample_bilinear(x, factor=2):
    """Bilinear interpolation to `factor` times the size. Pixels are areas: the centre of output pixel i
    lies at (i + 1/2) / factor - 1/2, and beyond the border the edge pixel continues."""
    check_images("upsample_bilinear", x)
    rows, columns = (asarray(_interpolation(n, factor), x.dtype) for n in x.shape[1:3])
    return einsum("ph,nhqc->npqc", rows, einsum("qw,nhwc->nhqc", columns, x))


def _interpolation(n, factor):
    """The matrix (n * factor, n) of linear interpolation."""
    position = np.clip((np.arange(n * factor) + 0.5) / factor - 0.5, 0, n - 1)
    return np.clip(1 - np.abs(position[:, None] - np.arange(n)), 0, None)


# Filtering


@composite_op(1)
def upfirdn2d(x, f, up=1, down=1, padding=0, flip_filter=False, gain=1.0):
    """Upsample, filter, downsample, each channel by itself (Karras et al. 2019, 2020).

    Insert up - 1 zeros after each pixel; pad by `padding` (an int, or (x0, x1, y0, y1): left, right, top,
    bottom; negative crops); convolve with f times gain (correlate if flip_filter); keep every down-th pixel.
    f: an array (taps,), used along rows and columns, or (rows, columns); a constant.
    """
    check_images("upfirdn2d", x)
    f = np.asarray(to_numpy(f), np.float64)
    if f.ndim not in (1, 2):
        raise ValueError(f"upfirdn2d: f has shape {f.shape}; it must be (taps,) or (rows, columns)")
    if not f.size or min(*_pair(up), *_pair(down)) < 1:
        raise ValueError(
            f"upfirdn2d: the filter, of shape {f.shape}, must not be empty, and up {up} and down {down} "
            "must be 1 or more"
        )
    try:
        left, right, top, bottom = (
            padding if isinstance(padding, (tuple, list)) else (operator.index(padding),) * 4
        )
    except (TypeError, ValueError):
        raise ValueError(
            "upfirdn2d: padding is a whole number or (left, right, top, bottom), not "
            f"{described(padding)}"
        ) from None
    if not flip_filter:
        f = np.flip(f)
    up, down = _pair(up), _pair(down)
    f = np.outer(f, f) if f.ndim == 1 else f
    return _upfirdn2d(x, f * gain, up, down, (left, right, top, bottom))


@op(name="upfirdn2d", cost=lambda y, x, f, *_: y.size * f.size)
def _upfirdn2d(x, /, f, up, down, padding):
    """Correlate with the float64 host array f. Its adjoint is the same op: up and down exchanged, f turned."""
    value = warp.upfirdn2d(x.data, f, up, down, padding)
    left, _, top, _ = padding
    (height, width), (out_height, out_width) = x.shape[1:3], value.shape[1:3]
    rows, columns = f.shape
    back = (
        columns - 1 - left,
        width * up[1] - out_width * down[1] + left - up[1] + 1,
        rows - 1 - top,
        height * up[0] - out_height * down[0] + top - up[0] + 1,
    )
    return value, lambda g: _upfirdn2d(g, np.flip(f), down, up, back)


# Warping


@composite_op(1)
def translate(x, shifts):
    """Move each image of x (N, H, W, C) by whole pixels, shifts (N, 2): down and to the right; 0 comes in.

    Raises ValueError for shifts of another shape, or that are not whole numbers.
    """
    check_images("translate", x)
    shifts = asarray(shifts)
    if shifts.shape != (x.shape[0], 2) or shifts.dtype.kind not in "iu":
        raise ValueError(
            f"translate: shifts are {shifts.dtype} {shifts.shape}; for {x.shape[0]} images they must be "
            f"whole numbers ({x.shape[0]}, 2)"
        )
    return _translate(x, shifts.astype(np.int64))  # a copy, and one that can be negative


@linear(lambda g, shape, shifts: warp.translate(g, -shifts))
def _translate(x, /, shifts):
    return warp.translate(x, shifts)


@composite_op(1)
def affine_warp(x, theta, size=None):
    """Bilinear sampling of x (N, H, W, C) under affine maps theta (N, 2, 3), constants -> (N, *size, C).

    Coordinates run from -1 to 1 between the outer borders of the image, x to the right, y down. Output
    pixel (x, y) shows the input at theta @ (x, y, 1); outside the image is zero. size: default (H, W). Raises
    ValueError for theta of another shape.
    """
    check_images("affine_warp", x)
    theta = np.array(to_numpy(theta), np.float64)
    if theta.shape != (x.shape[0], 2, 3):
        raise ValueError(
            f"affine_warp: theta has shape {theta.shape}; for {x.shape[0]} images it must be "
            f"({x.shape[0]}, 2, 3)"
        )
    return _warp(x, theta, tuple(size or x.shape[1:3]))


@linear(lambda g, shape, theta, size: warp.scatter(g, shape, theta))
def _warp(x, /, theta, size):
    return warp.gather(x, theta, size)
