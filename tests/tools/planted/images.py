"""Mistakes in the derivatives of convolutions, pooling, resampling and warping."""

import numpy as np

from tinygan import ops
from tinygan.optable.images import FILTER, TAPS, THETA
from tinygan.optable.table import normal

from .mechanism import ROWS, case, constant, mistake


def shifted(d, rows=0, columns=0):
    """Move the images of d (N, H, W, C) by whole pixels; zeros fill the gap."""
    return ops.translate(d, np.array([[rows, columns]] * d.shape[0]))


def row(name):
    """The function of a row of the op table."""
    return ROWS[name].function


# Convolutions: padding, stride and filter

PADDED = "conv2d 4x4 stride=2 padding=1"
SAME = case(
    "conv2d 3x3 padding=1",
    lambda x, w: ops.conv2d(x, w, 1, 1),
    normal(2, 5, 5, 3),
    normal(3, 3, 3, 3),
)
mistake(SAME, "padding", "of x, off by one row", change=lambda d: shifted(d, 1), of=[0])
mistake(SAME, "padding", "of x, off by one column", change=lambda d: shifted(d, 0, -1), of=[0])
mistake(
    SAME,
    "padding",
    "of w, off by one",
    other=lambda x, w: ops.conv2d(shifted(x, 1, 1), w, 1, 1),
    of=[1],
)
mistake(
    SAME,
    "padding",
    "the padded border has no gradient",
    change=lambda d: ops.pad(d[:, 1:-1, 1:-1], ((0, 0), (1, 1), (1, 1), (0, 0))),
    of=[0],
)
mistake(
    SAME,
    "filter",
    "not rotated for x",
    other=lambda x, w: ops.conv2d(x, ops.flip(w, (0, 1)), 1, 1),
    of=[0],
)
mistake(
    SAME, "filter", "rows and columns are swapped", change=lambda d: ops.swapaxes(d, 0, 1), of=[1]
)
mistake(SAME, "transposed", "channels of w", change=lambda d: ops.swapaxes(d, 2, 3), of=[1])
mistake(
    SAME,
    "missing sum",
    "of w: the first image alone",
    other=lambda x, w: ops.conv2d(x[:1], w, 1, 1) * 1.0 + 0.0 * ops.conv2d(x, w, 1, 1),
    of=[1],
)
mistake(SAME, "n", "of w: the mean over the batch", change=lambda d: d / 2.0, of=[1])
mistake(
    SAME,
    "second order",
    "w is a constant in the derivative of x",
    other=lambda x, w: ops.conv2d(x, w.detach(), 1, 1),
    of=[0],
)
mistake(
    SAME,
    "second order",
    "x is a constant in the derivative of w",
    lambda g, x, w: (None, ops.conv2d_weight_gradient(x.detach(), g, 3, 1, 1)),
)
mistake(PADDED, "stride", "of x, the pixels between", change=lambda d: shifted(d, 1), of=[0])
mistake(
    PADDED,
    "stride",
    "of x, the odd rows have no gradient",
    change=lambda d: d * constant(np.arange(6)[:, None, None] % 2 == 0, d),
    of=[0],
)
mistake(
    "conv2d 3x3 stride=2 of 6x5",
    "stride",
    "the row that is left over comes first",
    change=lambda d: ops.roll(d, 1, 1),
    of=[0],
)
mistake(
    "conv2d 2x2 stride=3, with a remainder",
    "stride",
    "of w, counted from the end",
    other=lambda x, w: ops.conv2d(shifted(x, 0, -2), w, 3),
    of=[1],
)
mistake(
    "conv2d 2x3 stride=(2, 1) padding=(0, 2)",
    "padding",
    "of w, off by one column",
    other=lambda x, w: ops.conv2d(shifted(x, 0, 1), w, (2, 1), (0, 2)),
    of=[1],
)
mistake(
    "conv_transpose2d 4x4 stride=2 padding=1",
    "stride",
    "of x, off by one pixel",
    lambda g, x, w: (ops.conv2d(shifted(g, 1), w, 2, 1), None),
)
mistake(
    "conv_transpose2d 3x3",
    "filter",
    "rotated for x",
    lambda g, x, w: (ops.conv2d(g, ops.flip(w, (0, 1))), None),
)
mistake(
    "conv_transpose2d 3x3 stride=2 of 6x5",
    "stride",
    "of w, the pixels between",
    lambda g, x, w: (None, ops.conv2d_weight_gradient(shifted(g, 0, 1), x, 3, 2)),
)
mistake(
    "conv2d_weight_gradient 3x3",
    "filter",
    "rotated for x",
    lambda h, x, g: (ops.conv_transpose2d(g, ops.flip(h, (0, 1))), None),
)
mistake(
    "conv2d_weight_gradient 4x4 stride=2 padding=1",
    "stride",
    "of g, the pixels between",
    lambda h, x, g: (None, ops.conv2d(shifted(x, 1), h, 2, 1)),
)
mistake(
    "conv2d 1x1",
    "transposed",
    "pixels of x",
    change=lambda d: d.reshape(2, 4, 3, 3).transpose(0, 2, 1, 3),
    of=[0],
)
mistake(
    "conv2d whole image", "filter", "rotated for w", change=lambda d: ops.flip(d, (0, 1)), of=[1]
)

