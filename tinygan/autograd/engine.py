"""The engine: ops that record how they were computed, and the walk back that differentiates them.

An op is a plain function that returns its value and one derivative per Tensor argument. Derivatives are
written in ops too, so recording them while they run (`create_graph=True`) gives second derivatives, and
third, with no further machinery.
"""

import contextlib
import functools
import inspect
import threading

from tinygan.backend import asarray, scalar, xp

from .refusal import REFUSED, described, refusal
from .tensor import Node, Tensor, as_floating, wrap


class _Mode(threading.local):
    recording = True


_mode = _Mode()
monitor = None  # an inspect.Monitor (anomaly, profile, trace): while set, it runs every op and derivative


def recording() -> bool:
    """True if ops record the graph now: always, except under `no_grad` and in a first-order backward."""
    return _mode.recording


@contextlib.contextmanager
def _recording_is(on):
    before, _mode.recording = _mode.recording, on
    try:
        yield
    finally:
        _mode.recording = before


def no_grad():
    """Inside `with no_grad():`, or in a function decorated with `@no_grad()`, nothing is recorded."""
    return _recording_is(False)


# ---- ops ----

# The names of a derivative's parameters -> does it read y, the op's result? Then, and only then, y is kept.
_READS_Y = {False: {("g",): False, ("g", "y"): True},
            True: {("g", "needed"): False, ("g", "y", "needed"): True}}  # of a joint one


def op(function=None, *, broadcasts=False, joint=False, cost=None, name=None):
    """Turn `function(x1, x2, ..., /, settings)` into a differentiable op on Tensors.

    Parameters before `/`, and `*xs`, are Tensors; the rest are settings, constants. It returns
    `(value, derivative_1, derivative_2, ...)`: an array, and for each Tensor a function, of parameters named
    exactly `g` (the gradient of the result) or `g, y` (and the result itself), that returns a Tensor computed
    by ops; None where there is no derivative.

    joint: the arguments share the work: one function of `g, needed` or `g, y, needed` returns the gradients
    of all; needed[i] says whether argument i's is wanted (anything may stand there if not).
    broadcasts: the arguments broadcast against each other, and their gradients are summed back here;
    "batch": all axes but the last two do (matmul). Elsewhere a gradient of the wrong shape is an error.
    cost: multiply-adds, for `profile` and `tinygan show`: a function of the arrays (value, *arguments), and
    of any settings that it names.
    """
    if function is None:
        return functools.partial(op, broadcasts=broadcasts, joint=joint, cost=cost, name=name)
    tensors, variadic = tensor_parameters(function)
    if not tensors and not variadic:
        raise TypeError(f"op {function.__name__}: put `/` after the parameters that are Tensors")

    @functools.wraps(function)
    def call(*args, **settings):
        xs, rest = (args, ()) if variadic else (args[:tensors], args[tensors:])
        try:
            xs = as_tensors(call.name, xs, optional=joint)
            if (rest or settings) and any(isinstance(setting, Tensor) for setting in (*rest, *settings.values())):
                raise TypeError(f"{call.name}: a setting is a constant: pass a number or an array, not a Tensor")
            if monitor is None:
                return _record(call, xs, *function(*xs, *rest, **settings))
            return monitor.run_op(call, (*xs, *rest), settings,
                                  lambda: _record(call, xs, *function(*xs, *rest, **settings)))
        except REFUSED as error:
            raise refusal(call.name, error, args, settings)

    call.name = name or function.__name__.lstrip("_")
    call.broadcasts, call.joint, call.cost = broadcasts, joint, cost
    return call


def tensor_parameters(function):
    """How many parameters stand before `/`, and whether there is a `*xs` instead."""
    kinds = [p.kind for p in inspect.signature(function).parameters.values()]
    return kinds.count(inspect.Parameter.POSITIONAL_ONLY), kinds[:1] == [inspect.Parameter.VAR_POSITIONAL]


