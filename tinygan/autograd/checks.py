"""Checks of what the engine, the ops and the layers receive, and the messages of their errors.

Arguments that do not fit raise an error of one line that names the op or layer and the problem.
Messages are written only once something is wrong: correct calls pay nothing for them.
"""

import inspect
from types import FunctionType

from tinygan import backend
from tinygan.backend import asarray, scalar, xp

from .tensor import Parameter, Tensor, as_floating, wrap

ARGUMENT_ERRORS = TypeError, ValueError, IndexError, ZeroDivisionError, OverflowError

# The arguments of an op


def tensor_parameters(function):
    """Return the number of parameters before `/`, and whether there is a `*xs` instead.

    Raises TypeError if there is neither.
    """
    kinds = [p.kind for p in inspect.signature(function).parameters.values()]
    count = kinds.count(inspect.Parameter.POSITIONAL_ONLY)
    variadic = kinds[:1] == [inspect.Parameter.VAR_POSITIONAL]
    if not count and not variadic:
        raise TypeError(f"op {function.__name__}: put `/` after the parameters that are Tensors")
    return count, variadic


def as_tensors(name, xs, optional=False):
    """Return the arguments of op `name` as Tensors of one dtype.

    Numbers take the dtype of the Tensors and arrays beside them. optional: arguments may be None.
    Raises TypeError if dtypes differ, or if an argument is no number or array.
    """
    dtype, all_tensors = None, True
    for x in xs:
        if not isinstance(x, Tensor):
            all_tensors = False
        elif dtype is None:
            dtype = x.data.dtype
        elif x.data.dtype != dtype:
            raise TypeError(
                f"{name}: cannot mix Tensors of {dtype} and {x.data.dtype}; "
                "convert one with .astype(), or a model with Module.astype()"
            )
    if all_tensors:
        return xs
    if dtype is None:
        arrays = (x for x in xs if isinstance(x, xp.ndarray))
        dtype = next((x.dtype for x in arrays if x.dtype.char in "fd"), None)
    return [
        x if isinstance(x, Tensor) or x is None and optional else _as_tensor(name, x, dtype)
        for x in xs
    ]


def _as_tensor(name, x, dtype):
    """Return a copy of x, a number, list or array, as a Tensor that nobody else can change."""
    if isinstance(x, (int, float)):
        return wrap(scalar(x, dtype or "float32"))
    if getattr(x, "ndim", None) == 0 and x.dtype.kind in "fiub":
        array = asarray(x, dtype=dtype or "float32")
        return wrap(xp.array(array) if array is x else array)
    if not isinstance(x, (xp.ndarray, list, tuple)):
        kind = f"{type(x).__module__}.{type(x).__name__}; convert it with tinygan.tensor(...)"
        if isinstance(x, str):  # "loss: " + loss
            kind = f"the text {x[:30]!r}; write str(x) or x.item() to put a Tensor into a text"
        raise TypeError(
            f"{name}: expected a Tensor, a number or an array of the backend in use, "
            f"got {'None' if x is None else kind}"
        )
    if isinstance(x, xp.ndarray) and x.dtype != bool and x.dtype != (dtype or x.dtype):
        raise TypeError(
            f"{name}: cannot mix an array of {x.dtype} with a Tensor of {dtype}; "
            f"convert it with tinygan.tensor(array, dtype='{dtype}')"
        )
    try:
        return wrap(as_floating(x, dtype, copy=backend.tape() is None))  # as in `constant_settings`
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name}: {error}; given {described(x)}") from None


# What an op returns


def result_error(op, value, xs, derivatives):
    """Return the error for a value of the wrong dtype, or a wrong number of derivatives."""
    dtype = xs[0].data.dtype
    if value.dtype != dtype:
        return TypeError(f"{op.name}: returned a {value.dtype} result for {dtype} arguments")
    count = len(derivatives)
    return TypeError(f"{op.name}: has {len(xs)} Tensor arguments but {count} derivatives")


def reads_result(op, derivative):
    """Return whether `derivative` is a function of (g, y), not of g alone.

    A joint derivative also takes `needed`. Raises TypeError for any other signature.
    """
    # A default counts as a parameter: in `lambda g, i=i: ...`, i would silently be y.
    if type(derivative) is FunctionType and derivative.__defaults__ is None:
        count = derivative.__code__.co_argcount - op.joint  # inspect.signature would take 20 us
        if count == 1 or count == 2:
            return count == 2
    expected = "(g, needed) or (g, y, needed)" if op.joint else "(g) or (g, y)"
    raise TypeError(
        f"{op.name}: a derivative is a function of {expected}, not "
        f"{_signature(derivative)}; write lambda g: ..., and bind loop variables in "
        "a helper function that returns the lambda"
    )


def _signature(function):
    if not isinstance(function, FunctionType):
        return type(function)
    parameters = inspect.signature(function).parameters.values()
    return f"({', '.join(p.name + '=...' * (p.default is not p.empty) for p in parameters)})"


# A backward pass