# Groups and biases

mistake(
    "conv2d 3x3 groups=2",
    "groups",
    "of x, with the weights of the other group",
    other=lambda x, w: ops.conv2d(x, ops.roll(w, 2, 3), 1, 1, 2),
    of=[0],
)
mistake(
    "conv2d 3x3 groups=2",
    "groups",
    "of w, with the images of the other group",
    other=lambda x, w: ops.conv2d(ops.roll(x, 3, 3), w, 1, 1, 2),
    of=[1],
)
mistake(
    "conv2d 3x3 stride=2, depthwise",
    "groups",
    "of w, with the next channel",
    other=lambda x, w: ops.conv2d(ops.roll(x, 1, 3), w, 2, 1, 3),
    of=[1],
)
mistake(
    "conv_transpose2d 3x3 groups=2",
    "groups",
    "of x, with the weights of the other group",
    lambda g, x, w: (ops.conv2d(g, ops.roll(w, 2, 3), 1, 1, 2), None),
)
mistake(
    "conv2d_weight_gradient 3x3 groups=2",
    "groups",
    "of g, in the order of the other group",
    lambda h, x, g: (None, ops.roll(ops.conv2d(x, h, 1, 1, 2), 2, 3)),
)
mistake(
    "conv_transpose2d 3x3 stride=2, depthwise",
    "groups",
    "of x, the first channel for all",
    change=lambda d: d * constant([3.0, 0.0, 0.0], d),
    of=[0],
)
mistake("conv2d 3x3, bias", "bias", "its gradient is missing", change=lambda d: 0.0 * d, of=[2])
mistake("conv2d 1x1, bias", "bias", "the mean over the pixels", change=lambda d: d / 24.0, of=[2])
mistake(
    "conv2d whole image, bias",
    "bias",
    "the first image alone",
    lambda g, x, w, b: (None, None, g[0, 0, 0]),
)
mistake(
    "conv_transpose2d 3x3, bias",
    "bias",
    "the first row of pixels alone",
    lambda g, x, w, b: (None, None, ops.sum(g[:, 0], (0, 1))),
)
mistake(
    "conv_transpose2d 4x4 stride=2 padding=1, bias",
    "bias",
    "the pixels of x, not of the result",
    lambda g, x, w, b: (None, None, ops.sum(g[:, ::2, ::2], (0, 1, 2))),
)
mistake(
    "conv2d 3x3 groups=2, bias",
    "bias",
    "of the other group",
    change=lambda d: ops.roll(d, 2),
    of=[2],
)

# Pooling and upsampling

mistake("avg_pool2d", "n", "the sum", change=lambda d: 4.0 * d)
mistake("avg_pool2d", "n", "of one axis of the two", change=lambda d: 2.0 * d)
mistake(
    "avg_pool2d kernel_size=3 stride=(1, 2)",
    "stride",
    "off by one column",
    change=lambda d: shifted(d, 0, 1),
)
mistake("max_pool2d", "formula", "of the smallest", other=lambda x: -ops.max_pool2d(-x))
mistake(
    "max_pool2d", "formula", "all four pixels receive g", other=lambda x: 4.0 * ops.avg_pool2d(x)
)
mistake(
    "max_pool2d with a remainder",
    "off by one",
    "the rows that are left over come first",
    change=lambda d: shifted(d, 1),
)
mistake(
    "max_pool2d kernel_size=(3, 2) stride=1",
    "index",
    "windows that overlap overwrite each other",
    change=lambda d: ops.clip(d, -1.0, 1.0),
)
mistake("upsample_nearest factor=2", "n", "the mean", change=lambda d: d / 4.0)
mistake(
    "upsample_nearest factor=3",
    "missing sum",
    "the middle pixel alone",
    lambda g, x: g[:, 1::3, 1::3],
)
mistake("upsample_bilinear factor=2", "formula", "of the nearest pixel", other=ops.upsample_nearest)
mistake("upsample_bilinear factor=3", "off by one", "one row", change=lambda d: shifted(d, 1))