def as_tensors(name, xs, optional=False):
    """The arguments of op `name` as Tensors of one dtype; numbers take that of the Tensors and arrays beside them."""
    dtype = plain = None
    for x in xs:
        if not isinstance(x, Tensor):
            plain = True
        elif dtype is None:
            dtype = x.data.dtype
        elif x.data.dtype != dtype:
            raise TypeError(f"{name}: a {dtype} Tensor met a {x.data.dtype} one; "
                            "convert one with .astype(), or a model with Module.astype()")
    if not plain:
        return xs
    if dtype is None:
        dtype = next((x.dtype for x in xs if isinstance(x, xp.ndarray) and x.dtype.char in "fd"), None)
    return [x if isinstance(x, Tensor) or x is None and optional else _coerce(name, x, dtype) for x in xs]


def _coerce(name, x, dtype):
    """A number, list or array as a Tensor, copied so that nobody can change it under a graph."""
    if isinstance(x, (int, float)):
        # A trace tells constants apart by their arrays, so there each has its own.
        return wrap((scalar if monitor is None else asarray)(x, dtype or "float32"))
    if getattr(x, "ndim", None) == 0 and x.dtype.kind in "fiub":
        return wrap(asarray(x, dtype=dtype or "float32"))
    if not isinstance(x, (xp.ndarray, list, tuple)):
        got = "None" if x is None else f"{type(x).__module__}.{type(x).__name__}; convert it with tinygan.tensor(...)"
        raise TypeError(f"{name}: expected a Tensor, a number or an array of the backend in use, got {got}")
    if isinstance(x, xp.ndarray) and x.dtype != bool and x.dtype != (dtype or x.dtype):
        raise TypeError(f"{name}: a {x.dtype} array met a {dtype} Tensor; "
                        f"convert it with tinygan.tensor(array, dtype='{dtype}')")
    try:
        return wrap(xp.array(as_floating(x, dtype)))
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name}: {error}; given {described(x)}") from None


def _record(call, xs, value, *derivatives):
    """The op's value as a Tensor, with a node if a gradient can flow back from it."""
    if type(value) is not xp.ndarray:
        value = xp.asarray(value)  # NumPy's full reductions give a scalar, not a 0-d array
    if value.dtype != xs[0].data.dtype:
        raise TypeError(f"{call.name}: made a {value.dtype} result from {xs[0].data.dtype} arguments")
    parents, read = [], []
    for x in xs:
        parents.append(None if x is None else x.node)
        if x is not None and x.version is not None:
            read.append((x.version, x.version.count))
    version = _version_of_view(value, xs) if read else None
    if not _mode.recording:
        return wrap(value, None, version)
    y = None
    if call.joint:
        if _reads_y(call, derivatives[0]):
            y = value
    elif len(derivatives) != len(xs):
        raise TypeError(f"{call.name}: has {len(xs)} Tensor arguments but {len(derivatives)} derivatives")
    else:
        derivatives = list(derivatives)
        for i, derivative in enumerate(derivatives):
            if derivative is None:
                parents[i] = None
            elif parents[i] is None:
                derivatives[i] = None  # lets go of the Tensors that it names
            elif y is None and _reads_y(call, derivative):
                y = value
    if not any(parents):
        return wrap(value, None, version)
    return wrap(value, Node(call, value, parents, derivatives, y, read), version)


def _reads_y(call, derivative):
    code = getattr(derivative, "__code__", None)  # the code object knows the names; inspect.signature takes 20 us
    names = code and code.co_varnames[:code.co_argcount]
    try:
        return _READS_Y[call.joint][names]
    except KeyError:
        wanted = "(g, needed) or (g, y, needed)" if call.joint else "(g) or (g, y)"
        raise TypeError(f"{call.name}: a derivative is a function of {wanted}, not {names or type(derivative)}; write "
                        "lambda g: ..., and bind loop variables by making it in a helper function") from None


def _version_of_view(value, xs):
    """The version of the parameter that `value` shares memory with, so that `w.T` knows when w changes."""
    for x in xs:
        if x is not None and x.version is not None:
            # The base of a view, and of a view of a view, is the array that owns the memory.
            owner = x.data if x.data.base is None else x.data.base
            if value is x.data or value.base is owner:
                return x.version
    return None


