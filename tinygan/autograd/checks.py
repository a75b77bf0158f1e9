"""What the engine refuses, and how it is said.

The engine, the ops and the layers ask here whether what they were given fits. What does not fit is
refused in one line that says who refuses what. Messages are written only once something has gone
wrong: good calls pay nothing for them.
"""

import inspect
from types import FunctionType

from tinygan.backend import asarray, scalar, xp

from .tensor import Tensor, as_floating, wrap

REFUSED = TypeError, ValueError, IndexError, ZeroDivisionError, OverflowError

# The arguments of an op


def tensor_parameters(function):
    """How many parameters stand before `/`, and whether there is a `*xs` instead.

    Raises TypeError where there is neither.
    """
    kinds = [p.kind for p in inspect.signature(function).parameters.values()]
    tensors = kinds.count(inspect.Parameter.POSITIONAL_ONLY)
    variadic = kinds[:1] == [inspect.Parameter.VAR_POSITIONAL]
    if not tensors and not variadic:
        raise TypeError(f"op {function.__name__}: put `/` after the parameters that are Tensors")
    return tensors, variadic


def as_tensors(name, xs, optional=False):
    """The arguments of op `name` as Tensors of one dtype.

    Numbers take the dtype of the Tensors and arrays beside them. optional: arguments may be None.
    """
    dtype = plain = None
    for x in xs:
        if not isinstance(x, Tensor):
            plain = True
        elif dtype is None:
            dtype = x.data.dtype
        elif x.data.dtype != dtype:
            raise TypeError(
                f"{name}: a {dtype} Tensor met a {x.data.dtype} one; "
                "convert one with .astype(), or a model with Module.astype()"
            )
    if not plain:
        return xs
    if dtype is None:
        arrays = (x for x in xs if isinstance(x, xp.ndarray))
        dtype = next((x.dtype for x in arrays if x.dtype.char in "fd"), None)
    return [
        x if isinstance(x, Tensor) or x is None and optional else _as_tensor(name, x, dtype)
        for x in xs
    ]


def _as_tensor(name, x, dtype):
    """A number, list or array as a Tensor, copied so that nobody can change it under a graph."""
    if isinstance(x, (int, float)):
        return wrap(scalar(x, dtype or "float32"))
    if getattr(x, "ndim", None) == 0 and x.dtype.kind in "fiub":
        return wrap(asarray(x, dtype=dtype or "float32"))
    if not isinstance(x, (xp.ndarray, list, tuple)):
        kind = f"{type(x).__module__}.{type(x).__name__}; convert it with tinygan.tensor(...)"
        raise TypeError(
            f"{name}: expected a Tensor, a number or an array of the backend in use, "
            f"got {'None' if x is None else kind}"
        )
    if isinstance(x, xp.ndarray) and x.dtype != bool and x.dtype != (dtype or x.dtype):
        raise TypeError(
            f"{name}: a {x.dtype} array met a {dtype} Tensor; "
            f"convert it with tinygan.tensor(array, dtype='{dtype}')"
        )
    try:
        return wrap(xp.array(as_floating(x, dtype)))
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name}: {error}; given {described(x)}") from None


def check_settings(name, settings) -> None:
    """A setting of op `name` is a constant: a Tensor there would get no gradient, in silence."""
    for setting in settings:
        if isinstance(setting, Tensor):
            raise TypeError(
                f"{name}: a setting is a constant: pass a number or an array, not a Tensor"
            )


# What an op returns


def wrong_result(op, value, xs, derivatives):
    """The error to raise: the value has another dtype than the arguments, or derivatives lack."""
    dtype = xs[0].data.dtype
    if value.dtype != dtype:
        return TypeError(f"{op.name}: made a {value.dtype} result from {dtype} arguments")
    count = len(derivatives)
    return TypeError(f"{op.name}: has {len(xs)} Tensor arguments but {count} derivatives")


