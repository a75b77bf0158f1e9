"""The engine: ops that record how they were computed, and the walk back that differentiates them.

An op is a plain function that returns its value and one derivative per Tensor argument. Derivatives
are written in ops too, so recording them while they run (`create_graph=True`) gives second
derivatives, and third, with no further machinery.

A backward pass comes to these eight lines (where derivatives need only g, and nothing broadcasts):

    def gradients_of(output, inputs):
        gradients = {output.node: Tensor(xp.ones(output.shape, output.dtype))}
        for node in sorted(_ancestors([output.node]), key=lambda node: -node.order):  # newest first
            for parent, derivative in zip(node.parents, node.derivatives):
                if parent is not None:
                    g = derivative(gradients[node])
                    gradients[parent] = gradients[parent] + g if parent in gradients else g
        return [gradients[x.node] for x in inputs]

What `grad` does besides: it goes only where a gradient was asked for, hands the result y to the
derivatives that read it, and lets go of nodes and gradients on the way. checks.py has the refusals.
"""

import contextlib
import contextvars
import functools

from tinygan.backend import xp

from .checks import (
    REFUSED,
    as_tensors,
    check_inputs,
    check_joint,
    check_not_used_up,
    check_settings,
    check_unchanged,
    checked_gradient,
    checked_seeds,
    op_error,
    reads_result,
    tensor_parameters,
    version_of_view,
    wrong_result,
)
from .tensor import Node, Tensor, wrap

_recording = contextvars.ContextVar("recording", default=True)  # each thread has its own
monitor = None  # an inspect.Monitor (anomaly, profile, trace) that runs every op and derivative


def recording() -> bool:
    """True if ops record the graph now: not under `no_grad`, nor in a first-order backward pass."""
    return _recording.get()


@contextlib.contextmanager
def _recording_is(on):
    before = _recording.set(on)
    try:
        yield
    finally:
        _recording.reset(before)


def no_grad():
    """Record nothing inside `with no_grad():`, or in a function decorated with `@no_grad()`."""
    return _recording_is(False)


# ---- ops ----


def op(function=None, *, broadcasts=False, joint=False, cost=None, name=None):
    """Turn `function(x1, x2, ..., /, settings)` into a differentiable op on Tensors.

    Parameters before `/`, and `*xs`, are Tensors; the rest are settings, constants. It returns
    `(value, derivative_1, derivative_2, ...)`: an array, and for each Tensor a function of g, the
    gradient of the result, or of (g, y), where y is the result itself. It returns a Tensor computed
    by ops. None stands where there is no derivative. y is kept only if a derivative takes it.

    joint: the arguments share the work: one function of (g, needed) or (g, y, needed) returns the
    gradients of all; needed[i]: is argument i's wanted? (If not, anything may stand there.)
    broadcasts: the arguments broadcast against each other, and their gradients are summed back
    here; "batch": all axes but the last two do (matmul). Elsewhere a gradient must have the shape
    of its argument.
    cost: multiply-adds, for `profile` and `tinygan show`: a function of the arrays (value,
    *arguments), and of any settings that it names.
    """
    if function is None:
        return functools.partial(op, broadcasts=broadcasts, joint=joint, cost=cost, name=name)
    tensors, variadic = tensor_parameters(function)

    @functools.wraps(function)
    def call(*args, **settings):
        xs, rest = (args, ()) if variadic else (args[:tensors], args[tensors:])
        try:
            xs = as_tensors(call.name, xs, optional=joint)
            if rest or settings:
                check_settings(call.name, (*rest, *settings.values()))
            if monitor is None:
                return _record(call, xs, *function(*xs, *rest, **settings))
            return monitor.run_op(
                call,
                (*xs, *rest),
                settings,
                lambda: _record(call, xs, *function(*xs, *rest, **settings)),
            )
        except REFUSED as error:
            raise op_error(call.name, error, args, settings)

    call.name = name or function.__name__.lstrip("_")
    call.broadcasts, call.joint, call.cost = broadcasts, joint, cost
    return call


def _record(op, xs, value, *derivatives):
    """The op's value as a Tensor, with a node if a gradient can flow back from it."""
    if type(value) is not xp.ndarray:
        value = xp.asarray(value)  # NumPy's full reductions give a scalar, not a 0-d array
    if value.dtype != xs[0].data.dtype or len(derivatives) != (1 if op.joint else len(xs)):
        raise wrong_result(op, value, xs, derivatives)
    parents, read = [], []
    for x in xs:
        parents.append(None if x is None else x.node)
        if x is not None and x.version is not None:
            read.append((x.version, x.version.count))
    version = version_of_view(value, xs) if read else None
    if not _recording.get():
        return wrap(value, None, version)
    y, derivatives = None, list(derivatives)
    for i, derivative in enumerate(derivatives):
        if derivative is None:
            parents[i] = None
        elif parents[i] is None and not op.joint:
            derivatives[i] = None  # lets go of the Tensors that it names
        elif y is None and reads_result(op, derivative):
            y = value
    if not any(parents):
        return wrap(value, None, version)
    return wrap(value, Node(op, value, parents, derivatives, y, read), version)


