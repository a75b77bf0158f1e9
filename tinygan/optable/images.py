"""The op table's rows of ops on images: pooling, resampling, filtering and warping."""

import numpy as np

from tinygan import ops

from . import oracles
from .oracles import pooled, zoomed
from .table import distinct, normal, row

TAPS, FILTER = (0.5, 3.0, -1.0, 0.25), ((1.0, 2.0, 0.5), (-0.5, 1.5, 3.0))
THETA = np.array([[[0.8, 0.3, 0.1], [-0.4, 1.1, -0.2]], [[1.3, 0.0, 0.55], [0.2, -0.9, 0.0]]])

row(ops.avg_pool2d, pooled(np.mean), normal(2, 4, 6, 2), linear=True, keeps="")
row(
    ops.avg_pool2d,
    pooled(np.mean),
    normal(2, 5, 6, 2),
    kernel_size=3,
    stride=(1, 2),
    linear=True,
    keeps="",
)
row(ops.max_pool2d, pooled(np.max), distinct(2, 4, 6, 2), keeps="ay")
row(
    ops.max_pool2d,
    pooled(np.max),
    distinct(2, 5, 7, 2),
    note="with a remainder",
    call=lambda f, x: f(x),
    keeps="ay",
)
row(ops.max_pool2d, pooled(np.max), distinct(2, 5, 6, 1), kernel_size=(3, 2), stride=1)
for _factor in (2, 3):
    row(ops.upsample_nearest, zoomed(0), normal(2, 3, 4, 2), factor=_factor, linear=True, keeps="")
    row(ops.upsample_bilinear, zoomed(1), normal(2, 3, 4, 2), factor=_factor, linear=True, keeps="")
for _note, _filter, _settings in (
    ("blur", FILTER, {}),
    ("up", FILTER, {"up": 2, "padding": (2, 1, 0, 3)}),
    ("down", FILTER, {"down": 2, "padding": 1}),
    ("separable", TAPS, {"padding": 2}),
    ("up and down", TAPS, {"up": 3, "down": 2, "padding": (3, 4, 5, 1)}),
    ("crop", FILTER, {"up": (2, 3), "padding": (-3, 2, 4, -4)}),
    ("flip", FILTER, {"flip_filter": True}),
    ("separable flip", TAPS, {"padding": 1, "flip_filter": True}),
    ("gain", FILTER, {"gain": -2.0}),
    ("separable gain", TAPS, {"padding": 3, "gain": -2.0}),
):
    row(
        ops.upfirdn2d,
        oracles.upfirdn2d,
        normal(2, 4, 5, 2),
        note=_note,
        f=_filter,
        linear=True,
        keeps="",
        **_settings,
    )
row(
    ops.upfirdn2d,
    oracles.upfirdn2d_by_axis,
    normal(1, 4, 5, 2),
    note="against scipy.signal.upfirdn",
    f=TAPS,
    up=3,
    down=2,
    padding=(3, 1, 3, 1),
    linear=True,
    keeps="",
)
row(
    ops.translate,
    oracles.translate,
    normal(3, 5, 4, 2),
    note="",
    shifts=np.array([[1, -2], [0, 0], [-5, 3]]),
    linear=True,
    keeps="",
)
row(
    ops.affine_warp,
    oracles.affine_warp,
    normal(2, 5, 4, 2),
    note="",
    theta=THETA,
    linear=True,
    keeps="",
)
row(
    ops.affine_warp,
    oracles.affine_warp,
    normal(2, 5, 4, 1),
    note="size",
    theta=THETA,
    size=(3, 7),
    linear=True,
    keeps="",
)