def reads_result(op, derivative):
    """Is `derivative` a function of (g, y), not of g alone? (A joint one takes `needed` as well.)

    Raises TypeError for anything else.
    """
    # A default would count as a parameter: in `lambda g, i=i: ...`, i would silently be y.
    if type(derivative) is FunctionType and derivative.__defaults__ is None:
        count = derivative.__code__.co_argcount - op.joint  # inspect.signature would take 20 us
        if count == 1 or count == 2:
            return count == 2
    wanted = "(g, needed) or (g, y, needed)" if op.joint else "(g) or (g, y)"
    raise TypeError(
        f"{op.name}: a derivative is a function of {wanted}, not "
        f"{_signature(derivative)}; write lambda g: ..., and bind loop variables by "
        "making it in a helper function"
    )


def _signature(function):
    if not isinstance(function, FunctionType):
        return type(function)
    parameters = inspect.signature(function).parameters.values()
    return f"({', '.join(p.name + '=...' * (p.default is not p.empty) for p in parameters)})"


# A backward pass


def checked_seeds(outputs, grad_outputs):
    """[(output, the gradient that enters there, a Tensor)]. For one element, None stands for 1."""
    if not isinstance(outputs, (list, tuple)):
        outputs, grad_outputs = [outputs], [grad_outputs]
    grad_outputs = [None] * len(outputs) if grad_outputs is None else list(grad_outputs)
    if len(grad_outputs) != len(outputs):
        raise ValueError(
            f"{len(outputs)} outputs but {len(grad_outputs)} grad_outputs: "
            "give a list, one for each"
        )
    return [(y, _checked_seed(y, g)) for y, g in zip(outputs, grad_outputs)]


def _checked_seed(y, g):
    if getattr(y, "node", None) is None:
        raise ValueError(
            "the output does not require a gradient: was it computed under no_grad, "
            "from detached Tensors, or from nothing with requires_grad=True?"
        )
    if g is None:
        if y.size != 1:
            raise ValueError(
                f"the output has shape {y.shape}: reduce it to one number "
                "(.sum(), .mean()) or pass grad_outputs"
            )
        return wrap(xp.ones(y.shape, y.dtype))
    if not isinstance(g, Tensor):
        g = wrap(xp.array(as_floating(g, y.dtype)))
    if g.shape != y.shape or g.dtype != y.dtype:
        raise ValueError(
            f"grad_outputs of shape {g.shape}, {g.dtype} "
            f"for an output of shape {y.shape}, {y.dtype}"
        )
    return g


def check_inputs(inputs) -> None:
    """Gradients are taken with respect to Tensors that require one."""
    for i, x in enumerate(inputs):
        if getattr(x, "node", None) is None:
            is_tensor = isinstance(x, Tensor)
            problem = "does not require a gradient" if is_tensor else f"is a {type(x).__name__}"
            raise ValueError(f"grad: input {i} {problem}: make it with requires_grad=True")


def check_not_used_up(node) -> None:
    """A backward pass can go through the node only if none has consumed it before."""
    if node.derivatives is None:
        raise RuntimeError(
            "the graph was used up by an earlier backward pass "
            f"(at {node.op.name}): pass retain_graph=True there"
        )


def version_of_view(value, xs):
    """The version of the parameter whose memory `value` shares: `w.T` knows when w changes."""
    for x in xs:
        if x is not None and x.version is not None:
            # The base of a view, and of a view of a view, is the array that owns the memory.
            owner = x.data if x.data.base is None else x.data.base
            if value is x.data or value.base is owner:
                return x.version
    return None


def check_unchanged(node) -> None:
    """The parameters that the node's op read still have the values that it read."""
    for version, count in node.read:
        if version.count != count:
            raise RuntimeError(
                f"{node.op.name} read {version.name}, which was changed after the "
                "forward pass: take gradients before the optimiser's step, or run "
                "the forward pass again"
            )


