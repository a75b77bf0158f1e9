"""Filters as products with matrices, and translations in one launch."""

from tinygan import backend
from tinygan.backend import asarray, constants, xp

from .. import fast, warp
from ..cpu.warp import filter_matrix, outer_factors
from .cublas import matmul
from .elementwise import elementwise_kernel


@fast(warp.upfirdn2d)
def upfirdn2d(x, f, up, down, padding):
    n, height, width, channels = x.shape
    out = warp.filtered_size((height, width), f, up, down, padding)
    factors = outer_factors(f)
    if factors is None:
        return warp.upfirdn2d.__wrapped__(x, f, up, down, padding)
    by_row, by_column = (tuple(factor) for factor in factors)
    module, dtype = backend.active(), str(x.dtype)
    rows = _filter_matrix(module, by_row, height, out[0], up[0], down[0], padding[2], dtype)
    columns = _filter_matrix(module, by_column, width, out[1], up[1], down[1], padding[0], dtype)
    y = matmul(rows, x.reshape(n, height, width * channels))
    return matmul(columns, y.reshape(n * out[0], width, channels)).reshape(n, *out, channels)


@constants
def _filter_matrix(module, f, size, out, up, down, padding, dtype):
    return asarray(filter_matrix(f, size, out, up, down, padding), dtype)


_translate = elementwise_kernel(
    "translate",
    "raw T x, raw int64 shifts, int32 height, int32 width, int32 channels",
    "T y",
    """
    int rest = i;
    int channel = rest % channels; rest /= channels;
    int h = rest % width; rest /= width;
    int v = rest % height; rest /= height;
    v -= shifts[2 * rest]; h -= shifts[2 * rest + 1];
    bool inside = v >= 0 && v < height && h >= 0 && h < width;
    y = inside ? x[((rest * height + v) * width + h) * channels + channel] : T(0);""",
)


@fast(warp.translate)
def translate(x, shifts):
    return _translate(x, shifts, *x.shape[1:], xp.empty(x.shape, x.dtype))
