"""Elementwise ops: f and f'. Arguments broadcast against each other, as in NumPy.

An op keeps what its derivatives name: arguments (a, b, x) or the result y.
"""

import numpy as np

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
    """a ** b, for a >= 0 or integer b. d/da is 0 where b = 0; d/db is set to 0 where a <= 0.

    For a Tensor b, d/da = b a^(b - 1) is inexact or infinite where a^(b - 1) is too small or large
    for the dtype, even if the product is not.
    """
    is_number = isinstance(b, (int, float, np.integer, np.floating))
    return _power_of_number(a, float(b)) if is_number else _power(a, b)


# A derivative has the exponent n - 1, which may have more digits than the dtype. The rounded
# exponent would be wrong by log(a) times the rounding error. So n and 1 are kept apart, as n and
# `minus`, and the result is corrected.


def _power_array(a, exponent, error):
    """a ** (exponent + error), where error is much smaller than exponent."""
    log_a = xp.log(xp.where((a == 0) | xp.isinf(a), 1, xp.abs(a)))  # 0 and infinity remain
    # The correction is larger only where the power is 0 or infinite.
    return xp.power(a, exponent) * (1 + xp.clip(error * log_a, -0.5, 0.5))


def _power_of_number(a, n, minus=0.0):
    error = loss.rounding_error(n, minus)
    if error == 0 or error != error:  # NaN, where n is infinite
        n, minus = n - minus, 0.0
    if n == 2 and not minus:
        return square(a)
    return sqrt(a) if n == 0.5 and not minus else _pow_number(a, n, minus)


@op(name="pow")
def _pow_number(x, /, n, minus):
    exponent = float(x.dtype.type(n - minus))
    error = (n - minus - exponent) + loss.rounding_error(n, minus)

    def d_x(g):
        if n == minus:
            return g * 0.0
        if n % 1 == 0:
            return g * ((n - minus) * _power_of_number(x, n, minus + 1))
        root = _power_of_number(x, n / 2, (minus + 1) / 2)  # its square may be out of range
        return g * ((n - minus) * root * root)

    if error == 0 or error != error:
        return xp.power(x.data, exponent), d_x
    return _power_array(x.data, exponent, error), d_x


@op(broadcasts=True, name="pow")
def _power(a, b, /, minus=0.0):
    exponent = b.data - minus
    error = loss.rounding_error(b.data, exponent.dtype.type(minus))

    def d_a(g):
        zero = (a.data == 0) & (exponent == 0)  # 0 * 0 ** -1 would be NaN
        return g * (b - minus) * _power(where(zero, 1.0, a), b, minus + 1)

    def d_b(g, y):
        positive = a.data > 0
        return g * mul_constant(y * log(where(positive, a, 1.0)), positive.astype(a.dtype))

    y = _power_array(a.data, exponent, error) if minus else xp.power(a.data, exponent)
    return y, d_a, d_b


@elementwise
def exp(x, /):
    """e ** x."""
    return xp.exp(x.data), lambda g, y: g * y


@elementwise
def log(x, /):
    """The natural logarithm."""
    return xp.log(x.data), lambda g: g / x


@elementwise
def sin(x, /):
    """The sine of x, in radians."""
    return xp.sin(x.data), lambda g: g * cos(x)


@elementwise
def cos(x, /):
    """The cosine of x, in radians."""
    return xp.cos(x.data), lambda g: -g * sin(x)


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
    return xp.tanh(x.data), lambda g: g * sech_squared(x)


@elementwise
def sech_squared(x, /):
    """1 / cosh(x)^2, the derivative of tanh; 1 - tanh(x)^2 would lose its small values."""
    return loss.sech_squared(x.data), lambda g, y: g * (-2.0 * y * tanh(x))


@elementwise
def sigmoid(x, /):
    """1 / (1 + exp(-x))."""
    return loss.sigmoid(x.data), lambda g: g * (0.25 * sech_squared(0.5 * x))


@elementwise
def softplus(x, /):
    """log(1 + exp(x)), without overflow."""
    return loss.softplus(x.data), lambda g: g * sigmoid(x)


@composite_op(2)
def softplus_of_difference(a, b):
    """softplus(a - b), corrected for the rounding error of a - b, which at a - b = -80 in
    float32 would change the result by a factor of 1 + 4e-6."""
    difference = a - b
    error = xp.fmax(loss.rounding_error(a.data, b.data), -1)  # NaN where a - b is infinite
    return softplus(difference) + mul_constant(sigmoid(difference), error)


@elementwise
def silu(x, /):
    """x * sigmoid(x), also called swish."""
    return loss.silu(x.data), lambda g: g * (sigmoid(x) + _silu_slope(x))


@op
def _silu_slope(x, /):  # x * (the derivative of sigmoid)
    d_x = lambda y: 0.25 * sech_squared(0.5 * x) - y * tanh(0.5 * x)
    return loss.silu_slope(x.data), lambda g, y: g * d_x(y)


@elementwise
def gelu(x, /):
    """x * Phi(x), where Phi(x) is the probability that a standard normal number is less than x
    (Hendrycks and Gimpel 2016): the exact function, not its approximation by tanh."""
    return act.normal_cdf(x.data, 1), lambda g: g * (normal_cdf(x) + _normal_density(x, 1))


@elementwise
def normal_cdf(x, /):
    """Phi(x): the probability that a standard normal number is less than x. It turns normal numbers
    into numbers that are uniform in (0, 1)."""
    return act.normal_cdf(x.data, 0), lambda g: g * _normal_density(x, 0)


@op
def _normal_density(x, /, k):  # x^k times the density; x times the density itself is -its slope
    def d_x(g):
        slope = -_normal_density(x, k + 1)
        return g * (slope + float(k) * _normal_density(x, k - 1) if k else slope)

    return act.normal_density(x.data, k), d_x


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
    """x limited to [low, high], numbers or None. The derivative is 1 in [low, high], 0 outside.

    See `where` for the NaN that an infinite derivative of x leads to outside.
    """
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
    """The larger of a and b; at a tie, each gets half of the gradient. See `where` for NaN."""

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
    """a where `condition`, a boolean array, is True, else b.

    The argument that is not chosen has the gradient 0. But if it is infinite or NaN, so is the
    derivative of the op that computed it, and 0 * infinity is NaN. So choose a safe argument, not
    only a safe result: where(x > 0, log(where(x > 0, x, 1.0)), 0.0) instead of
    where(x > 0, log(x), 0.0). The same holds for `maximum`, `minimum` and `clip`.
    """
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
