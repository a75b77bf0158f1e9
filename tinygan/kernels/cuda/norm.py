"""Normalisation in few launches: chains of operations in CUDA C, and means as products."""

from .. import fast, norm
from ..linear import sum_to
from .elementwise import elementwise
from .linear import means

_squared_distance = elementwise(
    "squared_distance", "T x, T mean", "T y", "y = (x - mean) * (x - mean);"
)

_inv_std = elementwise("inv_std", "T var, T eps", "T y", "y = T(1) / sqrt(var + eps);")

_normalize = elementwise(
    "normalize",
    "T x, T mean, T inv_std, T scale, T shift",
    "T y",
    "y = (x - mean) * inv_std * scale + shift;",
)

_along = elementwise(
    "along", "T g, T x, T mean, T inv_std", "T y", "y = g * ((x - mean) * inv_std);"
)

# The gradient of normalize in x, without its mean and its part along y.
_normalize_slope = elementwise(
    "normalize_slope",
    "T g, T x, T mean, T inv_std, T scale, T g_mean, T along_mean",
    "T d",
    "d = inv_std * (scale * g - g_mean - (x - mean) * inv_std * along_mean);",
)


@fast(norm.moments)
def moments(x, axes):
    norm.refuse_empty_batch(x, axes)
    mean = _mean(x, axes)
    return mean, _mean(_squared_distance(x, mean), axes)


def _mean(x, axes):
    up_to_channels = axes and axes == tuple(range(axes[0], x.ndim - 1)) and x.size
    return means(x, axes) if up_to_channels else x.mean(axes, keepdims=True)


@fast(norm.normalize)
def normalize(x, scale, shift, axes, eps, statistics=None):
    mean, var = moments(x, axes) if statistics is None else statistics
    inv_std = _inv_std(var, eps)
    gain, bias = 1.0 if scale is None else scale, 0.0 if shift is None else shift
    y = _normalize(x, mean, inv_std, gain, bias)
    return y, (x, mean, inv_std, scale, shift, axes)


@fast(norm.normalize_gradient)
def normalize_gradient(g, saved, needed):
    """Where the scale is one number for each mean, it comes after the sums."""
    x, mean, inv_std, scale, shift, axes = saved
    along, factor = _along(g, x, mean, inv_std), scale
    dscale = sum_to(along, scale.shape) if needed[1] else None
    dshift = sum_to(g, shift.shape) if needed[2] else None
    if not needed[0]:
        return None, dscale, dshift
    if scale is not None and _varies(scale.shape, x.ndim, axes):
        g, along, factor = g * scale, along * scale, None
    g_mean, along_mean = _mean(g, axes), _mean(along, axes)
    if factor is not None:
        g_mean, along_mean = g_mean * factor, along_mean * factor
    factor = 1.0 if factor is None else factor
    dx = _normalize_slope(g, x, mean, inv_std, factor, g_mean, along_mean)
    return dx, dscale, dshift


def _varies(shape, ndim, axes):
    """Does a vector of this shape vary along the axes?"""
    return any(n > 1 and axis + ndim - len(shape) in axes for axis, n in enumerate(shape))
