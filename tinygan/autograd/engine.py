"""The engine: ops that record how they were computed, and the walk back that differentiates them.

An op is a plain function that returns its value and one derivative per Tensor argument. Derivatives are
written in ops too, so recording them while they run (`create_graph=True`) gives second derivatives, and
third, with no further machinery.
"""

import contextlib
import functools
import inspect
import threading

from tinygan.backend import xp

from .tensor import Node, Tensor, wrap


class _Mode(threading.local):
    recording = True


_mode = _Mode()
monitor = None  # set by inspect.py (anomaly, profile): it then runs every op and every derivative


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

# The parameters that a derivative may have -> does it read y, the op's result?
_READS_Y = {("g",): False, ("g", "y"): True, ("g", "needed"): False, ("g", "y", "needed"): True}


def op(function=None, *, broadcasts=False, joint=False, cost=None, name=None):
    """Turn `function(x1, x2, ..., /, settings)` into a differentiable op on Tensors.

    Parameters before `/`, and `*xs`, are Tensors; the rest are settings. It returns
    `(value, derivative_1, derivative_2, ...)`: an array, and for each Tensor a function of `g`, the
    gradient of the result, or of `(g, y)`, where y is the result; None where there is no derivative.

    joint: the arguments share the work: one function of `(g, needed)` or `(g, y, needed)` returns all
    their gradients; needed[i] says whether argument i's is wanted (anything may stand there if not).
    broadcasts: the arguments broadcast against each other, and their gradients are summed back here;
    "batch": all axes but the last two do (matmul). Elsewhere a gradient of the wrong shape is an error.
    cost: multiply-adds, for `profile` and `tinygan show`: a function of the arrays (value, *arguments), and
    of any settings that it names.
    """
    if function is None:
        return functools.partial(op, broadcasts=broadcasts, joint=joint, cost=cost, name=name)
    tensors, variadic = _tensor_parameters(function)

    @functools.wraps(function)
    def call(*args, **settings):
        xs, rest = (args, ()) if variadic else (args[:tensors], args[tensors:])
        xs = _as_tensors(call.name, xs)
        if monitor is None:
            return _record(call, xs, *function(*xs, *rest, **settings))
        return monitor.run_op(call, (*xs, *rest), settings,
                              lambda: _record(call, xs, *function(*xs, *rest, **settings)))

    call.name = name or function.__name__.lstrip("_")
    call.broadcasts, call.joint, call.cost = broadcasts, joint, cost
    return call


def _tensor_parameters(function):
    """How many parameters stand before `/`, and whether there is a `*xs` instead."""
    kinds = [p.kind for p in inspect.signature(function).parameters.values()]
    return kinds.count(inspect.Parameter.POSITIONAL_ONLY), kinds[:1] == [inspect.Parameter.VAR_POSITIONAL]


def _as_tensors(name, xs):
    """The arguments as Tensors of one dtype. A number takes the dtype of the Tensors beside it."""
    dtype, plain = None, False
    for x in xs:
        if not isinstance(x, Tensor):
            plain = plain or x is not None
        elif dtype is None:
            dtype = x.data.dtype
        elif x.data.dtype != dtype:
            raise TypeError(f"{name}: a {dtype} Tensor met a {x.data.dtype} one; "
                            "convert one with .astype(), or a model with Module.astype()")
    return [_coerce(name, x, dtype) for x in xs] if plain else xs


def _coerce(name, x, dtype):
    if x is None or isinstance(x, Tensor):
        return x
    if isinstance(x, (int, float)) or getattr(x, "ndim", None) == 0:  # NumPy scalars and 0-d arrays too
        return wrap(xp.asarray(x, dtype=dtype or "float32"))
    if not isinstance(x, (xp.ndarray, list, tuple)):
        raise TypeError(f"{name}: expected a Tensor, a number or an array of the backend in use, got "
                        f"{type(x).__module__}.{type(x).__name__}; convert it with tinygan.tensor(...)")
    if dtype is not None and getattr(x, "dtype", dtype) != dtype:
        raise TypeError(f"{name}: a {x.dtype} array met a {dtype} Tensor; "
                        f"convert it with tinygan.tensor(array, dtype='{dtype}')")
    return Tensor(x, dtype=dtype)


