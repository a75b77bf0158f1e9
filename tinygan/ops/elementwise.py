"""Elementwise ops: f and f'. Arguments broadcast against each other, as in NumPy.

An op keeps what its derivatives name: arguments (a, b, x) or the result y.
"""

from tinygan.autograd import Array, Tensor, TensorLike, described, op
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


def pow(a: TensorLike, b: TensorLike) -> Tensor:
    """a ** b, for a >= 0 or integer b. d/da is 0 where b = 0; d/db is set to 0 where a <= 0."""
    if not isinstance(b, (int, float)):
        return _pow_tensor(a, b)
    if b == 2:
        return square(a)
    return sqrt(a) if b == 0.5 else _pow_number(a, float(b))


@op(name="pow")
def _pow_number(x, /, n):
    return xp.power(x.data, n), lambda g: g * (n * pow(x, n - 1)) if n else g * 0.0


@op(broadcasts=True, name="pow")
def _pow_tensor(a, b, /):
    def d_a(g):
        exponent = where((a.data == 0) & (b.data == 0), 0.0, b - 1.0)  # 0 * 0 ** -1 would be NaN
        return g * b * _pow_tensor(a, exponent)

    def d_b(g, y):
        positive = a.data > 0
        return g * mul_constant(y * log(where(positive, a, 1.0)), positive.astype(a.dtype))

    return xp.power(a.data, b.data), d_a, d_b


@elementwise
def exp(x, /):
    """e ** x."""
    return xp.exp(x.data), lambda g, y: g * y


@elementwise
def log(x, /):
    """The natural logarithm."""
    return xp.log(x.data), lambda g: g / x


@elementwise
def sqrt(x, /):
    """The square root. Its derivative at 0 is infinite; for the length of a vector, use `norm`."""
    return xp.sqrt(x.data), lambda g, y: g * 0.5 / y


@elementwise
def square(x, /):
    """x * x."""
    return xp.square(x.data), lambda g: g * (2.0 * x)


@elementwise
def tanh(x, /):
    """The hyperbolic tangent."""
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


# Piecewise linear functions. The derivative is constant on each piece, so the gradient is g times a
# constant, which is linear in g. A second derivative (R1, gradient penalty) then costs one
# multiplication.


@op
def mul_constant(x, /, constant):
    """x * constant. `constant` is an array of x's shape and gets no gradient."""
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

    The derivative at 0 is gain * slope. Raises ValueError for a slope or gain out of range.
    """
    if not 0 <= slope <= 1 or not gain > 0:
        raise ValueError(
            f"leaky_relu: slope must lie in [0, 1], not {slope}, and gain be above 0, not {gain}"
        )
    slope, gain = float(slope), float(gain)  # a NumPy scalar would turn float32 into float64
    return (
        act.leaky_relu(x.data, slope, gain),
        lambda g, y: leaky_relu_gradient(g, y.data, slope, gain),
    )


@op
def leaky_relu_gradient(g, /, y, slope, gain):
    """g times the derivative of leaky_relu at the point where its result is the array y, a
    constant."""
    return (
        act.leaky_relu_gradient(g.data, y, slope, gain),
        lambda h: leaky_relu_gradient(h, y, slope, gain),
    )


@fused(act.bias_act, act.bias_act_gradient)
def _bias_act(x, bias, /, slope, gain):
    return leaky_relu(x if bias is None else x + bias, slope, gain)


@composite_op(1)
def bias_act(x, bias=None, slope=0.2, gain=1.0):
    """leaky_relu(x + bias, slope, gain) in one pass: x (..., C), bias (C,).

    With slope 1, only the bias and the gain apply. Raises ValueError for a slope, gain or bias that
    does not fit.
    """
    bias_fits = bias is None or getattr(bias, "shape", None) == x.shape[-1:]
    if not 0 <= slope <= 1 or not gain > 0 or not bias_fits:
        raise ValueError(
            f"bias_act: slope must lie in [0, 1], not {slope}, gain be above 0, not {gain}, and "
            f"bias have shape {x.shape[-1:]}, not {described(bias)}"
        )
    return _bias_act(x, bias, float(slope), float(gain))


@elementwise
def abs(x, /):
    """|x|; the derivative at 0 is 0."""
    return xp.abs(x.data), lambda g: mul_constant(g, xp.sign(x.data))


@elementwise
def clip(x, /, low=None, high=None):
    """x limited to [low, high], numbers or None. The derivative is 1 in [low, high], 0 outside."""
    low, high = (None if bound is None else float(bound) for bound in (low, high))

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
    """The larger of a and b; at a tie, each gets half of the gradient."""

    def share(a, b):  # of a in the gradient: 1 where a is larger, 1/2 at a tie
        return ((a > b) + 0.5 * (a == b)).astype(a.dtype)

    return (
        xp.maximum(a.data, b.data),
        lambda g: mul_constant(g, share(a.data, b.data)),
        lambda g: mul_constant(g, share(b.data, a.data)),
    )


@composite_op(2)
def minimum(a, b):
    """The smaller of a and b; at a tie, each gets half of the gradient."""
    return -maximum(-a, -b)


def where(condition: Array, a: TensorLike, b: TensorLike) -> Tensor:
    """a where `condition`, a boolean array, is True, else b."""
    condition = asarray(condition.data if isinstance(condition, Tensor) else condition)
    return _where(a, b, condition.astype(bool))


@op(broadcasts=True, name="where")
def _where(a, b, /, condition):
    dtype = a.dtype  # the lambdas would keep a itself alive
    return (
        xp.where(condition, a.data, b.data),
        lambda g: mul_constant(g, condition.astype(dtype)),
        lambda g: mul_constant(g, (~condition).astype(dtype)),
    )