# ---- differentiation ----


def grad(outputs, inputs, grad_outputs=None, create_graph=False, retain_graph=None):
    """Gradients of `outputs` by `inputs`: the vector-Jacobian product with `grad_outputs`.

    outputs: a Tensor, or a sequence whose gradients add up.
    inputs: a Tensor (one gradient comes back) or a sequence (a list comes back), in the middle of
    the graph too. None stands for an input that no output depends on.
    grad_outputs: of the shapes of the outputs; may be left out for outputs of one element.
    create_graph: make the gradients differentiable in turn.
    retain_graph: keep the graph for another backward pass; otherwise it is freed as the pass goes.
    By default as create_graph.

    Raises ValueError for an input or output without a gradient, or a missing grad_outputs, and
    RuntimeError when the graph was used up, or when a parameter it read has changed since.
    """
    single = isinstance(inputs, Tensor)
    inputs = [inputs] if single else list(inputs)
    check_inputs(inputs)
    gradients = _backpropagate(
        _seeds(outputs, grad_outputs),
        {x.node for x in inputs},
        create_graph,
        create_graph if retain_graph is None else retain_graph,
    )
    results = [gradients.get(x.node) for x in inputs]
    return results[0] if single else results


def backward(output, grad_output=None, retain_graph=False):
    """Add the gradients of `output` to `.grad` of every leaf it depends on. First order only.

    grad_output: of output's shape; may be left out for one element. Gradients accumulate over calls
    until `.grad` is set to None.
    """
    seeds = _seeds(output, grad_output)
    leaves = {node for node in _ancestors(seeds) if node.leaf is not None}
    for node, g in _backpropagate(seeds, leaves, False, retain_graph).items():
        leaf = node.leaf()
        if leaf is not None:
            with no_grad():
                leaf.grad = g if leaf.grad is None else leaf.grad + g


Tensor.backward = backward


def _seeds(outputs, grad_outputs):
    """{node of an output: the gradient that enters there}."""
    seeds = {}
    for y, g in checked_seeds(outputs, grad_outputs):
        seeds[y.node] = seeds[y.node] + g if y.node in seeds else g
    return seeds


def _ancestors(nodes, oldest=0):
    """Every node that `nodes` were computed from, themselves included, none older than `oldest`."""
    found, pending = set(nodes), list(nodes)
    while pending:
        for parent in pending.pop().parents:
            if parent is not None and parent.order >= oldest and parent not in found:
                found.add(parent)
                pending.append(parent)
    return found


def _path(seeds, targets):
    """{node: [does argument i need a gradient?]} of all from seeds to targets, oldest first."""
    # Arguments are created before results: nothing older than the oldest target depends on one, and
    # in that order, whether an argument is on the path is known before its result is looked at.
    oldest = min(node.order for node in targets)
    path = {}
    for node in sorted(_ancestors(seeds, oldest), key=lambda node: node.order):
        needed = [parent in path for parent in node.parents]
        if True in needed:
            check_not_used_up(node)
        if True in needed or node in targets:
            path[node] = needed
    return path


def _backpropagate(seeds, targets, create_graph, retain_graph):
    """{target: its gradient} for those that `seeds` reach. A loop, so that no graph is too deep."""
    if not targets:
        return {}
    path = _path(seeds, targets)
    gradients = {
        node: g if create_graph else g.detach() for node, g in seeds.items() if node in path
    }
    with _recording_is(create_graph):
        while path:  # newest first; nodes and gradients are let go of on the way: memory falls
            node, needed = path.popitem()
            if node not in gradients:
                continue
            # A target may lie in the middle: its gradient is passed on, and kept.
            result_g = gradients[node] if node in targets else gradients.pop(node)
            if True in needed:
                for parent, g in zip(node.parents, _input_gradients(node, result_g, needed)):
                    if g is not None:
                        gradients[parent] = gradients[parent] + g if parent in gradients else g
                if not retain_graph:
                    node.consume()
            result_g = g = None  # or they would outlive the next derivative
    return {node: gradients[node] for node in targets if node in gradients}


def _input_gradients(node, g, needed):
    """The gradients of a node's arguments (None where not needed), from that of its result."""
    if node.read:
        check_unchanged(node)
    # The same node, not a fresh leaf (which would cut the second derivative).
    y = None if node.y is None else wrap(node.y, node if _recording.get() else None)

    def run(derivative, *more):
        args = (g, y, *more) if reads_result(node.op, derivative) else (g, *more)
        if monitor is None:
            return derivative(*args)
        return monitor.run_derivative(node, lambda: derivative(*args))

    if node.op.joint:
        results = run(node.derivatives[0], needed)
        check_joint(node, results, needed)
    else:
        results = [run(d) if wanted else None for d, wanted in zip(node.derivatives, needed)]
    return [
        None if result is None or not wanted else checked_gradient(node, i, result)
        for i, (result, wanted) in enumerate(zip(results, needed))
    ]
