"""Normalisation in few launches: chains of operations in CUDA C, and means as products."""

from .. import fast
from .. import normalize as plain
from ..linear import sum_to
from .elementwise import elementwise_kernel
from .linear import means

_centred = elementwise_kernel("centred", "T x, T mean", "T y", "y = x - mean;")

_squared_distance = elementwise_kernel(
    "squared_distance", "T x, T mean, T rest", "T y", "T a = x - mean - rest; y = a * a;"
)

_inv_std = elementwise_kernel("inv_std", "T var, T eps", "T y", "y = T(1) / sqrt(var + eps);")

_normalize = elementwise_kernel(
    "normalize",
    "T x, T mean, T rest, T inv_std, T scale, T shift",
    "T y",
    "y = (x - mean - rest) * inv_std * scale + shift;",
)

_g_times_normalized = elementwise_kernel(
    "g_times_normalized",
    "T g, T x, T mean, T rest, T inv_std",
    "T y",
    "y = g * ((x - mean - rest) * inv_std);",
)

# The gradient of x, as in kernels/normalize.py. It loses its mean and its projection on the
# normalised x.
_normalize_gradient = elementwise_kernel(
    "normalize_gradient",
    "T g, T x, T mean, T rest, T inv_std, T scale, T g_mean, T projection",
    "T d",
    "d = inv_std * (scale * g - g_mean - (x - mean - rest) * inv_std * projection);",
)


@fast(plain.moments)
def moments(x, axes):
    plain.check_not_empty(x, axes)
    mean = means(x, axes)
    rest = means(_centred(x, mean), axes)
    return mean, rest, means(_squared_distance(x, mean, rest), axes)


@fast(plain.normalize)
def normalize(x, scale, shift, axes, eps, statistics=None):
    mean, rest, var = moments(x, axes) if statistics is None else statistics
    inv_std = _inv_std(var, eps)
    factor, term = 1.0 if scale is None else scale, 0.0 if shift is None else shift
    y = _normalize(x, mean, rest, inv_std, factor, term)
    return y, (x, mean, rest, inv_std, scale, shift, axes)


@fast(plain.normalize_gradient)
def normalize_gradient(g, saved, needed):
    """A scale that is constant over the axes multiplies the means, not every element."""
    x, mean, rest, inv_std, scale, shift, axes = saved
    g_times_normalized, factor = _g_times_normalized(g, x, mean, rest, inv_std), scale
    dscale = sum_to(g_times_normalized, scale.shape) if needed[1] else None
    dshift = sum_to(g, shift.shape) if needed[2] else None
    if not needed[0]:
        return None, dscale, dshift
    if scale is not None and _varies_over(axes, scale.shape, x.ndim):
        g, g_times_normalized, factor = g * scale, g_times_normalized * scale, None
    g_mean, projection = means(g, axes), means(g_times_normalized, axes)
    if factor is not None:
        g_mean, projection = g_mean * factor, projection * factor
    factor = 1.0 if factor is None else factor
    dx = _normalize_gradient(g, x, mean, rest, inv_std, factor, g_mean, projection)
    return dx, dscale, dshift


def _varies_over(axes, shape, ndim):
    """Return whether an array of `shape`, broadcast to ndim axes, may vary over `axes`."""
    return any(n > 1 and axis + ndim - len(shape) in axes for axis, n in enumerate(shape))
