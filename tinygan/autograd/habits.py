"""What a person writes from habit, NumPy's or PyTorch's: it works, or the error says what to write.

NumPy's functions work on Tensors that are constants, and return arrays. On a Tensor that requires a
gradient they would cut its graph, so they are refused. Operators of arrays and Tensors are ops.
"""

import inspect
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from tinygan import backend

from .checks import accepts, described, described_call
from .names import (  # noqa: F401 (for the packages that they belong to)
    DATA,
    INIT,
    MODULE,
    NN,
    NUMPY,
    OF_ONE,
    OPS,
    OPTIM,
    OPTIMIZER,
    SAME_NAME,
    TENSOR,
    TINYGAN,
    WITHOUT_GRADIENT,
)
from .tensor import Parameter, Tensor

# ---- names that do not exist: names.py says what to write instead ----


class Missing:
    """A name that a class does not have: to read it raises an AttributeError with advice.

    (A __getattr__ would slow down every access to an attribute.)
    """

    def __init__(self, name: str, advice: str) -> None:
        self.name, self.advice = name, advice

    def __get__(self, owner: Any, kind: type) -> Any:
        what = f"'{kind.__name__}' object" if owner is not None else f"class '{kind.__name__}'"
        raise AttributeError(f"{what} has no attribute '{self.name}': {self.advice}")


def advise(kind: type, instead: Mapping[str, str]) -> None:
    """Let the names of `instead`, which objects of a class do not have, say what to write."""
    for name, advice in instead.items():
        setattr(kind, name, Missing(name, advice))


advise(Tensor, TENSOR)


def of_package(module_name: str, instead: Mapping[str, str]) -> Any:
    """Return a __getattr__ for a package: it raises the errors for names that do not exist."""

    def __getattr__(name):
        advice = f": {instead[name]}" if name in instead else ""
        raise AttributeError(f"module '{module_name}' has no attribute '{name}'{advice}")

    return __getattr__


def explain_constructors(base: Any) -> None:
    """Let a class and those derived from it say what they take, if they are given something else.

    (Python's own message, "unexpected keyword argument", does not.)
    """

    def __new__(cls, *args, **settings):
        init = _no_arguments if cls.__init__ is object.__init__ else cls.__init__
        if (args or settings) and not accepts(init, (None, *args), settings):
            parameters = [*inspect.signature(init).parameters.values()][1:]
            takes = inspect.Signature([_in_short(p) for p in parameters])
            got = described_call(args, settings)
            raise TypeError(f"{cls.__name__} takes {takes}, got ({got})".replace("Ellipsis", "..."))
        return object.__new__(cls)

    base.__new__ = __new__


def _no_arguments(self):
    pass


def _in_short(parameter):
    """Return a parameter without its type, and with ... for a default that is no number."""
    plain = isinstance(parameter.default, (int, float, str, type(None), type))
    default = parameter.default if plain else ...
    return parameter.replace(annotation=parameter.empty, default=default)


def check_attribute(module: Any, name: str, value: Any) -> None:
    """Raise TypeError if `module.name = value` would be without effect, or put something that is
    not trained in the place of a Parameter."""
    title = f"{type(module).__name__}.{name}"
    if name == "requires_grad":
        raise TypeError(
            f"{title} would have no effect: write requires_grad_({value}), which sets it for all "
            "Parameters"
        )
    is_parameter = value is None or isinstance(value, Parameter)
    if not is_parameter and isinstance(vars(module).get(name), Parameter):
        raise TypeError(
            f"{title} is a Parameter, and {described(value)} would not be trained: write "
            ".assign(array), or set another Parameter"
        )


def instead_of_layer(layer: Any) -> str:
    """Return what to write instead of something that is no layer, for a message; or ""."""
    if isinstance(layer, type):
        return ": write it with parentheses"
    if isinstance(layer, Mapping):
        return ": write Sequential(*layers.values())"
    if layer is None:
        return ": leave it out"
    is_data = isinstance(layer, (str, Tensor)) or hasattr(layer, "dtype")
    return "" if is_data or not hasattr(layer, "__iter__") else ": write Sequential(*layers)"


OPTIMIZER_SETTINGS = {"lr", "betas", "momentum", "alpha", "eps", "weight_decay"}


def optimizer_setting(optimizer: Any, name: str, value: Any) -> Any:
    """Return the value of an attribute of an optimiser, as a float if it is one of the usual
    settings, or for betas, as a pair of floats. Raises ValueError for a value that is none, or with
    which no optimiser could work."""
    if name not in OPTIMIZER_SETTINGS:
        return value
    title = f"{type(optimizer).__name__}: {name}"
    if isinstance(value, str) and callable(value):
        raise ValueError(
            f"{title} is a schedule: write optimizer.{name} = rate(step, steps) before each step"
        )
    expected = (
        "two numbers, each at least 0 and below 1" if name == "betas" else "a number, 0 or more"
    )
    try:
        numbers = [float(number) for number in (value if name == "betas" else [value])]
        valid = all(0 <= number < math.inf for number in numbers)
        valid &= name != "betas" or len(numbers) == 2 and max(numbers) < 1
    except (TypeError, ValueError):
        valid = False
    if not valid:
        raise ValueError(f"{title} is {described(value)}: it must be {expected}")
    return tuple(numbers) if name == "betas" else numbers[0]


