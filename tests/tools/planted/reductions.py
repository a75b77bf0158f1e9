"""Mistakes in the derivatives of reductions, products and losses."""

import numpy as np

from tinygan import ops
from tinygan.optable.table import normal

from .mechanism import case, constant, mistake

# Sums and means

CUBE = case("sum of a cube axis=1", lambda x: ops.sum(x, 1), normal(3, 3, 3))
mistake("sum", "n", "the mean", other=ops.mean)
mistake("sum axis=1", "n", "the mean", change=lambda d: d / 3.0)
mistake(
    CUBE,
    "axis",
    "repeated along the wrong axis",
    lambda g, x: ops.broadcast_to(ops.reshape(g, (3, 3, 1)), (3, 3, 3)),
)
mistake("mean", "n", "the sum", other=ops.sum)
mistake("mean axis=(0, 2) keepdims=True", "n", "of one axis of the two", change=lambda d: d * 4.0)
mistake("mean axis=-1 keepdims=True", "n", "n - 1 instead of n", change=lambda d: d * (4 / 3))

# Variance, norm, product, extrema

for _row, _n in (("var", 24), ("var axis=1", 3)):
    mistake(_row, "n", "n - 1 instead of n", change=lambda d, n=_n: d * (n / (n - 1)))
mistake("var", "dropped term", "the mean", lambda g, x: g * x * (2 / 24))
mistake(
    "var axis=(0, 2) keepdims=True",
    "second order",
    "the mean is a constant",
    lambda g, x: g * (x - ops.mean(x, (0, 2), keepdims=True).detach()) * (2 / 8),
)
mistake("std", "n", "n - 1 instead of n", change=lambda d: d * (24 / 23))
mistake(
    "std axis=-1 keepdims=True",
    "dropped term",
    "the division by the deviation",
    lambda g, x: g * (x - ops.mean(x, -1, keepdims=True)) / 4.0,
)
mistake(
    "std axis=-1 keepdims=True",
    "statistics",
    "the deviation is a constant in second order",
    lambda g, x: (
        g * (x - ops.mean(x, -1, keepdims=True)) / 4.0 / ops.std(x, -1, keepdims=True).detach()
    ),
)
mistake("norm", "dropped term", "the division by the norm", lambda g, x: g * x)
mistake("norm axis=-1 keepdims=True", "factor", "2", change=lambda d: 2.0 * d)
mistake(
    "norm axis=(0, 2) keepdims=True",
    "second order",
    "the norm is a constant",
    lambda g, x: g * x / ops.norm(x, (0, 2), keepdims=True).detach(),
)
mistake(
    "prod axis=-1 keepdims=True",
    "dropped term",
    "the division by x",
    lambda g, x: g * ops.prod(x, -1, keepdims=True) + 0.0 * x,
)
mistake(
    "prod", "second order", "the product is a constant", lambda g, x: g * ops.prod(x).detach() / x
)
mistake(
    "prod zeros",
    "NaN",
    "the product divided by zero",
    lambda g, x: ops.reshape(g * ops.prod(x, 1), (4, 1)) / x,
)
mistake(
    "max axis=1", "off by one", "the entry after the largest", change=lambda d: ops.roll(d, 1, 1)
)
mistake(
    "max axis=-1 keepdims=True", "formula", "of the smallest", other=lambda x: ops.min(x, -1, True)
)
mistake("min", "sign", "of max(-x)", change=lambda d: -d)
mistake("max", "formula", "all entries receive g", lambda g, x: g + 0.0 * x)

# Softmax

mistake(
    "logsumexp axis=-1 keepdims=True",
    "dropped term",
    "the sum of the exponentials",
    lambda g, x: g * ops.exp(x),
)
mistake(
    "logsumexp",
    "second order",
    "the result is a constant",
    lambda g, x: g * ops.exp(x - ops.logsumexp(x).detach()),
)
mistake(
    "logsumexp axis=1",
    "axis",
    "of another axis",
    lambda g, x: ops.softmax(x, 2) * ops.reshape(g, (2, 1, 4)),
)
mistake(
    "softmax axis=-1",
    "dropped term",
    "the diagonal alone: y (1 - y)",
    lambda g, x: g * ops.softmax(x, -1) * (1.0 - ops.softmax(x, -1)),
)
mistake(
    "softmax axis=1",
    "axis",
    "the sum over the last axis",
    lambda g, x: _softmax_gradient(g, ops.softmax(x, 1), -1),
)
mistake(
    "softmax axis=-1",
    "second order",
    "y is a constant in the sum",
    lambda g, x: _softmax_gradient(g, ops.softmax(x, -1), -1, detach=True),
)
mistake("log_softmax axis=-1", "dropped term", "the softmax", lambda g, x: g)
mistake(
    "log_softmax axis=1",
    "n",
    "the mean of g instead of its sum",
    lambda g, x: g - ops.softmax(x, 1) * ops.mean(g, 1, keepdims=True),
)
mistake(
    "log_softmax axis=-1",
    "second order",
    "the softmax is a constant",
    lambda g, x: g - ops.softmax(x, -1).detach() * ops.sum(g, -1, keepdims=True),
)


