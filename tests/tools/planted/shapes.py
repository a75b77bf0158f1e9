"""Mistakes in the derivatives of ops that rearrange, repeat or select values."""

import numpy as np

from tinygan import ops
from tinygan.optable.table import normal

from .mechanism import case, constant, mistake

mistake(
    "reshape shape=(4, -1)",
    "transposed",
    "columns first",
    lambda g, x: ops.transpose(ops.reshape(g, (4, 3, 2))),
)
mistake("flatten", "off by one", "one place further", lambda g, x: ops.roll(g, 1).reshape(2, 3, 4))
mistake(
    "swapaxes axis1=-1 axis2=0",
    "axis",
    "reshaped, not swapped",
    lambda g, x: ops.reshape(g, (2, 3, 4)),
)
CUBE = case("transpose of a cube", lambda x: ops.transpose(x, (1, 2, 0)), normal(3, 3, 3))
mistake(CUBE, "axis", "the same axes, not the inverse", lambda g, x: ops.transpose(g, (1, 2, 0)))
mistake(
    "cumsum",
    "formula",
    "the sum of those before, not after",
    lambda g, x: ops.reshape(ops.cumsum(g), (3, 4)),
)
mistake(
    "cumsum axis=-2",
    "off by one",
    "without the entry itself",
    change=lambda d: ops.pad(d, ((0, 0), (0, 1), (0, 0)))[:, 1:],
)
mistake(
    "broadcast_to shape=(2, 3, 4)", "n", "the mean", lambda g, x: ops.mean(g, (0, 2)).reshape(3, 1)
)
mistake(
    "broadcast_to shape=(2, 3, 4)",
    "missing sum",
    "over the new axis",
    lambda g, x: ops.sum(g[0], 1, keepdims=True),
)
mistake("flip", "axis", "the first axis alone", lambda g, x: ops.flip(g, 0))
mistake("flip axis=(0, 2)", "formula", "not flipped back", lambda g, x: g)
mistake("roll shift=5", "sign", "of the shift", lambda g, x: ops.roll(g, 5))
mistake(
    "roll shift=(1, -2) axis=(0, 2)",
    "off by one",
    "of the second shift",
    lambda g, x: ops.roll(g, (-1, 1), (0, 2)),
)
mistake(
    "roll shift=(1, -2) axis=(0, 2)",
    "axis",
    "the axes are swapped",
    lambda g, x: ops.roll(g, (2, -1), (0, 2)),
)
mistake("pad widths=((1, 0), (2, 3))", "padding", "off by one column", lambda g, x: g[1:, 1:4])
mistake(
    "pad widths=((1, 0), (2, 3))", "padding", "the end's at the start", lambda g, x: g[:-1, 3:6]
)
mistake(
    "getitem integer",
    "off by one",
    "the row before",
    lambda g, x: ops.pad(g.reshape(1, 5), ((0, 2), (0, 0))),
)
mistake(
    "getitem slices",
    "off by one",
    "the columns before",
    lambda g, x: constant(np.eye(3)[::-1], x) @ g @ constant(np.eye(5)[[0, 2]], x),
)
mistake(
    "getitem rows",
    "index",
    "a repeated row is overwritten, not added to",
    lambda g, x: constant([[0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]], x) @ g,
)
mistake(
    "getitem list",
    "index",
    "a repeated column is overwritten, not added to",
    lambda g, x: g @ constant(np.eye(5)[[3, 0, 3]] * [[0], [1], [1]], x),
)
PAIRS = case(
    "getitem of pairs of a square",
    lambda x: x[np.array([0, 2, 0]), np.array([1, 1, 2])],
    normal(3, 3),
)
mistake(PAIRS, "transposed", "the indices are swapped", change=lambda d: d.T)
mistake(
    "getitem mask",
    "index",
    "the values in reverse",
    other=lambda x: x[np.arange(15).reshape(3, 5) % 4 == 1][::-1],
)
mistake(
    "embedding",
    "index",
    "a repeated row is overwritten, not added to",
    other=lambda w: (
        ops.embedding(w, np.array([[1, 4, 1], [0, 1, 3]]))
        * constant([[[0.0], [1.0], [0.0]], [[1.0], [1.0], [1.0]]], w)
    ),
)
mistake("embedding", "off by one", "the next row", change=lambda d: ops.roll(d, 1, 0))
mistake(
    "concatenate axis=1",
    "arguments",
    "the order of the parts",
    lambda g, a, b, c: (g[:, 5:], g[:, 2:5], g[:, :2]),
)
mistake(
    "concatenate axis=1",
    "off by one",
    "the second part",
    lambda g, a, b, c: (None, g[:, 0:3], None),
)
mistake(
    "stack axis=-1",
    "arguments",
    "the order of the parts",
    lambda g, a, b, c: (g[..., 1], g[..., 0], None),
)
mistake("mean_over_shares", "n", "twice the number of shares", change=lambda d: d / 2.0)