# ---- numbers ----


def _format(self, spec):
    """f"{loss:.4f}": a Tensor with one element is formatted as a number."""
    if not spec:
        return str(self)
    if self.size != 1:
        raise TypeError(
            f"a Tensor of shape {self.shape} is not one number, which {spec!r} could format: reduce"
            " it, as in x.mean(), or format its array, x.detach().numpy()"
        )
    try:
        return format(self.item(), spec)
    except ValueError as error:
        raise ValueError(
            f"{error}: a Tensor is formatted as a float; for other formats, write int(x) or str(x)"
        ) from None


def _round(self, digits=None):
    if self.size != 1:
        raise TypeError(
            f"round takes one number, not a Tensor of shape {self.shape}: "
            "write x.detach().numpy().round()"
        )
    return round(self.item(), digits)


def _contains(self, value):
    """Whether an element equals `value`, as in NumPy."""
    return bool((self == value).any())


class Size(int):
    """The number of elements of a Tensor, `x.size`. To call it is PyTorch's habit."""

    def __call__(self, *axis):
        raise TypeError(
            "x.size is the number of elements, as in NumPy: write x.shape, or x.shape[0]"
        )


def _tolist(self):
    """Return the values as a number of Python's, or as nested lists of them."""
    return backend.to_numpy(self.data).tolist()


def _requires_grad_(self, requires_grad=True):
    """Set requires_grad, and return the Tensor itself."""
    self.requires_grad = requires_grad
    return self


Tensor.__format__, Tensor.__round__, Tensor.__contains__ = _format, _round, _contains
Tensor.__trunc__ = Tensor.__int__
Tensor.size = property(lambda self: Size(self.data.size))
Tensor.tolist, Tensor.requires_grad_ = _tolist, _requires_grad_


# ---- NumPy's functions ----

# NumPy calls these for an operator between an array on the left and a Tensor on the right.
_REFLECTED = {
    **{"add": "__radd__", "subtract": "__rsub__", "multiply": "__rmul__", "divide": "__rtruediv__"},
    **{"power": "__rpow__", "matmul": "__rmatmul__", "less": "__gt__", "less_equal": "__ge__"},
    **{"greater": "__lt__", "greater_equal": "__le__", "equal": "__eq__", "not_equal": "__ne__"},
}


def refused(function: str) -> TypeError:
    """Return the error for a function of NumPy's, such as "linalg.norm", on a Tensor that requires
    a gradient."""
    advice = NUMPY.get(function)
    if function in OF_ONE:
        advice = f"ops.{function}(x) or x.{function}()"
    elif function in SAME_NAME:
        method = f" or x.{function}(...)" if hasattr(Tensor, function) else ""
        advice = f"ops.{function}(...){method}"
    return TypeError(
        f"np.{function} would cut the graph of a Tensor that requires a gradient: "
        + (f"write {advice}" if advice else "use a tinygan op")
        + ("" if advice and "detach" in advice else ", or .detach() the Tensor first")
    )


def _array_ufunc(self, ufunc, method, *inputs, **settings):
    name = ufunc.__name__ if method == "__call__" else f"{ufunc.__name__}.{method}"
    from_left = len(inputs) == 2 and not isinstance(inputs[0], Tensor)
    if from_left and not settings and name in _REFLECTED:
        return getattr(inputs[1], _REFLECTED[name])(inputs[0])
    return _on_arrays(getattr(ufunc, method), name, inputs, settings)


def _array_function(self, function, types, args, settings):
    package = function.__module__.partition("numpy.")[2]  # such as "linalg"
    return _on_arrays(function, f"{package}.{function.__name__}".strip("."), args, settings)


def _on_arrays(function, name, args, settings):
    """Return function(*args, **settings), with arrays in place of Tensors."""

    def array(x):
        if isinstance(x, Tensor):
            if x.requires_grad and name not in WITHOUT_GRADIENT:
                raise refused(name)
            return x.data
        if type(x) in (list, tuple):
            return type(x)(map(array, x))
        return x

    outs = settings.get("out")
    if any(isinstance(out, Tensor) for out in (outs if isinstance(outs, tuple) else [outs])):
        raise TypeError(f"np.{name}: a Tensor is immutable and cannot be `out`")
    return function(*map(array, args), **{key: array(x) for key, x in settings.items()})


def _follow_backend():
    """Let NumPy's functions take Tensors if these hold NumPy's arrays. Otherwise, an operator of an
    array must leave its work to the Tensor, for which None stands."""
    Tensor.__array_ufunc__ = _array_ufunc if backend.active() is np else None


Tensor.__array_function__ = _array_function
backend.on_change.append(_follow_backend)
_follow_backend()