def checked_seeds(outputs, grad_outputs):
    """Return [(output, its gradient)], all Tensors. For one element, a gradient of None means 1."""
    if not isinstance(outputs, (list, tuple)):
        outputs, grad_outputs = [outputs], [grad_outputs]
    grad_outputs = [None] * len(outputs) if grad_outputs is None else list(grad_outputs)
    if len(grad_outputs) != len(outputs):
        raise ValueError(
            f"{len(outputs)} outputs but {len(grad_outputs)} grad_outputs: "
            "pass a list with one for each output"
        )
    return [(y, _checked_seed(y, g)) for y, g in zip(outputs, grad_outputs)]


def _checked_seed(y, g):
    if not isinstance(y, Tensor):
        raise TypeError(
            f"grad: the output is a {type(y).__name__}: pass the Tensor, such as a loss"
        )
    if y.node is None:
        raise ValueError(
            "the output does not require a gradient: was it computed under no_grad, "
            "or only from Tensors without requires_grad=True, such as frozen Parameters?"
        )
    if g is None:
        if y.size != 1:
            raise ValueError(
                f"the output has shape {y.shape}: reduce it to one number "
                "(.sum(), .mean()) or pass grad_outputs"
            )
        return wrap(xp.ones(y.shape, y.dtype))
    if not isinstance(g, Tensor):
        g = wrap(as_floating(g, y.dtype))
    if g.shape != y.shape or g.dtype != y.dtype:
        raise ValueError(
            f"grad_outputs of shape {g.shape}, {g.dtype} "
            f"for an output of shape {y.shape}, {y.dtype}"
        )
    return g


def checked_inputs(inputs):
    """Return the inputs of `grad`, a Tensor or a sequence of Tensors, as a list.

    Raises TypeError for a network, and ValueError for anything else that is no Tensor or does not
    require a gradient. Frozen Parameters may be in a sequence.
    """
    single = isinstance(inputs, Tensor)
    if not single and (hasattr(inputs, "parameters") or not hasattr(inputs, "__iter__")):
        name = getattr(inputs, "__qualname__", type(inputs).__name__)
        raise TypeError(
            f"grad: the inputs are Tensors, not {name}: write grad(loss, net.parameters())"
        )
    inputs = [inputs] if single else list(inputs)
    for i, x in enumerate(inputs):
        if not isinstance(x, Tensor):
            raise ValueError(
                f"grad: input {i} is a {type(x).__name__}: pass Tensors that require a gradient, "
                "such as net.parameters()"
            )
        if x.node is None and not isinstance(x, Parameter):
            raise ValueError(
                f"grad: input {i} does not require a gradient: create a Tensor with "
                "requires_grad=True"
            )
        if x.node is None and single:
            raise ValueError(
                f"grad: {x.name} is frozen (its requires_grad is False), so it has no gradient"
            )
    return inputs


def check_not_used_up(node) -> None:
    """Raise RuntimeError if an earlier backward pass consumed the node."""
    if node.derivatives is None:
        raise RuntimeError(
            "the graph was used up by an earlier backward pass "
            f"(at {node.op.name}): call that one with retain_graph=True"
        )


def version_of_view(value, xs):
    """Return the version of the parameter whose memory `value` shares: `w.T` has that of w."""
    for x in xs:
        if x is not None and x.version is not None:
            # The base of a view, and of a view of a view, is the array that owns the memory.
            owner = x.data if x.data.base is None else x.data.base
            if value is x.data or value.base is owner:
                return x.version
    return None


def check_unchanged(node) -> None:
    """Raise RuntimeError if a parameter that the node's op read has changed since."""
    for version, count in node.versions:
        if version.count != count:
            raise RuntimeError(
                f"{node.op.name} read {version.name}, which was changed after the "
                "forward pass: take gradients before the optimiser's step, or run "
                "the forward pass again"
            )


def checked_gradient(node, i, gradient):
    """Return the gradient of argument i: summed back to its shape if the op broadcasts.

    Raises ValueError if the shape or dtype is not that of the argument.
    """
    if not isinstance(gradient, Tensor):
        raise TypeError(
            f"{node.op.name}: the derivative of argument {i} returned a "
            f"{type(gradient).__name__}, not a Tensor: compute it with ops, "
            "not on arrays"
        )
    shape, dtype = node.parents[i].shape, node.parents[i].dtype
    if gradient.shape != shape and node.op.broadcasts and _broadcasts(shape, gradient.shape):
        if node.op.broadcasts is True or gradient.shape[-2:] == shape[-2:]:
            gradient = gradient.sum_to(shape)
    if gradient.shape != shape or gradient.dtype != dtype:
        raise ValueError(
            f"{node.op.name}: the gradient of argument {i} has shape "
            f"{gradient.shape}, {gradient.dtype}, but the argument has shape "
            f"{shape}, {dtype}"
        )
    return gradient


def _broadcasts(shape, larger):
    """Return whether an array of `shape` broadcasts to the shape `larger`."""
    return len(shape) <= len(larger) and all(n in (1, m) for n, m in zip(shape[::-1], larger[::-1]))