def _record(call, xs, value, *derivatives):
    """The op's value as a Tensor, with a node if a gradient can flow back from it."""
    if type(value) is not xp.ndarray:
        value = xp.asarray(value)  # NumPy's full reductions give a scalar, not a 0-d array
    if value.dtype != xs[0].data.dtype:
        raise TypeError(f"{call.name}: made a {value.dtype} result from {xs[0].data.dtype} arguments")
    versions = [x.version for x in xs if x is not None and x.version is not None]
    version = _version_of_view(value, xs) if versions else None
    if not _mode.recording:
        return wrap(value, None, version)
    if call.joint:
        parents = [None if x is None else x.node for x in xs]
    else:
        if len(derivatives) != len(xs):
            raise TypeError(f"{call.name}: has {len(xs)} Tensor arguments but {len(derivatives)} derivatives")
        parents = [None if d is None or x is None else x.node for x, d in zip(xs, derivatives)]
        derivatives = [None if parent is None else d for parent, d in zip(parents, derivatives)]
    if not any(parents):
        return wrap(value, None, version)
    y = value if any(_reads_y(call, d) for d in derivatives if d is not None) else None
    read = [(version, version.count) for version in versions]
    return wrap(value, Node(call, value, parents, derivatives, y, read), version)


def _reads_y(call, derivative):
    code = derivative.__code__
    try:
        return _READS_Y[code.co_varnames[:code.co_argcount]]
    except KeyError:
        raise TypeError(f"{call.name}: a derivative takes g or (g, y), or joint (g, needed) or (g, y, needed), "
                        f"not {code.co_varnames[:code.co_argcount]}; to bind a loop variable, "
                        "make the derivative in a helper function") from None


def _version_of_view(value, xs):
    """The version of the parameter that `value` shares memory with, so that `w.T` knows when w changes."""
    for x in xs:
        if x is not None and x.version is not None:
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
        if not isinstance(x, Tensor) or x.node is None:
            raise ValueError(f"grad: input {i} does not require a gradient: make it with requires_grad=True")
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
    if isinstance(outputs, Tensor):
        outputs, grad_outputs = [outputs], [grad_outputs]
    if grad_outputs is None:
        grad_outputs = [None] * len(outputs)
    seeds = {}
    for y, g in zip(outputs, grad_outputs, strict=True):
        if y.node is None:
            raise ValueError("the output does not require a gradient: was it computed under no_grad, "
                             "from detached Tensors, or from nothing with requires_grad=True?")
        if g is None:
            if y.size != 1:
                raise ValueError(f"the output has shape {y.shape}: reduce it to one number (.sum(), .mean()) "
                                 "or pass grad_outputs")
            g = wrap(xp.ones(y.shape, y.dtype))
        elif not isinstance(g, Tensor):
            g = Tensor(g, dtype=y.dtype)
        if g.shape != y.shape or g.dtype != y.dtype:
            raise ValueError(f"grad_outputs of shape {g.shape}, {g.dtype} for an output of shape {y.shape}, {y.dtype}")
        seeds[y.node] = seeds[y.node] + g if y.node in seeds else g
    return seeds


def _reachable(roots, oldest=0):
    """Every node that `roots` were computed from, themselves included, none older than `oldest`."""
    found = set(roots)
    pending = list(roots)
    while pending:
        node = pending.pop()
        if node.parents is None:
            raise RuntimeError(f"the graph was used up by an earlier backward pass (at {node.op.name}): "
                               "pass retain_graph=True there")
        for parent in node.parents:
            if parent is not None and parent.order >= oldest and parent not in found:
                found.add(parent)
                pending.append(parent)
    return found