def _softmax_gradient(g, y, axis, detach=False):
    inner = ops.sum(g * (y.detach() if detach else y), axis, keepdims=True)
    return y * (g - inner)


# Losses

BCE = "binary_cross_entropy_with_logits Tensor target"
mistake(BCE, "sign", "of the logits", change=lambda d: -d, of=[0])
mistake(BCE, "zero", "of the target", change=lambda d: 0.0 * d, of=[1])
mistake(BCE, "n", "the sum", change=lambda d: 12.0 * d)
mistake(BCE, "n", "the mean over the batch alone", change=lambda d: 4.0 * d)
mistake(
    "binary_cross_entropy_with_logits number",
    "settings",
    "the target is 1",
    other=lambda x: ops.binary_cross_entropy_with_logits(x, 1.0),
)
mistake(
    "binary_cross_entropy_with_logits number",
    "formula",
    "of the probabilities, not the logits",
    lambda g, x: g * (ops.sigmoid(x) - 0.9) / (ops.sigmoid(x) * ops.sigmoid(-x)) / 12.0,
)
mistake(
    "cross_entropy",
    "labels",
    "the next label",
    other=lambda x: ops.cross_entropy(x, np.array([0, 1, 0])),
)
mistake(
    "cross_entropy",
    "labels",
    "those of the batch in reverse",
    other=lambda x: ops.cross_entropy(x[::-1], np.array([0, 3, 3])),
)
mistake("cross_entropy", "n", "the sum over the batch", change=lambda d: 3.0 * d)
mistake("cross_entropy", "n", "the mean over the classes, too", change=lambda d: d / 4.0)
mistake(
    "cross_entropy",
    "dropped term",
    "the softmax",
    lambda g, x: g * constant(-np.eye(4)[[3, 0, 3]] / 3, x) + 0.0 * x,
)
mistake("mse_loss", "factor", "2 is missing", change=lambda d: d / 2.0)
mistake("mse_loss", "sign", "of the target", change=lambda d: -d, of=[1])
mistake("mse_loss", "n", "the mean over the batch alone", change=lambda d: d * 4.0)
mistake("l1_loss", "n", "the sum", change=lambda d: d * 12.0)
mistake("l1_loss", "formula", "of the squares", other=ops.mse_loss)

# Products

SQUARE = case("matmul of squares", ops.matmul, normal(4, 4), normal(4, 4))
mistake(SQUARE, "transposed", "b is not", lambda g, a, b: (g @ b, None))
mistake(SQUARE, "transposed", "a is not", lambda g, a, b: (None, a @ g))
mistake(SQUARE, "transposed", "the result", change=lambda d: d.T, of=[1])
mistake(SQUARE, "arguments", "swapped", lambda g, a, b: (a.T @ g, g @ b.T))
mistake(SQUARE, "second order", "b is a constant", lambda g, a, b: (g @ b.detach().T, None))
mistake(SQUARE, "second order", "g is a constant", lambda g, a, b: (None, a.T @ g.detach()))
mistake(
    "matmul batches",
    "missing sum",
    "of b: the mean over the batch",
    change=lambda d: d / 5.0,
    of=[1],
)
mistake(
    "matmul batches",
    "missing sum",
    "of a: the mean over the batch",
    change=lambda d: d / 2.0,
    of=[0],
)
mistake("matmul vectors", "arguments", "swapped", lambda g, a, b: (g * a, g * b))
mistake("affine", "bias", "its gradient is missing", change=lambda d: 0.0 * d, of=[2])
mistake("affine", "bias", "the mean over the batch", change=lambda d: d / 3.0, of=[2])
mistake(
    "affine batches",
    "bias",
    "summed over one axis of the two",
    lambda g, x, w, b: (None, None, ops.sum(g, 0)[0]),
)
CHAIN = case(
    "einsum of a chain of squares",
    lambda x, y, z: ops.einsum("ij,jk,kl->il", x, y, z),
    normal(3, 3),
    normal(3, 3),
    normal(3, 3),
)
mistake(
    CHAIN, "arguments", "the order of the product", lambda g, a, b, c: (g @ (c @ b).T, None, None)
)
mistake(CHAIN, "transposed", "the middle one", change=lambda d: d.T, of=[1])
mistake(
    CHAIN,
    "second order",
    "the first is a constant in the derivative of the last",
    lambda g, a, b, c: (None, None, (a.detach() @ b).T @ g),
)
mistake(
    "einsum ij,kj->k",
    "missing sum",
    "the axis that a alone has: its first row",
    lambda g, a, b: (ops.pad((g @ b).reshape(1, 3), ((0, 1), (0, 0))), None),
)
mistake(
    "einsum nic,njc->nij",
    "second order",
    "of a by a factor of 1.01",
    change=lambda d: d + 0.01 * (d - d.detach()),
    of=[0],
)
