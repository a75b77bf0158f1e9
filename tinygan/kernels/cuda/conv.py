"""Convolution as one product with the windows of the whole batch; fold is a sum for each pixel."""

import math

from tinygan.backend import xp

from .. import conv, fast
from .cublas import matmul
from .elementwise import elementwise

_SHAPES = (
    "int32 height, int32 width, int32 each, int32 groups, int32 oh, int32 ow, int32 kh, "
    "int32 kw, int32 down, int32 across, int32 top, int32 left, int32 n"
)

_columns = elementwise(
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

_fold = elementwise(
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
    y = matmul(_windows(x, size, w.shape[:2], stride, padding, groups), _by_group(w, groups))
    y = _joined(y).reshape(len(x), *size, w.shape[3])
    return y if bias is None else xp.add(y, bias, out=y)


@fast(conv.input_gradient)
def input_gradient(g, w, size, stride, padding, groups, bias=None):
    (n, oh, ow, _), (kh, kw, inputs, _) = g.shape, w.shape
    whole = _is_whole((kh, kw), size, stride, padding, groups)
    if not whole:
        _check_size((n, oh, ow, kh, kw, inputs * groups))
    windows = matmul(_by_group(g, groups), _by_group(w, groups).transpose(0, 2, 1))
    if whole:
        dx = windows.reshape(n, *size, inputs)
    else:
        dx, corner = xp.empty((n, *size, inputs * groups), g.dtype), (-padding[0], -padding[1])
        _fold(windows, *size, inputs, groups, oh, ow, kh, kw, *stride, *corner, n, dx)
    return dx if bias is None else xp.add(dx, bias, out=dx)


@fast(conv.weight_gradient)
def weight_gradient(x, g, kernel, stride, padding, groups):
    windows = _windows(x, g.shape[1:3], kernel, stride, padding, groups)
    dw = matmul(windows.transpose(0, 2, 1), _by_group(g, groups))
    return _joined(dw).reshape(*kernel, x.shape[3] // groups, g.shape[3])


def _windows(x, out, kernel, stride, padding, groups):
    """All windows: (groups, pixels, kh*kw*C/groups)."""
    n, height, width, channels = x.shape
    each = channels // groups
    shape = groups, n * math.prod(out), math.prod(kernel) * each
    if _is_whole(kernel, (height, width), stride, padding, groups):
        return x.reshape(shape)
    _check_size(shape)
    columns, corner = xp.empty(shape, x.dtype), (-padding[0], -padding[1])
    return _columns(x, height, width, each, groups, *out, *kernel, *stride, *corner, n, columns)


def _is_whole(kernel, size, stride, padding, groups):
    """Are the windows the images as they are: pixel by pixel, or all at once?"""
    return groups == 1 and padding == (0, 0) and (kernel == stride == (1, 1) or kernel == size)


def _check_size(shape):
    """The kernels must be able to number the windows."""
    if math.prod(shape) >= 2**31:
        raise ValueError(
            f"the windows of a convolution are {math.prod(shape):,} numbers, too many for "
            "a GPU at once: give fewer images at a time (setting micro_batch)"
        )


def _by_group(a, groups):
    """a (..., channels) as (groups, rows, channels/groups)."""
    rows, channels = math.prod(a.shape[:-1]), a.shape[-1]
    return a.reshape(rows, groups, channels // groups).transpose(1, 0, 2)


def _joined(y):
    """(groups, rows, O/groups) as (rows, O)."""
    return y.transpose(1, 0, 2).reshape(y.shape[1], y.shape[0] * y.shape[2])
