"""The op table's rows of reductions: sums, means, extrema, norms and softmax."""

import numpy as np

from tinygan import ops

from .oracles import scipy
from .table import distinct, normal, row


def with_zeros(rng):
    """Rows with no, one, two and three zeros."""
    return rng.standard_normal((4, 3)) * (np.arange(3) >= np.arange(4)[:, None])


for _settings in (
    {},
    {"axis": 1},
    {"axis": (0, 2), "keepdims": True},
    {"axis": -1, "keepdims": True},
):
    row(ops.sum, np.sum, normal(2, 3, 4), linear=True, keeps="", **_settings)
    row(ops.mean, np.mean, normal(2, 3, 4), linear=True, keeps="", **_settings)
    row(ops.var, np.var, normal(2, 3, 4), keeps="a", **_settings)
    row(ops.std, np.std, normal(2, 3, 4), **_settings)
    row(ops.prod, np.prod, normal(2, 3, 4), **_settings)
    row(ops.max, np.max, distinct(2, 3, 4), keeps="ay", **_settings)
    row(ops.min, np.min, distinct(2, 3, 4), **_settings)
    row(ops.logsumexp, scipy("special.logsumexp"), normal(2, 3, 4), **_settings)
    row(ops.norm, np.linalg.norm, normal(2, 3, 4), keeps="ay", **_settings)
row(ops.prod, np.prod, with_zeros, note="zeros", axis=1)
for _axis in (-1, 1):
    row(ops.softmax, scipy("special.softmax"), normal(2, 3, 4), axis=_axis)
    row(ops.log_softmax, scipy("special.log_softmax"), normal(2, 3, 4), axis=_axis)
