"""Functions of losses, each in one launch; a mean takes another."""

from .. import fast, loss
from .elementwise import elementwise_kernel

softplus = elementwise_kernel(
    "softplus", "T x", "T y", "y = (x > 0 ? x : T(0)) + log1p(exp(x > 0 ? -x : x));"
)

sigmoid = elementwise_kernel("sigmoid", "T x", "T y", "y = T(0.5) * tanh(T(0.5) * x) + T(0.5);")

fast(loss.softplus)(softplus)
fast(loss.sigmoid)(sigmoid)

_cross_entropy = elementwise_kernel(
    "cross_entropy",
    "T x, T target",
    "T y",
    "y = (x > 0 ? x : T(0)) + log1p(exp(x > 0 ? -x : x)) - target * x;",
)

_cross_entropy_gradient = elementwise_kernel(
    "cross_entropy_gradient",
    "T x, T target, T g, T n",
    "T d",
    "d = (T(0.5) * tanh(T(0.5) * x) + T(0.5) - target) * (g / n);",
)


@fast(loss.binary_cross_entropy)
def binary_cross_entropy(x, target):
    return _cross_entropy(x, target).mean(), (x, target)


@fast(loss.binary_cross_entropy_gradient)
def binary_cross_entropy_gradient(g, saved, needed):
    x, target = saved
    dx = _cross_entropy_gradient(x, target, g, x.size) if needed[0] else None
    return dx, -x * (g / x.size) if needed[1] else None
