"""Factors, and mistakes in one entry of many, at ties, in float32 or at some shapes only."""

import numpy as np

from tinygan import ops
from tinygan.optable.table import normal, positive

from .mechanism import at_one_entry, case, constant, gradients_of, mistake

# Factors

for _row in ("tanh", "matmul", "conv2d 3x3", "batch_norm vectors", "SelfAttention"):
    for _factor in (2.0, 2.001, 1.0 + 1e-4, 1.0 + 1e-7):
        mistake(
            _row,
            "factor",
            f"all of its gradients by {_factor:.8g}",
            change=lambda d, factor=_factor: d * factor,
        )

# One entry of a thousand

MANY = [
    case("tanh of 25 x 40", ops.tanh, normal(25, 40)),
    case("matmul of 25 x 40", ops.matmul, normal(25, 40), normal(40, 6)),
    case(
        "conv2d of 1000 pixels",
        lambda x, w: ops.conv2d(x, w, 1, 1),
        normal(2, 10, 10, 5),
        normal(3, 3, 5, 4),
    ),
    case("batch_norm of 250 x 4", ops.batch_norm, normal(250, 4)),
    case("softmax of 40 x 25", ops.softmax, normal(40, 25)),
    case("mse_loss of 1000", lambda x: ops.mse_loss(x, 0.0), normal(1000)),
]
for _row in MANY:
    mistake(
        _row,
        "one entry",
        "one of a thousand, by 1 + 1e-3",
        change=lambda d: d * at_one_entry(1.0 + 1e-3, d),
        of=[0],
    )
    mistake(
        _row,
        "one entry",
        "one of a thousand, by 1e-4 of the rms",
        change=lambda d: d + ops.norm(d.detach()) * at_one_entry(1e-4 / d.size**0.5, d, 0.0),
        of=[0],
    )
for _row in MANY[:4]:
    mistake(
        _row,
        "one entry",
        "the largest of a thousand, by 1 + 1e-4",
        change=lambda d: d * at_one_entry(1.0 + 1e-4, d, position=_position_of_largest(d)),
        of=[0],
    )
mistake(
    MANY[0],
    "one entry",
    "two of a thousand, that cancel in the sum",
    change=lambda d: d + at_one_entry(1e-3, d, 0.0) - at_one_entry(1e-3, d, 0.0, position=0.7),
)
mistake(
    MANY[2],
    "one entry",
    "one of a thousand, in second order, by 1.01",
    change=lambda d: d + (d - d.detach()) * at_one_entry(0.01, d, 0.0),
    of=[0],
)
mistake(
    MANY[1],
    "NaN",
    "in one entry of a thousand",
    change=lambda d: d * at_one_entry(np.nan, d),
    of=[0],
)
mistake(
    MANY[5],
    "NaN",
    "infinite in one entry of a thousand",
    change=lambda d: d + at_one_entry(np.inf, d, 0.0),
)


def _position_of_largest(d):
    return (int(abs(d.data).argmax()) + 0.5) / d.size


# Ties and kinks: a derivative there is right if it lies between those of both sides


def with_ties(shape, values=3):
    """Draw from few values, so that there are ties, with zeros among them."""
    return lambda rng: rng.integers(-1, values - 1, shape).astype(float)


def at_ties(name, function, ties, draws, what, value):
    """Plant a mistake: the gradient of the first argument is multiplied by `value` at ties."""
    row = case(f"{name} with ties", function, *draws)

    def derivatives(g, *xs):
        first, *others = gradients_of(function, xs, g)
        here = np.broadcast_to(ties(*(x.data for x in xs)), first.shape)
        return [first * constant(np.where(here, value, 1.0), first), *others]

    mistake(row, "ties", what, derivatives)


def _largest(x):
    largest = x == x.max(-1, keepdims=True)
    return largest & (largest.sum(-1, keepdims=True) > 1)


