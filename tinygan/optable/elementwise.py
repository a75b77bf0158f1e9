"""The op table's rows of elementwise ops; ops of two arguments are tested with broadcasting."""

import numpy as np

from tinygan import ops
from tinygan.backend import asarray

from .oracles import scipy
from .table import distinct, normal, positive, row

MASK = np.arange(12).reshape(3, 4) % 3 == 0

row(ops.add, np.add, normal(3, 4), normal(4), linear=True, keeps="")
row(ops.sub, np.subtract, normal(3, 1), normal(4), linear=True, keeps="")
row(ops.mul, np.multiply, normal(3, 4), normal(3, 1), linear=True, keeps="ab")
row(ops.div, np.divide, normal(2, 3, 4), positive(3, 1), keeps="by")
row(ops.neg, np.negative, normal(3, 4), linear=True, keeps="")
row(ops.pow, lambda a, b: np.exp(b * np.log(a)), positive(3, 4), normal(4), keeps="aby")
row(
    ops.pow,
    lambda x, n: x * x * x,
    normal(3, 4),
    note="integer exponent",
    call=lambda f, x: f(x, 3),
    keeps="a",
)
row(ops.exp, np.exp, normal(3, 4), keeps="y")
row(ops.log, np.log, positive(3, 4), keeps="a")
row(ops.sin, np.sin, normal(3, 4), keeps="a")
row(ops.cos, np.cos, normal(3, 4), keeps="a")
row(ops.sqrt, np.sqrt, positive(3, 4), keeps="y")
row(ops.abs, np.abs, distinct(3, 4), keeps="a")
row(ops.square, np.square, normal(3, 4), keeps="a")
row(ops.maximum, np.maximum, distinct(3, 4), distinct(4, offset=0.05), keeps="ab")
row(ops.minimum, np.minimum, distinct(3, 4), distinct(4, offset=0.05))
row(
    ops.clip, np.clip, distinct(3, 4), note="low high", call=lambda f, x: f(x, -0.4, 0.6), keeps="a"
)
row(ops.clip, np.clip, distinct(3, 4), note="high", call=lambda f, x: f(x, None, 0.6), keeps="a")
row(
    ops.where,
    np.where,
    normal(3, 4),
    normal(4),
    call=lambda f, a, b: f(MASK, a, b),
    linear=True,
    keeps="",
)
row(ops.tanh, np.tanh, normal(3, 4), keeps="a")
row(ops.sech_squared, lambda x: 1 / np.cosh(x) ** 2, normal(3, 4), keeps="ay")
row(ops.sigmoid, scipy("special.expit"), normal(3, 4), keeps="a")
row(ops.softplus, lambda x: np.logaddexp(0, x), normal(3, 4), keeps="a")
row(ops.softplus_of_difference, lambda a, b: np.logaddexp(0, a - b), normal(3, 4), normal(4))
row(ops.relu, lambda x: np.maximum(x, 0), distinct(3, 4), keeps="y")
row(
    ops.leaky_relu,
    lambda x, slope: np.where(x > 0, x, slope * x),
    distinct(3, 4),
    slope=0.1,
    keeps="y",
)
row(
    ops.leaky_relu,
    lambda x, slope, gain: gain * np.where(x > 0, x, slope * x),
    distinct(3, 4),
    slope=0.3,
    gain=1.5,
    keeps="y",
)
row(
    lambda x: ops.leaky_relu_gradient(x, asarray(MASK - 0.5, x.dtype), 0.2, 1.5),
    lambda x: np.where(MASK, 1.5, 0.3) * x,
    normal(3, 4),
    name="leaky_relu_gradient",
    linear=True,
    keeps="",
)
row(
    ops.bias_act,
    lambda x, b, slope, gain: gain * np.where(x + b > 0, x + b, slope * (x + b)),
    distinct(2, 3, 4),
    distinct(4, offset=0.05),
    slope=0.2,
    gain=1.5,
    keeps="aby",
)
row(
    ops.bias_act,
    lambda x: np.where(x > 0, x, 0.2 * x),
    distinct(2, 3, 4),
    note="no bias",
    keeps="ay",
)
row(ops.silu, lambda x: x * scipy("special.expit")(x), normal(3, 4), keeps="a")
row(ops.normal_cdf, scipy("special.ndtr"), normal(3, 4), keeps="a")
row(ops.gelu, lambda x: x * scipy("special.ndtr")(x), normal(3, 4), keeps="a")
row(
    lambda x: ops.mul_constant(x, asarray(MASK, x.dtype)),
    lambda x: MASK * x,
    normal(3, 4),
    name="mul_constant",
    linear=True,
    keeps="",
)
