"""Activations, each in one launch."""

from .. import act, fast
from .elementwise import elementwise_kernel

_leaky_relu = elementwise_kernel(
    "leaky_relu",
    "T x, T bias, T slope, T gain",
    "T y",
    """
    T a = x + bias;
    y = a > 0 ? gain * a : gain * slope * a;""",
)

_leaky_relu_gradient = elementwise_kernel(
    "leaky_relu_gradient",
    "T g, T y, T slope, T gain",
    "T d",
    "d = y > 0 ? gain * g : gain * slope * g;",
)


@fast(act.leaky_relu)
def leaky_relu(x, slope, gain=1.0, bias=None):
    return _leaky_relu(x, 0.0 if bias is None else bias, slope, gain)


@fast(act.leaky_relu_gradient)
def leaky_relu_gradient(g, y, slope, gain=1.0):
    return _leaky_relu_gradient(g, y, slope, gain)
