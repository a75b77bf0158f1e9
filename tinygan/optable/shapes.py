"""The op table's rows of ops that rearrange, repeat or select values."""

import numpy as np

from tinygan import ops

from .table import normal, row

row(
    ops.reshape,
    lambda x, shape: x.reshape(shape),
    normal(2, 3, 4),
    shape=(4, -1),
    linear=True,
    keeps="",
)
row(ops.flatten, lambda x: x.reshape(-1), normal(2, 3, 4), linear=True)
row(
    ops.flatten,
    lambda x, start, end: x.reshape(2, 12, 2),
    normal(2, 3, 4, 2),
    start=1,
    end=-2,
    linear=True,
)
row(ops.squeeze, np.squeeze, normal(1, 3, 1, 4), linear=True)
row(ops.squeeze, np.squeeze, normal(1, 3, 1, 4), axis=(0, -2), linear=True)
row(ops.swapaxes, np.swapaxes, normal(2, 3, 4), axis1=-1, axis2=0, linear=True)
row(ops.cumsum, np.cumsum, normal(3, 4), linear=True, keeps="")
row(ops.cumsum, np.cumsum, normal(2, 3, 4), axis=-2, linear=True, keeps="")
row(ops.transpose, np.transpose, normal(2, 3, 4), linear=True, keeps="")
row(ops.transpose, np.transpose, normal(2, 3, 4), axes=(1, -1, 0), linear=True, keeps="")
row(ops.broadcast_to, np.broadcast_to, normal(3, 1), shape=(2, 3, 4), linear=True, keeps="")
row(ops.flip, np.flip, normal(2, 3), linear=True, keeps="")
row(ops.flip, np.flip, normal(2, 3, 4), axis=(0, 2), linear=True, keeps="")
row(ops.mean_over_shares, lambda x: x, normal(3, 4), linear=True, keeps="")
row(ops.roll, np.roll, normal(3, 4), shift=5, linear=True, keeps="")
row(ops.roll, np.roll, normal(2, 3, 4), shift=(1, -2), axis=(0, 2), linear=True, keeps="")
row(
    ops.pad,
    lambda x, widths: np.pad(x, widths),
    normal(2, 3),
    widths=((1, 0), (2, 3)),
    linear=True,
    keeps="",
)
for _note, _index in {
    "integer": 1,
    "slices": (slice(None, None, -1), slice(1, 5, 2)),
    "new axis": (..., None, -1),
    "rows": np.array([2, 0, 2, 2]),
    "pairs": (np.array([0, 2, 0]), np.array([1, 1, 1])),
    "list": (slice(None), [3, 0, 3]),
    "mixed": (np.array([[0], [2]]), slice(1, 3)),
    "mask": np.arange(15).reshape(3, 5) % 4 == 1,
}.items():
    row(
        ops.getitem,
        lambda x, index: x[index],
        normal(3, 5),
        note=_note,
        index=_index,
        linear=True,
        keeps="",
    )
row(
    ops.embedding,
    lambda table, indices: np.stack([[table[i] for i in line] for line in indices]),
    normal(5, 3),
    note="",
    indices=np.array([[1, 4, 1], [0, 1, 3]]),
    linear=True,
    keeps="",
)
row(
    ops.concatenate,
    np.concatenate,
    normal(2, 1),
    normal(2, 3),
    normal(2, 2),
    note="axis=1",
    call=lambda f, *xs: f(xs, axis=1),
    linear=True,
    keeps="",
)
row(
    ops.stack,
    np.stack,
    normal(2, 3),
    normal(2, 3),
    normal(2, 3),
    note="axis=-1",
    call=lambda f, *xs: f(xs, axis=-1),
    linear=True,
    keeps="",
)
