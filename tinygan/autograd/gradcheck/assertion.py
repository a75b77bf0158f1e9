"""assert_gradient: an assertion for tests, about a gradient that some code has computed."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygan.autograd.tensor import Tensor, tensor
from tinygan.backend import asarray, to_numpy
from tinygan.errors import InputError

from .plain import check_gradient
from .problem import argument_names
from .report import GradientError


def assert_gradient(
    actual: Any,
    f: Callable[..., Any],
    x: Any,
    *,
    names: Sequence[str] | None = None,
    mode: str = "random",
    seed: int = 0,
    rtol: float | None = None,
    atol: float | None = None,
    eps: float = 1e-4,
    miss: float = 1e-6,
) -> None:
    """Assert that `actual` is the gradient of `f` at `x`.

        loss.backward()
        assert_gradient(w.grad, loss_of, w)

    actual: an array or a Tensor of the shape of x. If f returns an array, it is the Jacobian, of
    the shape f.shape + x.shape. Several arguments: a tuple of them.
    f: a function that returns a number or an array. It is called with float64 arrays, or with
    float64 Tensors if x is a Tensor.
    x: the point: an array, a number or a Tensor; a tuple for several arguments.
    names, mode, seed, rtol, atol, eps, miss: see check_grads. A gradient of float32 or float16 may
    by default differ by the square root of its precision, relative to its root mean square.

    Raises GradientError, an AssertionError, if it is not. pytest then shows which entries differ.
    """
    if not callable(f):
        raise InputError(
            f"assert_gradient(actual, f, x): f must be a function, not {type(f).__name__}"
        )
    several = isinstance(x, (tuple, list)) and any(hasattr(part, "shape") for part in x)
    xs = list(x) if several else [x]
    claims = list(actual) if several and isinstance(actual, (tuple, list)) else [actual]
    title = getattr(f, "__name__", type(f).__name__)
    names = argument_names(names, f, len(xs))
    of_tensors = any(isinstance(part, Tensor) for part in xs)
    points = [np.array(_array(part), np.float64) for part in xs]
    gradients = [_array(claim) for claim in claims]
    if len(gradients) != len(points):
        raise GradientError(
            f"{title}: {len(points)} arguments, but {len(gradients)} gradients: give a tuple with "
            "one for each argument"
        )

    def values(*arrays: Any) -> Any:
        if of_tensors:
            arrays = tuple(tensor(asarray(a), dtype="float64") for a in arrays)
        return _array(f(*arrays))

    shape = np.shape(values(*points))
    for i, (point, gradient) in enumerate(zip(points, gradients)):
        if gradient.dtype == object:
            raise GradientError(
                f"{title}: the gradient of {names[i]} is {gradient!s:.60}, no array"
            )
        if gradient.shape != shape + point.shape:
            raise GradientError(
                f"{title}: the gradient of {names[i]} has shape {gradient.shape}, not "
                f"{shape + point.shape}"
            )
        allowed = atol
        if rtol is None and atol is None and gradient.dtype in ("float32", "float16"):
            size = math.sqrt(np.mean(np.square(gradient, dtype=np.float64)) if gradient.size else 0)
            allowed = math.sqrt(np.finfo(gradient.dtype).eps) * size

        def of_one(a: Any, i: int = i) -> Any:
            return values(*points[:i], a, *points[i + 1 :])

        of_one.__name__ = title
        check_gradient(
            of_one,
            np.asarray(gradient, np.float64),
            point,
            names=[names[i]],
            mode=mode,
            seed=seed,
            rtol=rtol,
            atol=allowed,
            eps=eps,
            miss=miss,
        )


def _array(value: Any) -> Any:
    return to_numpy(value.data if isinstance(value, Tensor) else value)
