"""Elementwise ops: f and f'. Arguments broadcast against each other, as in NumPy.

What each keeps for its derivative is what its lambdas name: x and b are arguments, y is the result.
"""

from tinygan.autograd import Tensor, described, op
from tinygan.backend import asarray, xp
from tinygan.kernels import act, loss

from .composite import composite_op
from .fused import fused

elementwise = op(broadcasts=True)


@elementwise
def add(a, b, /):
    """a + b."""
    return a.data + b.data, lambda g: g, lambda g: g


@elementwise
def sub(a, b, /):
    """a - b."""
    return a.data - b.data, lambda g: g, lambda g: -g


@elementwise
def mul(a, b, /):
    """a * b."""
    return a.data * b.data, lambda g: g * b, lambda g: g * a


@elementwise
def div(a, b, /):
    """a / b."""
    return a.data / b.data, lambda g: g / b, lambda g, y: -g * y / b


@elementwise
def neg(x, /):
    """-x."""
    return -x.data, lambda g: -g


def pow(a, b):
    """a ** b, for a >= 0 or whole b. d/da is 0 where b = 0; d/db is taken as 0 where a <= 0."""
    if not isinstance(b, (int, float)):
        return _pow(a, b)
    if b == 2:
        return square(a)
    return sqrt(a) if b == 0.5 else _power(a, float(b))


@op(name="pow")
def _power(x, /, exponent):
    return xp.power(
        x.data, exponent
    ), lambda g: g * (exponent * pow(x, exponent - 1)) if exponent else g * 0.0


@op(broadcasts=True, name="pow")
def _pow(a, b, /):
    def d_base(g):
        lower = where((a.data == 0) & (b.data == 0), 0.0, b - 1.0)  # 0 * 0 ** -1 would be NaN
        return g * b * _pow(a, lower)

    def d_exponent(g, y):
        positive = a.data > 0
        return g * mul_constant(y * log(where(positive, a, 1.0)), positive.astype(a.dtype))

    return xp.power(a.data, b.data), d_base, d_exponent


@elementwise
def exp(x, /):
    """e ** x."""
    return xp.exp(x.data), lambda g, y: g * y


@elementwise
def log(x, /):
    """Natural logarithm."""
    return xp.log(x.data), lambda g: g / x


@elementwise
def sqrt(x, /):
    """Square root. The derivative at 0 is infinite; for the length of a vector use `norm`."""
    return xp.sqrt(x.data), lambda g, y: g * 0.5 / y


@elementwise
def square(x, /):
    """x * x."""
    return xp.square(x.data), lambda g: g * (2.0 * x)


@elementwise
def tanh(x, /):
    """Hyperbolic tangent."""
    return xp.tanh(x.data), lambda g, y: g * (1.0 - y * y)


@elementwise
def sigmoid(x, /):
    """1 / (1 + exp(-x))."""
    return loss.sigmoid(x.data), lambda g, y: g * (y * (1.0 - y))


@elementwise
def softplus(x, /):
    """log(1 + exp(x)), without overflow."""
    return loss.softplus(x.data), lambda g: g * sigmoid(x)


@composite_op(1)
def silu(x):
    """x * sigmoid(x), also called swish."""
    return x * sigmoid(x)


# Piecewise linear functions: the slope is constant on each piece, so the gradient is multiplied by a
# constant, which is linear in g. A second derivative (R1, gradient penalty) then costs one
# multiplication.


@op
def mul_constant(x, /, constant):
    """x * constant, where `constant`, an array of x's shape, receives no gradient."""
    y = x.data * constant
    if y.shape != x.shape:
        raise ValueError(f"mul_constant: {described(constant)} does not fit {described(x)}")
    return y, lambda g: mul_constant(g, constant)


@elementwise
def relu(x, /):
    """max(x, 0); the derivative at 0 is 0."""
    return act.leaky_relu(x.data, 0.0), lambda g, y: leaky_relu_gradient(g, y.data, 0.0, 1.0)


@elementwise
def leaky_relu(x, /, slope=0.2, gain=1.0):
    """gain * x where x > 0, else gain * slope * x, with 0 <= slope <= 1 and gain > 0.

    The derivative at 0 is gain * slope. Raises ValueError for another slope or gain.
    """
    if not 0 <= slope <= 1 or not gain > 0:
        raise ValueError(
            f"leaky_relu: slope must lie in [0, 1], not {slope}, and gain above 0, not {gain}"
        )
    slope, gain = float(slope), float(gain)  # a NumPy scalar would turn float32 into float64
    return act.leaky_relu(x.data, slope, gain), lambda g, y: leaky_relu_gradient(
        g, y.data, slope, gain
    )


@op
def leaky_relu_gradient(x, /, y, slope, gain):
    """x times the derivative of leaky_relu, told from its result, the array y, which counts as a constant."""
    return act.leaky_relu_gradient(x.data, y, slope, gain), lambda g: leaky_relu_gradient(
        g, y, slope, gain
    )


@fused(act.bias_act, act.bias_act_gradient)
def _bias_act(x, bias, /, slope, gain):
    return leaky_relu(x if bias is None else x + bias, slope, gain)


@composite_op(1)
def bias_act(x, bias=None, slope=0.2, gain=1.0):
    """leaky_relu(x + bias, slope, gain) in one pass; x (..., C), bias (C,). slope 1: the bias and gain alone."""
    if (
        not 0 <= slope <= 1
        or not gain > 0
        or bias is not None
        and getattr(bias, "shape", None) != x.shape[-1:]
    ):
        raise ValueError(
            f"bias_act: slope must lie in [0, 1], not {slope}, gain above 0, not {gain}, and bias have "
            f"shape {x.shape[-1:]}, not {described(bias)}"
        )
    return _bias_act(x, bias, float(slope), float(gain))


@elementwise
def abs(x, /):
    """|x|; the derivative at 0 is 0."""
    return xp.abs(x.data), lambda g: mul_constant(g, xp.sign(x.data))


@elementwise
def clip(x, /, low=None, high=None):
    """x held between `low` and `high` (numbers or None); the derivative is 1 at the ends, 0 outside."""

    low, high = (None if end is None else float(end) for end in (low, high))

    def d_x(g):
        inside = xp.ones(x.shape, bool)
        if low is not None:
            inside &= x.data >= low
        if high is not None:
            inside &= x.data <= high
        return mul_constant(g, inside.astype(x.dtype))

    return xp.clip(x.data, low, high), d_x


@elementwise
def maximum(a, b, /):
    """The larger of a and b; at a tie each gets half of the gradient."""

    def share(mine, other):  # of the gradient: 1 for the larger, half at a tie
        return ((mine > other) + 0.5 * (mine == other)).astype(mine.dtype)

    return (
        xp.maximum(a.data, b.data),
        (lambda g: mul_constant(g, share(a.data, b.data))),
        (lambda g: mul_constant(g, share(b.data, a.data))),
    )


@composite_op(2)
def minimum(a, b):
    """The smaller of a and b; at a tie each gets half of the gradient."""
    return -maximum(-a, -b)


def where(condition, a, b):
    """a where `condition` (a boolean array) holds, else b."""
    return _where(
        a, b, asarray(condition.data if isinstance(condition, Tensor) else condition).astype(bool)
    )


@op(broadcasts=True, name="where")
def _where(a, b, /, condition):
    dtype = a.dtype
    return (
        xp.where(condition, a.data, b.data),
        (lambda g: mul_constant(g, condition.astype(dtype))),
        (lambda g: mul_constant(g, (~condition).astype(dtype))),
    )
