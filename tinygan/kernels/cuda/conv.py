"""Convolution as one matrix product with the windows of the whole batch.

`fold` computes each pixel as a sum over the windows that contain it.
"""

import math

from tinygan.backend import xp

from .. import conv, fast
from .cublas import matmul
from .elementwise import elementwise_kernel

_SHAPES = (
    "int32 height, int32 width, int32 each, int32 groups, int32 oh, int32 ow, int32 kh, "
    "int32 kw, int32 down, int32 across, int32 top, int32 left, int32 n"
)

_columns = elementwise_kernel(
    "columns",
    "raw T x, " + _SHAPES,
    "T y",
    """
    int rest = i;
    int channel = rest % each; rest /= each;
    int b = rest % kw; rest /= kw;
    int a = rest % kh; rest /= kh;
    int column = rest % ow; rest /= ow;
    int row = rest % oh; rest /= oh;
    int image = rest % n; rest /= n;
    int v = row * down + a + top, h = column * across + b + left;
    bool inside = v >= 0 && v < height && h >= 0 && h < width;
    int pixel = (image * height + v) * width + h;
    y = inside ? x[pixel * (each * groups) + rest * each + channel] : T(0);""",
)

_fold = elementwise_kernel(
    "fold",
    "raw T windows, " + _SHAPES,
    "T y",
    """
    int rest = i;
    int channel = rest % each; rest /= each;
    int group = rest % groups; rest /= groups;
    int h = rest % width - left; rest /= width;
    int v = rest % height - top; rest /= height;
    T sum = T(0);
    for (int a = 0; a < kh; ++a) {
        int row = (v - a) / down;
        if (v < a || row >= oh || row * down != v - a) continue;
        for (int b = 0; b < kw; ++b) {
            int column = (h - b) / across;
            if (h < b || column >= ow || column * across != h - b) continue;
            int window = ((group * n + rest) * oh + row) * ow + column;
            sum += windows[(window * kh + a) * kw * each + b * each + channel];
        }
    }
    y = sum;""",
)


@fast(conv.forward)
def forward(x, w, stride, padding, groups, bias=None):
    size = tuple(map(conv.out_size, x.shape[1:3], w.shape[:2], stride, padding))
    windows = _windows(x, size, w.shape[:2], stride, padding, groups)
    y = matmul(windows, _split_groups(w, groups))
    y = _join_groups(y).reshape(len(x), *size, w.shape[3])
    return y if bias is None else xp.add(y, bias, out=y)


@fast(conv.input_gradient)
def input_gradient(g, w, size, stride, padding, groups, bias=None):
    (n, oh, ow, _), (kh, kw, inputs, _) = g.shape, w.shape
    is_reshape = _is_reshape((kh, kw), size, stride, padding, groups)
    if not is_reshape:
        _check_size((n, oh, ow, kh, kw, inputs * groups))
    windows = matmul(_split_groups(g, groups), _split_groups(w, groups).transpose(0, 2, 1))
    if is_reshape:
        dx = windows.reshape(n, *size, inputs)
    else:
        dx, corner = xp.empty((n, *size, inputs * groups), g.dtype), (-padding[0], -padding[1])
        _fold(windows, *size, inputs, groups, oh, ow, kh, kw, *stride, *corner, n, dx)
    return dx if bias is None else xp.add(dx, bias, out=dx)


@fast(conv.weight_gradient)
def weight_gradient(x, g, kernel_size, stride, padding, groups):
    windows = _windows(x, g.shape[1:3], kernel_size, stride, padding, groups)
    dw = matmul(windows.transpose(0, 2, 1), _split_groups(g, groups))
    return _join_groups(dw).reshape(*kernel_size, x.shape[3] // groups, g.shape[3])


def _windows(x, out, kernel_size, stride, padding, groups):
    """Return all windows: (groups, pixels, kh*kw*C/groups)."""
    n, height, width, channels = x.shape
    each = channels // groups
    shape = groups, n * math.prod(out), math.prod(kernel_size) * each
    if _is_reshape(kernel_size, (height, width), stride, padding, groups):
        return x.reshape(shape)
    _check_size(shape)
    columns, corner = xp.empty(shape, x.dtype), (-padding[0], -padding[1])
    sizes = height, width, each, groups, *out, *kernel_size, *stride, *corner, n
    return _columns(x, *sizes, columns)


def _is_reshape(kernel_size, size, stride, padding, groups):
    """Return whether the windows are only a reshape of x: single pixels, or whole images."""
    single_pixels = kernel_size == stride == (1, 1)
    return groups == 1 and padding == (0, 0) and (single_pixels or kernel_size == size)


def _check_size(shape):
    """Raise ValueError if the kernels, which use 32-bit indices, cannot index the windows."""
    if math.prod(shape) >= 2**31:
        raise ValueError(
            f"the windows of a convolution have {math.prod(shape):,} numbers, too many for "
            "a GPU at once: process fewer images at a time (set micro_batch)"
        )


def _split_groups(a, groups):
    """Return a (..., channels) as (groups, rows, channels/groups)."""
    rows, channels = math.prod(a.shape[:-1]), a.shape[-1]
    return a.reshape(rows, groups, channels // groups).transpose(1, 0, 2)


def _join_groups(y):
    """Return y (groups, rows, O/groups) as (rows, O)."""
    return y.transpose(1, 0, 2).reshape(y.shape[1], y.shape[0] * y.shape[2])
