"""Losses, each in one launch, and a mean."""

from .. import fast, loss
from .elementwise import elementwise

softplus = elementwise(
    "softplus", "T x", "T y", "y = (x > 0 ? x : T(0)) + log1p(exp(x > 0 ? -x : x));"
)

sigmoid = elementwise("sigmoid", "T x", "T y", "y = T(0.5) * tanh(T(0.5) * x) + T(0.5);")

fast(loss.softplus)(softplus)
fast(loss.sigmoid)(sigmoid)

_cross_entropy = elementwise(
    "cross_entropy",
    "T x, T target",
    "T y",
    "y = (x > 0 ? x : T(0)) + log1p(exp(x > 0 ? -x : x)) - target * x;",
)

_cross_entropy_slope = elementwise(
    "cross_entropy_slope",
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
    dx = _cross_entropy_slope(x, target, g, x.size) if needed[0] else None
    return dx, -x * (g / x.size) if needed[1] else None