def checked_gradient(node, i, gradient):
    """The gradient of argument i, of its shape and dtype: summed back if the op broadcasts."""
    if not isinstance(gradient, Tensor):
        raise TypeError(
            f"{node.op.name}: the derivative of argument {i} returned a "
            f"{type(gradient).__name__}, not a Tensor: compute it with ops, "
            "not with arrays"
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
    """Can an array of `shape` be repeated to `larger`?"""
    return len(shape) <= len(larger) and all(n in (1, m) for n, m in zip(shape[::-1], larger[::-1]))


def check_joint(node, gradients, needed) -> None:
    """A joint derivative returns a gradient for each argument."""
    if len(gradients) != len(needed):
        raise TypeError(
            f"{node.op.name}: a joint derivative returned {len(gradients)} gradients "
            f"for {len(needed)} arguments"
        )


# A Tensor


def _refuse_assignment(self, index, value):
    raise TypeError(
        "a Tensor is immutable: build a new one with tinygan.ops.where or concatenate "
        "(a Parameter changes by .assign)"
    )


def _refuse_update(self, other):
    raise TypeError(
        "a Tensor is immutable: write x = x + y instead of x += y (a Parameter changes by .assign)"
    )


Tensor.__setitem__ = _refuse_assignment
for _name in ("iadd", "isub", "imul", "itruediv", "ipow", "imatmul"):
    setattr(Tensor, f"__{_name}__", _refuse_update)


# A layer of a network


def accepts(function, args, settings):
    """Can the function be called with these? (Are they as many as it takes, by the right names?)"""
    try:
        inspect.signature(function).bind(*args, **settings)
    except TypeError:
        return False
    return True


def layer_error(layer, reason, kind):
    """The error to raise where a layer refuses its arguments. It notes the layer and the reason."""
    error = kind(f"{layer!r}: {reason}")
    error.layer = layer, reason
    return error


def tell_path(error, network):
    """Begin the message of an error that leaves `network` with the path to the layer it comes from.

    Every Module that the error leaves writes its own path over that of the part inside it: in the
    end it is the path from the outermost network. Only the three plain kinds of error are touched.
    """
    if type(error) not in (TypeError, ValueError, IndexError) or [*map(type, error.args)] != [str]:
        return
    text, own_name = error.args[0], type(network).__name__
    layer, reason = getattr(error, "layer", (network, text.removeprefix(f"{own_name}: ")))
    paths = [path for path, part in network.modules() if part is layer]
    if not paths:  # the layer is no part of this network: it was made on the way
        paths, layer, reason = [""], network, text
    error.layer = layer, reason
    error.args = (f"{own_name}.{paths[0]} " * bool(paths[0]) + f"{layer!r}: {reason}",)


# How it is said


def op_error(name, error, args, settings={}):
    """The error to raise for one of REFUSED met inside op `name`, called with args and settings.

    It begins with the op's name. One that does already, from a check of the op, is returned as it
    is. The others say neither which op it was nor what it was given: NumPy's, and those of an op
    that is a part of this one.
    """
    text = " ".join(str(error).split())
    if text.startswith((f"{name}:", f"{name} ")):
        return error
    reason = "the shapes do not broadcast" if "broadcast" in text else text.split("; given ")[0]
    # NumPy has subclasses of its own, one of both ValueError and IndexError.
    kind = type(error) if type(error) in (TypeError, IndexError) else ValueError
    result = kind(f"{name}: {reason}; given {described_call(args, settings)}")
    result.__cause__ = error
    return result


def described_call(args, settings):
    """The arguments of a call in a few characters."""
    named = (f"{key}={described(value)}" for key, value in settings.items())
    return ", ".join([*map(described, args), *named])


def described(x):
    """x in a few characters: dtype and shape of an array or a Tensor, or of each in a list."""
    if hasattr(x, "shape") and hasattr(x, "dtype"):
        return f"{x.dtype} {tuple(x.shape)}"
    if isinstance(x, (list, tuple)) and len(x) <= 8 and any(hasattr(item, "shape") for item in x):
        inside = ", ".join(map(described, x))
        return f"[{inside}]" if isinstance(x, list) else f"({inside})"
    text = " ".join(repr(x).split())
    return text if len(text) <= 60 else f"a {type(x).__name__}"
