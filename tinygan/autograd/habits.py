"""What a person writes from habit, NumPy's or PyTorch's: it works, or the error says what to write.

NumPy's functions work on Tensors that are constants, and return arrays. On a Tensor that requires a
gradient they would cut its graph, so they are refused. Operators of arrays and Tensors are ops.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tinygan import backend

from .tensor import Tensor

# ---- names of PyTorch's and NumPy's that do not exist here: what to write instead ----

TENSOR = {
    **dict.fromkeys(
        ("cpu", "cuda", "to", "device"),
        "tinygan.use('cupy') computes on the GPU, and "
        "tinygan.use('numpy') on the CPU; x.astype('float64') converts the dtype",
    ),
    **dict.fromkeys(("float", "double", "half", "type"), "write x.astype('float32') or 'float64'"),
    "requires_grad_": "write x.requires_grad = True",
    "retain_grad": "write grad(loss, x), which also takes Tensors in the middle of a graph",
    "zero_grad": "grad(loss, x) returns a new gradient; after backward(), set x.grad = None",
    "zero_": "Tensors are immutable; after backward(), set x.grad = None",
    "grad_fn": "tinygan.trace() shows how x was computed",
    "is_leaf": "x.node.op is None for a leaf",
    "register_hook": "grad(loss, x) returns the gradient of any x",
    **dict.fromkeys(("view", "flatten", "ravel", "squeeze"), "write x.reshape(...)"),
    "unsqueeze": "write x[:, None] or x.reshape(...)",
    **dict.fromkeys(("permute", "swapaxes", "movedim"), "write x.transpose(0, 2, 1)"),
    "t": "write x.T",
    **dict.fromkeys(("expand", "expand_as", "repeat", "tile"), "write ops.broadcast_to(x, shape)"),
    **dict.fromkeys(
        ("clone", "copy", "contiguous"),
        "a Tensor is immutable and needs no copy; tinygan.tensor(x.data) is a new leaf",
    ),
    **dict.fromkeys(("mm", "bmm", "dot", "mv"), "write x @ y"),
    **dict.fromkeys(
        ("add", "sub", "mul", "div", "pow", "matmul"),
        "write x + y, x - y, x * y, x / y, x ** y or x @ y",
    ),
    "clamp": "write x.clip(low, high)",
    "std": "write x.var() ** 0.5 (which divides by n)",
    "dim": "write x.ndim",
    **dict.fromkeys(("numel", "nelement"), "write x.size"),
    **dict.fromkeys(
        (
            "argmax",
            "argmin",
            "sort",
            "argsort",
            "any",
            "all",
            "round",
            "tolist",
            "nonzero",
            "prod",
            "cumsum",
        ),
        "write it of the array, x.detach().numpy()",
    ),
    **dict.fromkeys(
        ("add_", "sub_", "mul_", "div_", "clamp_", "copy_", "fill_", "relu_", "exp_"),
        "a Tensor is immutable: write x = x + y, x = x.exp(), ...; a Parameter has w.assign(array)",
    ),
    "unfold": "write ops.conv2d or x[...] with slices",
    "gather": "write x[index]",
}
MODULE = {
    **dict.fromkeys(
        ("cpu", "cuda", "to"),
        "tinygan.use('cupy') before the network is made computes"
        " on the GPU; net.astype('float64') converts it",
    ),
    **dict.fromkeys(("float", "double", "half"), "write net.astype('float32') or 'float64'"),
    "zero_grad": "grad(loss, net.parameters()) returns new gradients: there is nothing to reset",
    "requires_grad_": "write: for p in net.parameters(): p.requires_grad = False",
    "named_modules": "write net.modules(), which gives (path, Module)",
    "named_children": "write net.children(), which gives (name, Module)",
    "register_buffer": "set self.NAME = array, and list NAME in the class's buffer_names",
    "register_parameter": "set self.NAME = Parameter(array)",
    **dict.fromkeys(("add_module", "register_module"), "set self.NAME = module"),
    "register_forward_hook": "use nn.feature_maps(net) or nn.hooks.forward_hooks",
    "apply": "write: for path, module in net.modules(): ...",
    "append": "write net.layers.append(layer)",
}
OPTIMIZER = {
    "zero_grad": "grad(loss, parameters) returns new gradients: there is nothing to reset",
    "param_groups": "set optimizer.lr; for other settings, make an optimiser for each group",
    "add_param_group": "make another optimiser for these Parameters",
}
OPTIM = {
    "lr_scheduler": "write optimizer.lr = rate(step), with a rate from tinygan.schedules",
    "clip_grad_norm_": "write optimizer.step(optim.clip_grad_norm(gradients, max_norm))",
}
NN = {
    **dict.fromkeys(("ModuleList", "ModuleDict"), "keep Modules in a list"),
    **dict.fromkeys(("Parameter", "ParameterList"), "write tinygan.Parameter(array)"),
    "functional": "write tinygan.ops",
    "Identity": "write lambda x: x, which is a layer too",
    **dict.fromkeys(("BatchNorm1d", "BatchNorm2d"), "write nn.BatchNorm(channels)"),
    "InstanceNorm2d": "write ops.instance_norm",
    "MaxPool2d": "write lambda x: ops.max_pool2d(x, 2)",
    "Upsample": "write ops.upsample_nearest",
    "Softmax": "write ops.softmax",
    "Unflatten": "write nn.Reshape(...)",
    **dict.fromkeys(("MSELoss", "L1Loss"), "write ops.mse_loss or ops.l1_loss"),
    **dict.fromkeys(("BCELoss", "BCEWithLogitsLoss"), "write ops.binary_cross_entropy_with_logits"),
    "CrossEntropyLoss": "write ops.cross_entropy(logits, labels)",
}
OPS = {
    "cat": "write ops.concatenate",
    **dict.fromkeys(("divide", "multiply", "subtract", "power"), "write x / y, x * y, ..."),
    "absolute": "write ops.abs",
    "binary_cross_entropy": "write ops.binary_cross_entropy_with_logits, which takes logits",
    "clamp": "write ops.clip",
    "interpolate": "write ops.upsample_nearest or ops.upsample_bilinear",
    **dict.fromkeys(("view", "flatten", "squeeze", "unsqueeze"), "write ops.reshape"),
    "permute": "write ops.transpose",
    "std": "write ops.var(x) ** 0.5",
    "dropout": "write nn.Dropout",
}
TINYGAN = {
    **dict.fromkeys(
        ("randn", "rand", "zeros", "ones", "arange", "full"),
        "write tinygan.tensor(...) of a NumPy array",
    ),
    "manual_seed": "pass rng=np.random.default_rng(seed) to what draws",
    **dict.fromkeys(("from_numpy", "as_tensor"), "write tinygan.tensor(array)"),
    **dict.fromkeys(
        ("save", "load"),
        "write np.savez(path, **net.state_dict()), and net.load_state_dict(np.load(path))",
    ),
    **dict.fromkeys(("cat", "stack", "matmul", "exp", "relu"), "tinygan.ops has the functions"),
    "backward": "write grad(loss, net.parameters()) or loss.backward()",
}


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
    return format(self.item(), spec)


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


Tensor.__format__, Tensor.__round__, Tensor.__contains__ = _format, _round, _contains


# ---- NumPy's functions ----

# NumPy calls these for an operator between an array on the left and a Tensor on the right.
_REFLECTED = {
    **{"add": "__radd__", "subtract": "__rsub__", "multiply": "__rmul__", "divide": "__rtruediv__"},
    **{"power": "__rpow__", "matmul": "__rmatmul__", "less": "__gt__", "less_equal": "__ge__"},
    **{"greater": "__lt__", "greater_equal": "__le__", "equal": "__eq__", "not_equal": "__ne__"},
}
_WITHOUT_GRADIENT = {
    *("less", "less_equal", "greater", "greater_equal", "equal", "not_equal"),
    *("isnan", "isinf", "isfinite", "shape", "ndim", "size", "shares_memory", "may_share_memory"),
}
# What to write for a function of NumPy's: an op of the same name, or something else.
OF_ONE = "exp log sqrt square tanh sum mean var max min".split()
SAME_NAME = (
    *("maximum", "minimum", "clip", "where", "reshape", "transpose", "flip", "roll", "pad"),
    *("broadcast_to", "concatenate", "stack", "einsum"),
)
NUMPY = {
    "add": "x + y",
    "subtract": "x - y",
    "multiply": "x * y",
    **dict.fromkeys(("divide", "true_divide"), "x / y"),
    **dict.fromkeys(("power", "float_power"), "x ** y"),
    "negative": "-x",
    "reciprocal": "1.0 / x",
    **dict.fromkeys(("matmul", "dot", "inner", "vdot"), "x @ y"),
    "tensordot": "ops.einsum(...)",
    **dict.fromkeys(("absolute", "fabs"), "ops.abs(x) or x.abs()"),
    "amax": "ops.max(x) or x.max()",
    "amin": "ops.min(x) or x.min()",
    "linalg.norm": "ops.norm(x) or x.norm()",
    "std": "x.var() ** 0.5",
    "logaddexp": "ops.softplus(y - x) + x",
    **dict.fromkeys(("ravel", "squeeze", "expand_dims"), "x.reshape(...)"),
    **dict.fromkeys(("swapaxes", "moveaxis", "permute_dims"), "x.transpose(...)"),
    **dict.fromkeys(("hstack", "vstack", "concat", "append"), "ops.concatenate([x, y], axis)"),
    **dict.fromkeys(("take", "compress"), "x[index]"),
    **dict.fromkeys(("repeat", "tile"), "ops.broadcast_to(x, shape)"),
    "average": "x.mean()",
    **dict.fromkeys(("array", "asarray", "copy", "asanyarray"), "x.detach().numpy()"),
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
            if x.requires_grad and name not in _WITHOUT_GRADIENT:
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
