"""The engine: ops that record how their results were computed, and the backward pass.

An op is a plain function that returns its value and one derivative for each Tensor argument. The
derivatives are computed with ops too. When these are recorded while they run
(`create_graph=True`), second and third derivatives need no further machinery.

These eight lines are the core of a backward pass (where the derivatives need only g, and no
argument broadcasts):

    def gradients_of(output, inputs):
        gradients = {output.node: Tensor(xp.ones(output.shape, output.dtype))}
        for node in sorted(_ancestors([output.node]), key=lambda node: -node.order):  # newest first
            for parent, derivative in zip(node.parents, node.derivatives):
                if parent is not None:
                    g = derivative(gradients[node])
                    gradients[parent] = gradients[parent] + g if parent in gradients else g
        return [gradients[x.node] for x in inputs]

`grad` does more: it visits only the nodes between the outputs and the inputs, passes the result y
to the derivatives that read it, and frees nodes and gradients on the way. checks.py checks the
arguments and writes the error messages. It also decides whether a derivative takes y
(`reads_result`), and sums the gradient of an argument that was broadcast back to the argument's
shape (`checked_gradient`).
"""

import functools

from tinygan.backend import xp

from .checks import (
    ARGUMENT_ERRORS,
    as_tensors,
    check_gradient_count,
    check_not_used_up,
    check_unchanged,
    checked_gradient,
    checked_inputs,
    checked_seeds,
    op_error,
    reads_result,
    result_error,
    tensor_parameters,
    version_of_view,
)
from .gradient_hooks import after_hooks
from .ownership import constant_settings, with_own_arrays
from .recording import differentiating, no_grad, recording, state  # noqa: F401 (for users)
from .tensor import Node, Tensor, wrap

monitor = None  # an inspect.Monitor (anomaly, profile, trace) that runs all ops and derivatives


# ---- ops ----


def op(function=None, *, broadcasts=False, joint=False, cost=None, name=None):
    """Turn `function(x1, x2, ..., /, settings)` into a differentiable op on Tensors.

    The parameters before `/`, and `*xs`, are Tensors; the others are settings, which are constants.
    `function` returns `(value, derivative_1, derivative_2, ...)`: an array, and one derivative for
    each Tensor. A *derivative* here is a vector-Jacobian product: it maps g, the gradient of the
    result, to the gradient of one argument (both derivatives of `add` are `lambda g: g`). It is a
    function of g, or of (g, y), where y is the result itself. It calls ops and returns a Tensor.
    None in place of a derivative means that no gradient flows to that argument. The graph keeps y
    only if a derivative takes it.

    joint: one derivative returns the gradients of all arguments, because they share the work. It is
    a function of (g, needed) or (g, y, needed). needed[i] says whether the gradient of argument i
    is needed; if not, anything may stand in its place.
    broadcasts: True if the arguments broadcast against each other; their gradients are then summed
    back to their shapes. "batch" if all axes but the last two broadcast (matmul). False: each
    gradient must have the shape of its argument.
    cost: the number of multiply-adds, for `profile` and `tinygan show`: a function of the arrays
    (value, *arguments), and of the settings that it names.
    name: the op's name in messages and profiles; by default the function's.
    """
    if function is None:
        return functools.partial(op, broadcasts=broadcasts, joint=joint, cost=cost, name=name)
    count, variadic = tensor_parameters(function)

    @functools.wraps(function)
    def call(*args, **settings):
        xs, rest = (args, ()) if variadic else (args[:count], args[count:])
        try:
            xs = as_tensors(call.name, xs, optional=joint)
            if rest or settings:
                rest, settings = constant_settings(call.name, rest, settings)
            if monitor is None:
                return _record(call, xs, *function(*xs, *rest, **settings))
            run = lambda: _record(call, xs, *function(*xs, *rest, **settings))
            return monitor.run_op(call, (*xs, *rest), settings, run)
        except ARGUMENT_ERRORS as error:
            raise op_error(call.name, error, args, settings)

    call.name = name or function.__name__.lstrip("_")
    call.broadcasts, call.joint, call.cost = broadcasts, joint, cost
    return call


def _record(op, xs, value, *derivatives):
    """Return the op's value as a Tensor, with a node if a gradient can flow back from it."""
    if type(value) is not xp.ndarray:
        value = xp.asarray(value)  # NumPy's full reductions give a scalar, not a 0-d array
    if value.dtype != xs[0].data.dtype or len(derivatives) != (1 if op.joint else len(xs)):
        raise result_error(op, value, xs, derivatives)
    parents, versions = [], []
    for x in xs:
        parents.append(None if x is None else x.node)
        if x is not None and x.version is not None:
            versions.append((x.version, x.version.count))
    version = version_of_view(value, xs) if versions else None
    if not state.get():  # `recording()`, without a call
        return wrap(value, None, version)
    y, derivatives = None, list(derivatives)
    for i, derivative in enumerate(derivatives):
        if derivative is None:
            parents[i] = None
        elif parents[i] is None and not op.joint:
            derivatives[i] = None  # frees the Tensors that it names
        elif y is None and reads_result(op, derivative):
            y = value
    if not any(parents):
        return wrap(value, None, version)
    return wrap(value, Node(op, value, parents, derivatives, y, versions), version)


# ---- differentiation ----


