"""The op table's rows of matrix products."""

import numpy as np

from tinygan import ops

from .table import normal, row

for _a, _b, _note in (
    ((3, 4), (4, 2), ""),
    ((5, 1, 3, 4), (2, 4, 2), "batches"),
    ((4,), (4,), "vectors"),
    ((2, 3, 4), (4,), "by a vector"),
    ((4,), (2, 4, 3), "vector by batch"),
):
    row(ops.matmul, np.matmul, normal(*_a), normal(*_b), note=_note, linear=True, keeps="ab")
row(
    ops.affine,
    lambda x, w, b: x @ w + b,
    normal(3, 4),
    normal(4, 2),
    normal(2),
    linear=True,
    keeps="abc",
)
row(
    ops.affine,
    lambda x, w, b: x @ w + b,
    normal(2, 3, 4),
    normal(4, 2),
    normal(2),
    note="batches",
    linear=True,
)
for _subscripts, _reference, *_shapes in (
    ("nhwc,co->nhwo", lambda x, w: np.tensordot(x, w, 1), (2, 3, 2, 4), (4, 5)),
    ("nic,njc->nij", lambda a, b: a @ b.swapaxes(1, 2), (2, 3, 4), (2, 5, 4)),
    ("ij,jk,kl->il", lambda a, b, c: a @ b @ c, (2, 3), (3, 4), (4, 2)),
    ("i,j", np.outer, (3,), (4,)),
    ("ij,kj->k", lambda a, b: b @ a.sum(0), (2, 3), (4, 3)),
    ("ijk->kj", lambda x: x.sum(0).T, (2, 3, 4)),
):
    row(
        lambda *xs, subscripts=_subscripts: ops.einsum(subscripts, *xs),
        _reference,
        *(normal(*shape) for shape in _shapes),
        name="einsum",
        note=_subscripts,
        call=lambda f, *xs: f(*xs),
        linear=True,
        keeps="abc"[: len(_shapes)] if len(_shapes) > 1 else "",
    )
