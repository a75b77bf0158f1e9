"""Mistakes in the derivatives of elementwise ops, and in the sums of those that broadcast."""

import math

import numpy as np

from tinygan import ops
from tinygan.optable.table import distinct, normal

from .mechanism import ROWS, case, constant, mistake

# Ops of two arguments

mistake("add", "missing sum", "the mean over the rows", lambda g, a, b: (g, ops.mean(g, 0)))
mistake("add", "missing sum", "the first row alone", lambda g, a, b: (g, g[0]))
mistake("sub", "sign", "of b", lambda g, a, b: (None, ops.sum(g, 0)))
mistake("sub", "missing sum", "of a: the last column alone", lambda g, a, b: (g[:, -1:], None))
mistake(
    "mul",
    "missing sum",
    "of b: the mean over the columns",
    lambda g, a, b: (None, ops.mean(g * a, 1, keepdims=True)),
)
mistake(
    "mul",
    "second order",
    "a is a constant in the derivative of b",
    lambda g, a, b: (None, ops.sum(g * a.detach(), 1, keepdims=True)),
)
SAME_SHAPES = case("mul of equal shapes", ops.mul, normal(3, 4), normal(3, 4))
mistake(SAME_SHAPES, "arguments", "swapped", lambda g, a, b: (g * a, g * b))
mistake(
    SAME_SHAPES,
    "second order",
    "g is a constant in the derivative of b",
    lambda g, a, b: (None, g.detach() * a),
)
mistake(
    "div",
    "sign",
    "of b",
    lambda g, a, b: (None, ops.sum(g * a / (b * b), (0, 2), keepdims=True)[0]),
)
mistake(
    "div",
    "formula",
    "b instead of its square",
    lambda g, a, b: (None, -ops.sum(g * a / b, (0, 2), keepdims=True)[0]),
)
mistake(
    "div",
    "second order",
    "the quotient is a constant in the derivative of b",
    lambda g, a, b: (None, -ops.sum(g * (a / b).detach() / b, (0, 2), keepdims=True)[0]),
)
mistake("pow", "formula", "the exponent is not reduced", lambda g, a, b: (g * b * a**b, None))
mistake("pow", "dropped term", "the logarithm", lambda g, a, b: (None, ops.sum(g * a**b, 0)))
mistake(
    "pow",
    "second order",
    "a is a constant in its logarithm",
    lambda g, a, b: (None, ops.sum(g * a**b * ops.log(a.detach()), 0)),
)
mistake("pow integer exponent", "formula", "2 x^2 instead of 3 x^2", lambda g, x: g * 2.0 * x * x)
mistake("maximum", "arguments", "swapped", other=ops.minimum)
mistake("minimum", "arguments", "swapped", other=ops.maximum)
mistake("maximum", "formula", "both receive all of g", lambda g, a, b: (g, ops.sum(g, 0)))
mistake("where", "arguments", "swapped", other=lambda a, b: ROWS["where"].function(b, a))
mistake("where", "missing sum", "b receives its mean", change=lambda d: d / 3.0, of=[1])
mistake(
    "softplus_of_difference",
    "sign",
    "of b",
    lambda g, a, b: (None, ops.sum(g * ops.sigmoid(a - b), 0)),
)

# Formulas of one argument

for _row, _kind, _what, _derivative in [
    ("neg", "sign", "the minus is missing", lambda g, x: g),
    ("exp", "formula", "x instead of exp(x)", lambda g, x: g * x),
    ("exp", "second order", "the result is a constant", lambda g, x: g * ops.exp(x).detach()),
    ("log", "formula", "1 / x^2", lambda g, x: g / (x * x)),
    ("log", "second order", "x is a constant", lambda g, x: g / x.detach()),
    ("sin", "sign", "-cos", lambda g, x: -g * ops.cos(x)),
    ("cos", "sign", "the minus is missing", lambda g, x: g * ops.sin(x)),
    ("cos", "formula", "cos instead of sin", lambda g, x: -g * ops.cos(x)),
    ("sqrt", "formula", "1 / (2 x)", lambda g, x: g / (2.0 * x)),
    ("sqrt", "factor", "2: 1 / y", lambda g, x: g / ops.sqrt(x)),
    (
        "sqrt",
        "second order",
        "the result is a constant",
        lambda g, x: g * 0.5 / ops.sqrt(x).detach(),
    ),
    ("abs", "formula", "1 everywhere", lambda g, x: g),
    ("square", "factor", "2 is missing", lambda g, x: g * x),
    ("square", "second order", "x is a constant", lambda g, x: 2.0 * g * x.detach()),
    ("tanh", "formula", "1 - y", lambda g, x: g * (1.0 - ops.tanh(x))),
    ("tanh", "formula", "1 - x^2", lambda g, x: g * (1.0 - x * x)),
    (
        "tanh",
        "second order",
        "one y of y^2 is a constant",
        lambda g, x: g * (1.0 - ops.tanh(x) * ops.tanh(x).detach()),
    ),
    ("sech_squared", "dropped term", "tanh", lambda g, x: -2.0 * g * ops.sech_squared(x)),
    (
        "sech_squared",
        "second order",
        "tanh is a constant",
        lambda g, x: -2.0 * g * ops.sech_squared(x) * ops.tanh(x).detach(),
    ),
    ("sigmoid", "formula", "y", lambda g, x: g * ops.sigmoid(x)),
    ("sigmoid", "formula", "1 - y", lambda g, x: g * ops.sigmoid(-x)),
    ("sigmoid", "formula", "1 - y^2", lambda g, x: g * (1.0 - ops.sigmoid(x) ** 2)),
    ("softplus", "sign", "of x: sigmoid(-x)", lambda g, x: g * ops.sigmoid(-x)),
    ("softplus", "second order", "x is a constant", lambda g, x: g * ops.sigmoid(x.detach())),
    ("relu", "formula", "1 everywhere", lambda g, x: g),
    ("silu", "dropped term", "x y (1 - y)", lambda g, x: g * ops.sigmoid(x)),
    (
        "silu",
        "second order",
        "the sigmoid is a constant in one term",
        lambda g, x: g * (ops.sigmoid(x).detach() + x * ops.sigmoid(x) * ops.sigmoid(-x)),
    ),
    ("gelu", "dropped term", "the density", lambda g, x: g * ops.gelu(x) / x),
    (
        "normal_cdf",
        "factor",
        "the density without 1 / sqrt(2 pi)",
        lambda g, x: g * ops.exp(-0.5 * x * x),
    ),
]:
    mistake(_row, _kind, _what, _derivative)


