"""One backward pass, step by step: the graph of a small expression, forward, backward, and backward
through the backward pass.

    x y + x        dz/dx = y + 1, whose derivative by y is 1
    D(x)           a D of two layers; its gradient at x, which says how to change x
    R1             gamma/2 |dD/dx|^2, whose gradient needs the derivative of a derivative

`walk` returns the nodes of the graph, where to draw them, and the steps: which node gets its value
or its gradient next, and why.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tinygan import ops
from tinygan.autograd import Tensor, grad, tensor
from tinygan.autograd.drawing import layout
from tinygan.autograd.trace import Graph, trace
from tinygan.errors import InputError, choose_from

GAMMA = 1.0
W1, W2 = [[0.5, -1.0], [1.0, 0.5]], [1.5, -0.5]
PIXELS = 96  # in an inch
CHARACTER, LINE = 8, 15  # of the page's text, in pixels


def product(x: Tensor, y: Tensor) -> Tensor:
    return x * y + x


def discriminator(x: Tensor, w1: Tensor, w2: Tensor) -> Tensor:
    return ops.sum(ops.leaky_relu(x @ w1) * w2)


# name: (the function, its inputs with their values, the one that is differentiated, the source)
EXPRESSIONS: dict[str, tuple[Callable[..., Tensor], dict[str, Any], str, str]] = {
    "x y + x": (
        product,
        {"x": 2.0, "y": 3.0},
        "x",
        "z = x * y + x\ndx = grad(z, x, create_graph=True)\n# second order: grad(dx, [x, y])",
    ),
    "D(x)": (
        discriminator,
        {"x": [[1.0, 0.5]], "w1": W1, "w2": W2},
        "x",
        "logit = sum(leaky_relu(x @ w1) * w2)\ndx = grad(logit, x, create_graph=True)\n"
        "# second order: grad(sum(dx), [x, w1, w2])",
    ),
    "R1": (
        discriminator,
        {"x": [[1.0, 0.5]], "w1": W1, "w2": W2},
        "x",
        "logit = sum(leaky_relu(x @ w1) * w2)\ndx = grad(logit, x, create_graph=True)\n"
        "r1 = 0.5 * gamma * sum(dx ** 2)\n# second order: grad(r1, [w1, w2])",
    ),
}


def inputs_of(name: str, given: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the inputs of an expression. given: {input: a number, or a list of its shape} for
    those that differ from the usual ones. Raises InputError for others."""
    _, usual, _, _ = EXPRESSIONS[name]
    if unknown := given.keys() - usual.keys():
        raise InputError(f"{name}: unknown input {min(unknown)!r}: {choose_from(usual, '')}")
    inputs = {}
    for key, value in {**usual, **given}.items():
        try:
            array = np.asarray(value, np.float64)
        except (TypeError, ValueError):
            array = np.full((), np.nan)
        if array.shape != np.shape(usual[key]) or not (np.abs(array) <= 1e6).all():
            raise InputError(
                f"{name}: {key} must be numbers of shape {np.shape(usual[key])}, from -1e6 to 1e6"
            )
        inputs[key] = tensor(array, requires_grad=True, dtype="float64")
    return inputs


def walk(name: str, order: int, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return {"nodes", "edges", "steps", "size", "source", "inputs"} for an expression.

    order: 1 for the backward pass, 2 for the backward pass through it. Raises InputError for an
    unknown expression, another order, or wrong inputs.
    """
    if name not in EXPRESSIONS:
        raise InputError(f"expression {name!r}: {choose_from(EXPRESSIONS, name)}")
    if order not in (1, 2):
        raise InputError(f"order={order!r}: must be 1 or 2")
    function, usual, by, source = EXPRESSIONS[name]
    inputs = inputs_of(name, given)
    with trace() as t:
        y = function(**inputs)
        dx = grad(y, inputs[by], create_graph=True)
        if name == "R1":
            last = 0.5 * GAMMA * ops.sum(dx**2)
        else:
            last = ops.sum(dx) if dx.shape else dx
        graph = t.graph(last, y, gradients=order == 2, **inputs, **{f"d{by}": dx})
    return {
        **drawn(graph),
        "steps": steps(graph, order),
        "source": source,
        "inputs": {key: np.asarray(inputs[key].data).tolist() for key in usual},
    }


def steps(graph: Graph, order: int) -> list[dict[str, Any]]:
    """Return the steps: {"node", "shows": "value" or "gradient", "pass": "forward", "backward" or
    "second"}."""
    begun, found = False, []  # whether the backward pass has begun, whose constants belong to it
    for i, node in enumerate(graph.nodes):
        begun = begun or node.backward
        which = "backward" if begun else "forward"
        found.append({"node": i, "shows": "value", "pass": which})
    if order == 2:
        found += [
            {"node": i, "shows": "gradient", "pass": "second"}
            for i in reversed(range(len(graph.nodes)))
            if graph.nodes[i].gradient is not None
        ]
    return found


def drawn(graph: Graph) -> dict[str, Any]:
    """Return the nodes with their texts and places, the edges as lists of points, and the size of
    the drawing, in pixels."""
    texts = [
        {
            "name": node.name or node.op or "constant",
            "title": f"{node.name} = {node.op}"
            if node.name and node.op
            else node.name or node.op or "constant",
            "value": in_short(node.value),
            "gradient": None if node.gradient is None else in_short(node.gradient),
        }
        for node in graph.nodes
    ]
    sizes = []
    for text in texts:
        longest = max(len(text["title"]), len(text["value"]), len(text["gradient"] or "") + 2)
        lines = 2 if text["gradient"] is None else 3
        sizes.append(((longest + 2) * CHARACTER / PIXELS, (lines * LINE + 10) / PIXELS))
    centres, routes, size = layout(graph, sizes)
    pixels = lambda points: [[round(PIXELS * v, 1) for v in point] for point in points]
    nodes = [
        {**t, "backward": node.backward, "centre": c, "size": s}
        for t, node, c, s in zip(texts, graph.nodes, pixels(centres), pixels(sizes))
    ]
    edges = [
        {"from": a, "to": b, "flows": flows, "points": pixels(points)}
        for (a, b, flows), points in zip(graph.edges, routes)
    ]
    return {"nodes": nodes, "edges": edges, "size": pixels([size])[0]}


def in_short(array: Any) -> str:
    """Return an array of at most a few numbers as a text."""
    if array.ndim == 0:
        return f"{float(array):.4g}"
    return "[" + ", ".join(in_short(part) for part in array) + "]"