# Filters

for _name, _filter, _settings in (("blur", FILTER, {}), ("separable", TAPS, {"padding": 2})):
    mistake(
        f"upfirdn2d {_name}",
        "filter",
        "not flipped for the adjoint",
        other=lambda x, f=_filter, s=_settings: ops.upfirdn2d(x, f, flip_filter=True, **s),
    )
mistake(
    "upfirdn2d flip", "filter", "flip_filter is forgotten", other=lambda x: ops.upfirdn2d(x, FILTER)
)
mistake(
    "upfirdn2d separable flip",
    "filter",
    "flipped along one axis alone",
    other=lambda x: ops.upfirdn2d(x, np.outer(TAPS, np.flip(TAPS)), padding=1, flip_filter=True),
)
mistake(
    "upfirdn2d up",
    "padding",
    "off by one column",
    other=lambda x: ops.upfirdn2d(x, FILTER, up=2, padding=(3, 0, 0, 3)),
)
mistake(
    "upfirdn2d down",
    "padding",
    "off by one row",
    other=lambda x: ops.upfirdn2d(x, FILTER, down=2, padding=(1, 1, 2, 0)),
)
mistake(
    "upfirdn2d up and down",
    "padding",
    "rows and columns are swapped",
    other=lambda x: ops.upfirdn2d(x, TAPS, up=3, down=2, padding=(4, 3, 4, 2)),
)
mistake(
    "upfirdn2d crop",
    "padding",
    "the crop, off by one",
    other=lambda x: ops.upfirdn2d(x, FILTER, up=(2, 3), padding=(-2, 1, 4, -4)),
)
mistake("upfirdn2d gain", "settings", "the gain is forgotten", change=lambda d: d / -2.0)
mistake(
    "upfirdn2d separable gain", "factor", "the gain once for each axis", change=lambda d: -2.0 * d
)
mistake("upsample2d", "settings", "the gain of 4 is forgotten", change=lambda d: d / 4.0)
mistake("downsample2d", "settings", "a gain of 4 that does not belong", change=lambda d: d * 4.0)
mistake("upsample2d", "padding", "off by one row", change=lambda d: shifted(d, 1))
mistake(
    "upsample2d",
    "filter",
    "of the bilinear filter",
    other=lambda x: ops.upfirdn2d(x, (0.0, 1.0, 1.0, 0.0), 2, padding=(2, 1, 2, 1)),
)

# Warps

SHIFTS = np.array([[1, -2], [0, 0], [-5, 3]])
mistake("translate", "sign", "of the shifts", lambda g, x: ops.translate(g, SHIFTS))
mistake(
    "translate",
    "axis",
    "rows and columns are swapped",
    lambda g, x: ops.translate(g, -SHIFTS[:, ::-1]),
)
mistake(
    "translate",
    "formula",
    "rolled: pixels that left the image come back",
    lambda g, x: ops.stack([ops.roll(g[i], tuple(-SHIFTS[i]), (0, 1)) for i in range(3)]),
)
_inverse = np.concatenate(
    [np.linalg.inv(THETA[:, :, :2]), -np.linalg.inv(THETA[:, :, :2]) @ THETA[:, :, 2:]], 2
)
mistake(
    "affine_warp",
    "formula",
    "the inverse map, not the adjoint",
    lambda g, x: ops.affine_warp(g, _inverse),
)
mistake(
    "affine_warp size",
    "arguments",
    "the maps of the images are swapped",
    other=lambda x: ops.affine_warp(x, THETA[::-1], (3, 7)),
)
mistake(
    "affine_warp",
    "off by one",
    "corners instead of borders: coordinates of another size",
    other=lambda x: ops.affine_warp(x, THETA * np.array([[[1.25, 1, 1], [1, 1.25, 1]]])),
)