TIED = [with_ties((4, 6))]
at_ties(
    "max axis=-1", lambda x: ops.max(x, -1), _largest, TIED, "each receives twice its share", 2.0
)
at_ties("max axis=-1", lambda x: ops.max(x, -1), _largest, TIED, "none receives g", 0.0)
at_ties("min axis=-1", lambda x: ops.min(x, -1), lambda x: _largest(-x), TIED, "NaN", np.nan)
at_ties(
    "maximum",
    ops.maximum,
    lambda a, b: a == b,
    [with_ties((4, 6)), with_ties((4, 6))],
    "a receives three times its share",
    3.0,
)
at_ties(
    "minimum",
    ops.minimum,
    lambda a, b: a == b,
    [with_ties((4, 6)), with_ties((4, 6))],
    "the sign of a's share",
    -1.0,
)
for _name, _function in (
    ("relu", lambda x: ops.relu(x) + 0.5 * x),
    ("abs", lambda x: ops.abs(x) + 2.0 * x),
    ("leaky_relu", lambda x: ops.leaky_relu(x, 0.2)),
    ("clip", lambda x: ops.clip(x, 0.0, 5.0) + x),
):
    at_ties(f"{_name} plus a line", _function, lambda x: x == 0, TIED, "ten times the slope", 10.0)
    at_ties(f"{_name} plus a line", _function, lambda x: x == 0, TIED, "NaN", np.nan)
IMAGE_TIES = [with_ties((2, 4, 4, 1))]


def _tied_pixels(x):
    windows = x.reshape(2, 2, 2, 2, 2, 1)
    largest = windows == windows.max((2, 4), keepdims=True)
    return (largest & (largest.sum((2, 4), keepdims=True) > 1)).reshape(x.shape)


at_ties(
    "max_pool2d", ops.max_pool2d, _tied_pixels, IMAGE_TIES, "each receives twice its share", 2.0
)
at_ties("max_pool2d", ops.max_pool2d, _tied_pixels, IMAGE_TIES, "none receives g", 0.0)

# float32

for _row, _what, _change in (
    ("tanh", "the factor 1.001", lambda d: 1.001 * d),
    ("matmul", "the sign", lambda d: -d),
    ("conv2d 3x3", "one entry is 0", lambda d: d * at_one_entry(0.0, d)),
    ("batch_norm", "NaN", lambda d: d * np.nan),
    ("softmax axis=-1", "transposed", lambda d: d.transpose(0, 2, 1).reshape(2, 3, 4)),
    ("modulated_conv2d", "the factor 1.01", lambda d: 1.01 * d),
    ("BatchNorm train", "zero", lambda d: 0.0 * d),
    ("cross_entropy", "off by one", lambda d: ops.roll(d, 1, 0)),
):
    mistake(
        _row,
        "float32",
        f"{_what}, in float32 alone",
        change=lambda d, change=_change: change(d) if d.dtype == np.float32 else d,
        dtype="float32",
    )

# One shape only, and a batch of one

ODD = case("avg_pool2d of 5 x 5", lambda x: ops.avg_pool2d(x, 2), normal(2, 5, 5, 2))
mistake(
    ODD,
    "one shape",
    "odd sizes: the row that is left over comes first",
    change=lambda d: ops.roll(d, 1, 1),
)
ODD_CONV = case(
    "conv2d stride=2 of 5 x 7",
    lambda x, w: ops.conv2d(x, w, 2, 1),
    normal(2, 5, 7, 3),
    normal(4, 4, 3, 2),
)
mistake(
    ODD_CONV,
    "one shape",
    "odd sizes: off by one column",
    change=lambda d: ops.roll(d, 1, 2) if d.shape[2] % 2 else d,
    of=[0],
)
ONE = case(
    "affine of a batch of one",
    ops.affine,
    normal(1, 4),
    normal(4, 3),
    normal(3),
    arguments=["x", "w", "bias"],
)
mistake(
    ONE,
    "one shape",
    "a batch of one: the bias is averaged over its entries",
    lambda g, x, w, b: (None, None, ops.mean(g) + 0.0 * b if g.shape[0] == 1 else ops.sum(g, 0)),
)
ONE_IMAGE = case("instance_norm of one image", ops.instance_norm, normal(1, 3, 3, 2))
mistake(
    ONE_IMAGE,
    "one shape",
    "a batch of one: statistics of the channels, too",
    other=lambda x: ops.normalize(x, (1, 2, 3)),
)
COLUMN = case("matmul of one column", ops.matmul, normal(4, 4), normal(4, 1))
mistake(
    COLUMN,
    "one shape",
    "one column: broadcast instead of a product",
    lambda g, a, b: (g @ b.T if b.shape[1] > 1 else ops.broadcast_to(g, (4, 4)) * b, None),
)
EMPTY = case("add with a single row", ops.add, normal(1, 4), normal(4))
mistake(
    EMPTY,
    "one shape",
    "a single row: b receives the mean of its entries",
    lambda g, a, b: (None, ops.mean(g) + 0.0 * b),
)