def _backpropagate(seeds, targets, create_graph, retain_graph):
    """{target: its gradient} for the targets that `seeds` reach. Iterative, so no graph is too deep."""
    if not targets:
        return {}
    # An argument is always created before its result, so creation order is a topological order, and
    # nothing older than the oldest target can depend on a target.
    nodes = sorted(_reachable(seeds, min(node.order for node in targets)), key=lambda node: node.order)
    on_path = set()
    for node in nodes:
        if node in targets or not on_path.isdisjoint(node.parents):
            on_path.add(node)

    gradients = {node: g for node, g in seeds.items() if node in on_path}
    with _recording_is(create_graph):
        while nodes:
            node = nodes.pop()
            if node not in on_path or node not in gradients:
                continue
            g = gradients[node] if node in targets else gradients.pop(node)
            needed = [parent in on_path for parent in node.parents]
            if True in needed:
                for parent, change in zip(node.parents, _input_gradients(node, g, needed)):
                    if change is not None:
                        gradients[parent] = gradients[parent] + change if parent in gradients else change
                if not retain_graph:
                    node.consume()
            g = change = None
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
    else:
        results = [run(d) if wanted else None for d, wanted in zip(node.derivatives, needed)]
    return [_checked(node, i, result) if wanted else None for i, (result, wanted) in enumerate(zip(results, needed))]


def _checked(node, i, gradient):
    """The gradient of argument i, summed back if the op broadcasts, of the argument's shape and dtype."""
    if gradient is None:
        return None
    shape, dtype = node.parents[i].shape, node.parents[i].dtype
    if gradient.shape != shape and node.op.broadcasts:
        if node.op.broadcasts is True or gradient.shape[-2:] == shape[-2:]:
            gradient = sum_to(gradient, shape)
    if gradient.shape != shape or gradient.dtype != dtype:
        raise ValueError(f"{node.op.name}: the gradient of argument {i} has shape {gradient.shape}, {gradient.dtype}, "
                         f"but the argument has shape {shape}, {dtype}")
    return gradient


def sum_to(x, shape):
    """Undo broadcasting: sum Tensor `x` over the axes along which an array of `shape` was repeated."""
    extra = x.ndim - len(shape)
    axes = tuple(range(extra)) + tuple(extra + i for i, n in enumerate(shape) if n == 1 != x.shape[extra + i])
    if axes:
        x = x.sum(axis=axes, keepdims=True)
    return x.reshape(shape) if extra else x


# ---- definition and kernel ----


@op
def alias(x, /):
    """The same values under a node of their own."""
    return x.data, lambda g: g


def fused(kernel):
    """Give a slow composition of ops (the decorated definition) a fast kernel.

    The kernel runs forward, and backward with its hand-written first derivative. When the backward pass
    is itself recorded, the definition runs instead and is differentiated, so a second derivative is never
    written by hand. kernel: see `tinygan.kernels.Kernel`. The result is an op with the definition's
    signature; `.definition` and `.kernel` are its two halves.
    """

    def pair(definition):
        tensors, _ = _tensor_parameters(definition)

        @functools.wraps(definition)
        def run(*args, **settings):
            xs, rest = args[:tensors], args[tensors:]
            value, saved = kernel.forward(*(None if x is None else x.data for x in xs), *rest, **settings)

            def gradients(g, needed):
                if not _mode.recording:
                    results = kernel.backward(g.data, saved, needed)
                    return [wrap(result) if wanted else None for result, wanted in zip(results, needed)]
                # Aliases, so that in f(x, x) each argument has a gradient of its own, and the gradients
                # still flow back to x (which they would not from fresh leaves).
                inputs = [alias(x) if wanted else x for x, wanted in zip(xs, needed)]
                wanted = [x for x, wanted in zip(inputs, needed) if wanted]
                results = iter(grad(definition(*inputs, *rest, **settings), wanted, g, create_graph=True))
                return [next(results) if wanted else None for wanted in needed]

            return value, gradients

        result = op(run, joint=True, name=definition.__name__)
        result.definition, result.kernel = definition, kernel
        return result

    return pair