def check_gradient_count(node, gradients, needed) -> None:
    """Raise TypeError unless a joint derivative returned a gradient for each argument."""
    if len(gradients) != len(needed):
        raise TypeError(
            f"{node.op.name}: a joint derivative returned {len(gradients)} gradients "
            f"for {len(needed)} arguments"
        )


# Tensors are immutable


def _refuse_assignment(self, index, value):
    raise TypeError(
        "a Tensor is immutable: build a new one with tinygan.ops.where or concatenate "
        "(to change a Parameter, call .assign)"
    )


def _refuse_update(self, other):
    raise TypeError(
        "a Tensor is immutable: write x = x + y instead of x += y "
        "(to change a Parameter, call .assign)"
    )


Tensor.__setitem__ = _refuse_assignment
for _name in ("iadd", "isub", "imul", "itruediv", "ipow", "imatmul"):
    setattr(Tensor, f"__{_name}__", _refuse_update)


# Layers


def accepts(function, args, settings):
    """Return whether these arguments fit the function's signature, in number and by name, as far as
    it has one."""
    try:
        inspect.signature(function).bind(*args, **settings)
    except TypeError:
        return False
    except ValueError:  # some functions written in C have no signature
        pass
    return True


def layer_error(layer, reason, kind):
    """Return an error of class `kind` for a layer's arguments. Its `.layer` is (layer, reason)."""
    error = kind(f"{layer.one_line_repr()}: {reason}")
    error.layer = layer, reason
    return error


def add_layer_path(error, network):
    """Prefix the message of an error that leaves `network` with the path to the failing layer.

    Each Module on the way out replaces the path that the Module inside it wrote: in the end, the
    path starts at the outermost network. Errors of other classes than TypeError, ValueError and
    IndexError stay as they are.
    """
    if type(error) not in (TypeError, ValueError, IndexError) or [*map(type, error.args)] != [str]:
        return
    text, own_name = error.args[0], type(network).__name__
    layer, reason = getattr(error, "layer", (network, text.removeprefix(f"{own_name}: ")))
    paths = [path for path, part in network.all_parts() if part is layer]
    if not paths:  # the layer was created during the call, so it is no part of this network
        paths, layer, reason = [""], network, text
    error.layer = layer, reason
    error.args = (
        f"{own_name}.{paths[0]} " * bool(paths[0]) + f"{layer.one_line_repr()}: {reason}",
    )


# Messages

# Settings of PyTorch's and NumPy's functions that have other names here, or none.
SETTINGS = {
    **dict.fromkeys(("dim", "dims"), "write axis"),
    "keepdim": "write keepdims",
    "start_dim": "write start",
    "end_dim": "write end",
    "negative_slope": "write slope",
    "approximate": "gelu is exact",
    **dict.fromkeys(("min", "a_min"), "write low"),
    **dict.fromkeys(("max", "a_max"), "write high"),
    **dict.fromkeys(("p", "ord"), "norm is the Euclidean length"),
    "reduction": "a loss is a mean",
    "inplace": "leave it out",
    **dict.fromkeys(("ddof", "unbiased", "correction"), "var and std divide by n"),
}


def op_error(name, error, args, settings={}):
    """Return the error to raise in place of `error`, one of ARGUMENT_ERRORS, raised in op `name`.

    Its message begins with the op's name and ends with the arguments, args and settings. An error
    that begins with this name already, raised by a check of the op, is returned unchanged. Others
    name neither the op nor its arguments: NumPy's, and those of an op inside this one.
    """
    text = " ".join(str(error).split())
    if text.startswith((f"{name}:", f"{name} ")):
        return error
    reason = "the shapes do not broadcast" if "broadcast" in text else text.split("; given ")[0]
    for habit, advice in SETTINGS.items():
        before, is_habit, suggestion = reason.rpartition(f"argument '{habit}'")
        # Python 3.13 suggests names
        if is_habit and (not suggestion or suggestion.startswith(". Did you mean")):
            reason = f"{before}argument '{habit}': {advice}"
    # NumPy's errors are subclasses; AxisError is both a ValueError and an IndexError.
    kind = type(error) if type(error) in (TypeError, IndexError) else ValueError
    given = described_call(args, settings)
    result = kind(f"{name}: {reason}" + f"; given {given}" * bool(given))
    result.__cause__ = error
    return result


def described_call(args, settings):
    """Return a short description of the arguments of a call."""
    named = (f"{key}={described(value)}" for key, value in settings.items())
    return ", ".join([*map(described, args), *named])


def described(x):
    """Return a short description of x: dtype and shape of an array or a Tensor, or of a list's."""
    if hasattr(x, "shape") and hasattr(x, "dtype"):
        return f"{x.dtype} {tuple(x.shape)}"
    if isinstance(x, (list, tuple)) and len(x) <= 8 and any(hasattr(item, "shape") for item in x):
        inside = ", ".join(map(described, x))
        return f"[{inside}]" if isinstance(x, list) else f"({inside})"
    text = " ".join(repr(x).split())
    return text if len(text) <= 60 else f"a {type(x).__name__}"
