"""Functions of losses, each in one launch; a mean takes another."""

from .. import fast, loss
from .elementwise import elementwise_kernel

softplus = elementwise_kernel(
    "softplus", "T x", "T y", "y = (x > 0 ? x : T(0)) + log1p(exp(x > 0 ? -x : x));"
)

sigmoid = elementwise_kernel(
    "sigmoid", "T x", "T y", "T e = exp(x > 0 ? -x : x); y = (x < 0 ? e : T(1)) / (T(1) + e);"
)

sech_squared = elementwise_kernel(
    "sech_squared",
    "T x",
    "T y",
    "T e = exp(T(-2) * (x > 1000 || x < -1000 ? T(1000) : x > 0 ? x : -x));"
    "y = T(4) * e / ((T(1) + e) * (T(1) + e));",
)

fast(loss.softplus)(softplus)
fast(loss.sigmoid)(sigmoid)
fast(loss.sech_squared)(sech_squared)

_cross_entropy = elementwise_kernel(
    "cross_entropy",
    "T x, T target",
    "T y",
    "y = (x > 0 ? (T(1) - target) * x : -target * x) + log1p(exp(x > 0 ? -x : x));",
)

_cross_entropy_gradient = elementwise_kernel(
    "cross_entropy_gradient",
    "T x, T target, T g, T n",
    "T d",
    "T e = exp(x > 0 ? -x : x);"
    "d = ((T(1) - target) * (x < 0 ? e : T(1)) - target * (x > 0 ? e : T(1))) / (T(1) + e)"
    "    * (g / n);",
)


@fast(loss.binary_cross_entropy)
def binary_cross_entropy(x, target):
    return _cross_entropy(x, target).mean(), (x, target)


@fast(loss.binary_cross_entropy_gradient)
def binary_cross_entropy_gradient(g, saved, needed):
    x, target = saved
    dx = _cross_entropy_gradient(x, target, g, x.size) if needed[0] else None
    return dx, -x * (g / x.size) if needed[1] else None