def grad(outputs, inputs, grad_outputs=None, create_graph=False, retain_graph=None):
    """Return the gradients of `outputs` with respect to `inputs`.

    This is the vector-Jacobian product with `grad_outputs`.

    outputs: a Tensor, or a sequence of Tensors whose gradients add up.
    inputs: a Tensor, for one gradient, or a sequence of Tensors, for a list of gradients. They may
    lie in the middle of the graph. The gradient is None for an input that no output depends on,
    and in a list, for a Parameter that is frozen (its requires_grad is False).
    grad_outputs: the gradients of the outputs, of their shapes; may be omitted for outputs of one
    element, where it is 1.
    create_graph: record the gradients, so that they can be differentiated in turn.
    retain_graph: keep the graph for another backward pass; otherwise the pass frees it. Default:
    the value of create_graph.

    Each gradient has an array of its own, which you may change.

    Raises ValueError if an input or output does not require a gradient, or if grad_outputs is
    missing; RuntimeError if an earlier pass used the graph up, or if a parameter that an op read
    has changed since.
    """
    xs = checked_inputs(inputs)
    if xs and not any(x.requires_grad for x in xs):
        return [None] * len(xs)  # all are frozen, and the outputs may be constants
    results = with_own_arrays(
        gradients_for_ops(outputs, xs, grad_outputs, create_graph, retain_graph), monitor
    )
    return results[0] if isinstance(inputs, Tensor) else results


def gradients_for_ops(outputs, inputs, grad_outputs=None, create_graph=False, retain_graph=None):
    """Do what `grad` does, for a list of inputs. The gradients may share memory with each other,
    with the graph and with grad_outputs."""
    gradients = _backpropagate(
        _seeds(outputs, grad_outputs),
        {x.node for x in inputs if x.node is not None},
        create_graph,
        create_graph if retain_graph is None else retain_graph,
    )
    return [gradients.get(x.node) for x in inputs]


def backward(output, grad_output=None, retain_graph=False):
    """Add the gradients of `output` to `.grad` of every leaf that it depends on. First order only.

    grad_output: the gradient of `output`, of its shape; may be omitted for one element. Gradients
    accumulate over calls until `.grad` is set to None.
    """
    seeds = _seeds(output, grad_output)
    leaves = {node for node in _ancestors(seeds) if node.leaf is not None}
    gradients = _backpropagate(seeds, leaves, False, retain_graph)
    leaves = list(gradients)
    gradients = with_own_arrays([gradients.pop(node) for node in leaves], monitor)
    for node, g in zip(leaves, gradients):
        if (leaf := node.leaf()) is not None and leaf.node is node:  # it was not frozen since
            leaf.grad = g if leaf.grad is None else leaf.grad.detach() + g


Tensor.backward = backward


def _seeds(outputs, grad_outputs):
    """Return {node of an output: the gradient that enters the graph there}."""
    seeds = {}
    for y, g in checked_seeds(outputs, grad_outputs):
        seeds[y.node] = seeds[y.node] + g if y.node in seeds else g
    return seeds


def _ancestors(nodes, oldest=0):
    """Return all nodes that `nodes` depend on, themselves included, none older than `oldest`."""
    ancestors, pending = set(nodes), list(nodes)
    while pending:
        for parent in pending.pop().parents:
            if parent is not None and parent.order >= oldest and parent not in ancestors:
                ancestors.add(parent)
                pending.append(parent)
    return ancestors


def _path(seeds, targets):
    """Return {node: [does argument i need a gradient?]} from targets to seeds, oldest first."""
    # Arguments are created before results. So no node older than the oldest target depends on a
    # target, and in this order, we visit the arguments of a node before the node itself.
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
    """Return {target: its gradient} for the targets that `seeds` reach.

    A loop, not a recursion: no graph is too deep.
    """
    if not targets:
        return {}
    path = _path(seeds, targets)
    gradients = {
        node: g if create_graph else g.detach() for node, g in seeds.items() if node in path
    }
    with differentiating(create_graph):
        while path:  # newest first; nodes and gradients are freed on the way
            node, needed = path.popitem()
            if node not in gradients:
                continue
            g_result = gradients.pop(node)  # it is complete: all that depends on the node is newer
            if node.hooks:
                g_result = after_hooks(node, g_result)
            if node in targets:  # it may lie in the middle: its gradient is passed on and kept
                gradients[node] = g_result
            if True in needed:
                for parent, g in zip(node.parents, _input_gradients(node, g_result, needed)):
                    if g is not None:
                        gradients[parent] = gradients[parent] + g if parent in gradients else g
                if not retain_graph:
                    node.consume()
            g_result = g = None  # or they would live on during the next derivative
    return {node: gradients[node] for node in targets if node in gradients}


def _input_gradients(node, g, needed):
    """Return the gradients of a node's arguments (None where not needed); g: that of its result."""
    if node.versions:
        check_unchanged(node)
    # Give y the node that computed it, so that a second derivative flows through y back to the
    # arguments.
    y = None if node.y is None else wrap(node.y, node if state.get() else None)

    def run(derivative, *more):
        args = (g, y, *more) if reads_result(node.op, derivative) else (g, *more)
        if monitor is None:
            return derivative(*args)
        return monitor.run_derivative(node, lambda: derivative(*args))

    if node.op.joint:
        results = run(node.derivatives[0], needed)
        check_gradient_count(node, results, needed)
    else:
        results = [run(d) if needs else None for d, needs in zip(node.derivatives, needed)]
    return [
        checked_gradient(node, i, result) if needs and result is not None else None
        for i, (result, needs) in enumerate(zip(results, needed))
    ]