# ---- differentiation ----


def grad(outputs, inputs, grad_outputs=None, create_graph=False, retain_graph=None):
    """Gradients of `outputs` with respect to `inputs`: the vector-Jacobian product with `grad_outputs`.

    outputs: a Tensor, or a sequence whose gradients add up; inputs: a Tensor (one gradient comes back) or
    a sequence (a list comes back), in the middle of the graph too. None stands for an input that no output
    depends on. grad_outputs: of the shapes of the outputs; may be left out for outputs of one element.
    create_graph: make the gradients differentiable in turn. retain_graph (default: create_graph): keep
    the graph for another backward pass; otherwise it is freed as the pass goes.

    Raises ValueError for an input or output without a gradient, or a missing grad_outputs, and
    RuntimeError when the graph was used up, or when a parameter it read has changed since.
    """
    single = isinstance(inputs, Tensor)
    inputs = [inputs] if single else list(inputs)
    for i, x in enumerate(inputs):
        if getattr(x, "node", None) is None:
            problem = "does not require a gradient" if isinstance(x, Tensor) else f"is a {type(x).__name__}"
            raise ValueError(f"grad: input {i} {problem}: make it with requires_grad=True")
    gradients = _backpropagate(_seeds(outputs, grad_outputs), {x.node for x in inputs},
                               create_graph, create_graph if retain_graph is None else retain_graph)
    results = [gradients.get(x.node) for x in inputs]
    return results[0] if single else results


def backward(output, grad_output=None, retain_graph=False):
    """Add the gradients of `output` to `.grad` of every leaf it depends on. First order only: see `grad`.

    grad_output: of output's shape; may be left out for one element. Gradients accumulate over calls until
    `.grad` is set to None.
    """
    seeds = _seeds(output, grad_output)
    leaves = {node for node in _reachable(seeds) if node.leaf is not None}
    for node, g in _backpropagate(seeds, leaves, False, retain_graph).items():
        leaf = node.leaf()
        if leaf is not None:
            with no_grad():
                leaf.grad = g if leaf.grad is None else leaf.grad + g


Tensor.backward = backward


def _seeds(outputs, grad_outputs):
    """{node of an output: the gradient that enters there}."""
    if not isinstance(outputs, (list, tuple)):
        outputs, grad_outputs = [outputs], [grad_outputs]
    grad_outputs = [None] * len(outputs) if grad_outputs is None else list(grad_outputs)
    if len(grad_outputs) != len(outputs):
        raise ValueError(f"{len(outputs)} outputs but {len(grad_outputs)} grad_outputs: give a list, one for each")
    seeds = {}
    for y, g in zip(outputs, grad_outputs):
        if getattr(y, "node", None) is None:
            raise ValueError("the output does not require a gradient: was it computed under no_grad, "
                             "from detached Tensors, or from nothing with requires_grad=True?")
        if g is None:
            if y.size != 1:
                raise ValueError(f"the output has shape {y.shape}: reduce it to one number (.sum(), .mean()) "
                                 "or pass grad_outputs")
            g = wrap(xp.ones(y.shape, y.dtype))
        elif not isinstance(g, Tensor):
            g = wrap(xp.array(as_floating(g, y.dtype)))
        if g.shape != y.shape or g.dtype != y.dtype:
            raise ValueError(f"grad_outputs of shape {g.shape}, {g.dtype} "
                             f"for an output of shape {y.shape}, {y.dtype}")
        seeds[y.node] = seeds[y.node] + g if y.node in seeds else g
    return seeds


def _reachable(roots, oldest=0):
    """Every node that `roots` were computed from, themselves included, none older than `oldest`."""
    found = set(roots)
    pending = list(roots)
    while pending:
        for parent in pending.pop().parents:
            if parent is not None and parent.order >= oldest and parent not in found:
                found.add(parent)
                pending.append(parent)
    return found