def gelu_with_tanh(x):
    """The approximation of gelu by tanh."""
    return 0.5 * x * (1.0 + ops.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))


mistake("gelu", "formula", "of the approximation by tanh", other=gelu_with_tanh)

# Settings

mistake("clip low high", "settings", "high is forgotten", other=lambda x: ops.clip(x, -0.4, None))
mistake("clip high", "settings", "also clipped below", other=lambda x: ops.clip(x, -0.4, 0.6))
mistake("clip low high", "formula", "the gradient passes outside", lambda g, x: g)
mistake(
    "leaky_relu slope=0.1", "settings", "the default slope", other=lambda x: ops.leaky_relu(x, 0.2)
)
mistake(
    "leaky_relu slope=0.3 gain=1.5",
    "settings",
    "the gain is forgotten",
    other=lambda x: ops.leaky_relu(x, 0.3),
)
mistake(
    "leaky_relu slope=0.3 gain=1.5",
    "settings",
    "no gain on the slope",
    lambda g, x: g * constant(np.where(x.data > 0, 1.5, 0.3), x),
)
mistake(
    "leaky_relu_gradient",
    "arguments",
    "slope and 1 are swapped",
    lambda g, x: g * 1.8 - ROWS["leaky_relu_gradient"].function(g),
)
BIAS_ACT = "bias_act slope=0.2 gain=1.5"
mistake(BIAS_ACT, "bias", "its gradient is missing", lambda g, x, b: (None, 0.0 * b))
mistake(BIAS_ACT, "bias", "the mean over the pixels", change=lambda d: d / 6.0, of=[1])
mistake(
    BIAS_ACT, "settings", "the gain is forgotten", other=lambda x, b: ops.leaky_relu(x + b, 0.2)
)
mistake(BIAS_ACT, "factor", "the gain twice", change=lambda d: 1.5 * d)
mistake(
    BIAS_ACT,
    "dropped term",
    "the bias, in the sign",
    lambda g, x, b: (g * constant(np.where(x.data > 0, 1.5, 0.3), x), None),
)
mistake("bias_act no bias", "settings", "the slope is 0", other=ops.relu)
mistake(
    "mul_constant",
    "formula",
    "the mask is inverted",
    lambda g, x: g - ROWS["mul_constant"].function(g),
)

# Ops that broadcast over two axes

TWO_AXES = case("mul over two axes", ops.mul, normal(2, 3, 4), normal(3, 1))
mistake(
    TWO_AXES,
    "missing sum",
    "the sum over the first axis is a mean",
    lambda g, x, y: (None, ops.sum(ops.mean(g * x, 0), 1, keepdims=True)),
)
mistake(
    TWO_AXES,
    "missing sum",
    "the sum over the first axis is missing",
    lambda g, x, y: (None, ops.sum((g * x)[0], 1, keepdims=True)),
)
SQUARES = case("add of a row to a square", ops.add, normal(4, 4), normal(4))
mistake(SQUARES, "axis", "the sum over the wrong axis", lambda g, x, y: (None, ops.sum(g, 1)))
mistake(
    case("maximum of a row", ops.maximum, distinct(3, 4), distinct(4, offset=0.05)),
    "missing sum",
    "of b: the first row alone",
    lambda g, x, y: (None, (g * constant(x.data < y.data, x))[0]),
)