# What no check can see, and its visible relatives

NET = case(
    "a network of three layers",
    lambda x, w: ops.tanh(ops.tanh(x @ w) @ w.T),
    normal(3, 4),
    normal(4, 5),
)


def from_order(k, factor):
    """A change of the gradient by `factor`, from the derivative of order k on: the derivatives of
    lower order are right."""

    def change(d):
        rest = d - d.detach()  # 0, with the derivatives of d
        for _ in range(k - 2):
            rest = rest * rest
        return d + (factor - 1.0) * rest

    return change


mistake(NET, "second order", "by a factor of 2.001", change=from_order(2, 2.001))
mistake(NET, "second order", "by a factor of 1 + 1e-4", change=from_order(2, 1 + 1e-4), of=[1])
mistake(NET, "second order", "third order alone, by a square", change=from_order(3, 3.0), order=3)
mistake(
    NET,
    "second order",
    "third order alone, checked up to the second",
    change=from_order(3, 3.0),
    invisible="The derivatives of first and second order are right, and order=2 asks for no more.",
)
mistake(
    NET,
    "factor",
    "1 + 1e-15",
    change=lambda d: d * (1.0 + 1e-15),
    invisible="The factor changes the last bits alone: every value of f is rounded more than that.",
)
mistake(
    MANY[0],
    "one entry",
    "one of a thousand, by 1e-13 of the rms",
    change=lambda d: d + ops.norm(d.detach()) * at_one_entry(1e-13 / d.size**0.5, d, 0.0),
    invisible="Differences of values in float64 know a derivative to about 1e-12 at best.",
)
mistake(
    case("tanh of 3 x 4, wrong elsewhere", ops.tanh, normal(3, 4)),
    "one shape",
    "odd sizes, checked at an even one",
    change=lambda d: d * 2.0 if d.shape[1] % 2 else d,
    invisible="The check calls the function at the shape that it is given; there, it is right.",
)
mistake(
    case("affine of a batch of two", ops.affine, normal(2, 4), normal(4, 3), normal(3)),
    "one shape",
    "a batch of one, checked with a batch of two",
    change=lambda d: d * 2.0 if d.shape[0] == 1 else d,
    of=[0],
    invisible="The check calls the function with the batch that it is given; there, it is right.",
)
mistake(
    case("softplus of small numbers", ops.softplus, positive(3, 4)),
    "formula",
    "wrong where x > 30, checked where x < 2",
    lambda g, x: g * ops.sigmoid(x) * constant(np.where(x.data > 30, 0.0, 1.0), x),
    invisible="The derivative is right near the inputs of the check: it says nothing about others.",
)
mistake(
    case("exp in float32", ops.exp, normal(3, 4)),
    "float32",
    "1 + 1e-8, in float32 alone",
    change=lambda d: d * (1.0 + 1e-8 * (d.dtype == np.float32)),
    dtype="float32",
    invisible="In float32, 1 + 1e-8 is 1: the numbers are the same bits.",
)