def _path(seeds, targets):
    """The nodes through which a gradient flows from `seeds` to `targets`, in the order of their creation."""
    # Arguments are created before results: nothing older than the oldest target can depend on a target, and
    # walking in that order, whether an argument is on the path is known before its result is looked at.
    oldest = min(node.order for node in targets)
    path = {}
    for node in sorted(_reachable(seeds, oldest), key=lambda node: node.order):
        if node in targets or any(parent in path for parent in node.parents):
            path[node] = [parent in path for parent in node.parents]
            if True in path[node] and node.derivatives is None:
                raise RuntimeError(f"the graph was used up by an earlier backward pass (at {node.op.name}): "
                                   "pass retain_graph=True there")
    return path


def _backpropagate(seeds, targets, create_graph, retain_graph):
    """{target: its gradient} for the targets that `seeds` reach. Iterative, so no graph is too deep."""
    if not targets:
        return {}
    path = _path(seeds, targets)  # node -> which of its arguments' gradients are needed
    gradients = {node: g if create_graph else g.detach() for node, g in seeds.items() if node in path}
    with _recording_is(create_graph):
        while path:  # newest first; nodes and gradients are let go of on the way, so that memory falls
            node, needed = path.popitem()
            if node not in gradients:
                continue
            g = gradients[node] if node in targets else gradients.pop(node)  # a target may lie in the middle
            if True in needed:
                for parent, change in zip(node.parents, _input_gradients(node, g, needed)):
                    if change is not None:
                        gradients[parent] = gradients[parent] + change if parent in gradients else change
                if not retain_graph:
                    node.consume()
            g = change = None  # or they would outlive the next derivative
    return {node: gradients[node] for node in targets if node in gradients}


def _input_gradients(node, g, needed):
    """The gradients of a node's arguments (None where not needed), given the gradient of its result."""
    for version, count in node.read:
        if version.count != count:
            raise RuntimeError(f"{node.op.name} read {version.name}, which was changed after the forward pass: "
                               "take gradients before the optimiser's step, or run the forward pass again")
    # The same node, not a fresh leaf (which would cut the second derivative).
    y = None if node.y is None else wrap(node.y, node if _mode.recording else None)

    def run(derivative, *more):
        args = (g, y, *more) if _reads_y(node.op, derivative) else (g, *more)
        return derivative(*args) if monitor is None else monitor.run_derivative(node, lambda: derivative(*args))

    if node.op.joint:
        results = run(node.derivatives[0], needed)
        if len(results) != len(needed):
            raise TypeError(f"{node.op.name}: a joint derivative returned {len(results)} gradients "
                            f"for {len(needed)} arguments")
    else:
        results = [run(d) if wanted else None for d, wanted in zip(node.derivatives, needed)]
    return [_checked(node, i, result) if wanted else None for i, (result, wanted) in enumerate(zip(results, needed))]


def _checked(node, i, gradient):
    """The gradient of argument i, summed back if the op broadcasts, of the argument's shape and dtype."""
    if gradient is None:
        return None
    if not isinstance(gradient, Tensor):
        raise TypeError(f"{node.op.name}: the derivative of argument {i} returned a {type(gradient).__name__}, "
                        "not a Tensor: compute it with ops, not with arrays")
    shape, dtype = node.parents[i].shape, node.parents[i].dtype
    if gradient.shape != shape and node.op.broadcasts and _broadcasts(shape, gradient.shape):
        if node.op.broadcasts is True or gradient.shape[-2:] == shape[-2:]:
            gradient = gradient.sum_to(shape)
    if gradient.shape != shape or gradient.dtype != dtype:
        raise ValueError(f"{node.op.name}: the gradient of argument {i} has shape {gradient.shape}, "
                         f"{gradient.dtype}, but the argument has shape {shape}, {dtype}")
    return gradient


def _broadcasts(shape, larger):
    """Can an array of `shape` be repeated to `larger`?"""
    return len(shape) <= len(larger) and all(n in (1, m) for n, m in zip(shape[::-1], larger[::-1]))
