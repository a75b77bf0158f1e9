"""The op table's rows of losses."""

import numpy as np

from tinygan import ops

from . import oracles
from .table import distinct, normal, positive, row

row(
    ops.binary_cross_entropy_with_logits,
    oracles.binary_cross_entropy,
    normal(3, 4),
    positive(3, 4),
    note="Tensor target",
    keeps="ab",
)
row(
    ops.binary_cross_entropy_with_logits,
    oracles.binary_cross_entropy,
    normal(3, 4),
    note="number",
    call=lambda f, x: f(x, 0.9),
    keeps="a",
)
row(ops.cross_entropy, oracles.cross_entropy, normal(3, 4), note="", labels=np.array([3, 0, 3]))
row(ops.mse_loss, lambda a, b: np.mean((a - b) ** 2), normal(3, 4), normal(3, 4))
row(ops.l1_loss, lambda a, b: np.mean(np.abs(a - b)), distinct(3, 4), distinct(3, 4, offset=0.05))
