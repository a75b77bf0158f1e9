"""`trace`: the graph of a computation, with its values, to print or to draw."""

import collections
import dataclasses
import sys

import numpy as np

from tinygan.backend import to_numpy

from . import engine
from .inspect import Monitor
from .tensor import Parameter, Tensor


class trace(Monitor):
    """`with trace() as t:` records every op and its result: t.graph(y) shows how y was computed.

    A gradient that was computed inside the block has a graph too: t.graph(g). All results live as
    long as the trace, so use it for small expressions.
    """

    def __init__(self) -> None:
        self._log = []  # every argument and result, in order of appearance
        self._values = {}  # the same by key
        self._copies = []

    def run_op(self, op, args, settings, run):
        y = super().run_op(op, args, settings, run)
        xs = [x for x in args if isinstance(x, Tensor)]
        parents = () if y.node is None else y.node.parents
        flows = [x.node is not None and x.node in parents for x in xs]
        self._add(y, op, [(self._find(x) or self._add(x), flow) for x, flow in zip(xs, flows)])
        return y

    def _find(self, x):
        value = self._values.get(_key(x))
        if value is not None and value.is_number and value.tensor is not x:
            return None  # on a GPU, equal numbers share an array, but each is a node of its own
        return value

    def _add(self, x, op=None, inputs=()):
        data = x.data.copy() if isinstance(x, Parameter) else x.data
        value = self._values[_key(x)] = _Value(x, data, op, inputs, _in_backward())
        # for y.detach(): the same value, to which no gradient flows
        self._values.setdefault(id(x.data), value)
        self._log.append(value)
        return value

    def add_copy(self, original, copy):
        super().add_copy(original, copy)
        if copy.node is None and id(original) in self._values:
            self._values[_key(copy)] = self._values[id(original)]
            self._copies.append(copy)  # so that no other array gets its id

    def graph(
        self, y: Tensor, /, *others: Tensor, gradients: bool = False, **names: Tensor
    ) -> "Graph":
        """Return the Graph of everything that Tensor `y` was computed from.

        others: further Tensors of the computation; the graph then shows how they were computed,
        too.
        gradients: compute and show the gradient of y with respect to every value; y must then have
        one element, and its graph must not be used up.
        names: names for Tensors, as in t.graph(y, x=x, w=w).
        Raises ValueError if y was not computed inside the block.
        """
        needed = {self._find(x) for x in (y, *others)}
        if None in needed:
            raise ValueError("trace: this Tensor was not computed inside the block")
        for value in reversed(self._log):
            if value in needed:
                needed.update(x for x, _ in value.inputs)
        values = [value for value in self._log if value in needed]
        index = {value: i for i, value in enumerate(values)}
        name_of = {self._find(x): name for name, x in names.items()}
        differentiable = [value for value in values if gradients and value.tensor.requires_grad]
        xs = [value.tensor for value in differentiable]
        dxs = engine.grad(y, xs, retain_graph=True) if xs else []
        gradient_of = {v: to_numpy(g.data) for v, g in zip(differentiable, dxs) if g is not None}
        return Graph(
            [
                GraphNode(
                    name=name_of.get(value)
                    or (value.tensor.name if isinstance(value.tensor, Parameter) else None),
                    op=value.op and value.op.name,
                    value=to_numpy(value.data),
                    gradient=gradient_of.get(value),
                    requires_grad=value.tensor.requires_grad,
                    backward=value.backward,
                    inputs=[(index[x], flows) for x, flows in value.inputs],
                )
                for value in values
            ]
        )


@dataclasses.dataclass(eq=False)
class _Value:
    tensor: Tensor
    data: object
    op: object
    inputs: list  # (value, whether a gradient flows back to it) for each argument
    backward: bool

    @property
    def is_number(self):
        return self.op is None and self.tensor.node is None and self.tensor.ndim == 0


def _key(x):
    """A key for the value of Tensor x, which other Tensors may have too.

    An id is unique because the trace keeps x alive.
    """
    if isinstance(x, Parameter):
        return id(x), x.version.count  # it changes in place, and is then another value
    return id(x.data) if x.node is None else x.node


def _in_backward():
    """Return whether a backward pass is running.

    The call stack tells: a pass also adds up gradients, outside of any derivative.
    """
    frame = sys._getframe(1)
    while frame is not None and frame.f_code is not engine._backpropagate.__code__:
        frame = frame.f_back
    return frame is not None


@dataclasses.dataclass
class GraphNode:
    """A value in a Graph: an input of the computation (op is None), or the result of an op.

    value, gradient: arrays; gradient is None if it was not requested, or if none flows.
    backward: whether a backward pass computed it.
    inputs: (index into Graph.nodes, whether a gradient flows back there) for each argument.
    """

    name: str | None
    op: str | None
    value: np.ndarray
    gradient: np.ndarray | None
    requires_grad: bool
    backward: bool
    inputs: list[tuple[int, bool]]

    @property
    def kind(self) -> str:
        """One of "op", "backward op", "leaf" (an input that requires a gradient), "constant"."""
        if self.op:
            return "backward op" if self.backward else "op"
        return "leaf" if self.requires_grad else "constant"

    @property
    def is_number(self) -> bool:
        """Whether it is a constant without a name, such as the 2 in 2 * x."""
        return self.kind == "constant" and self.value.size == 1 and not self.name

    @property
    def lines(self) -> list[str]:
        """The text of its box: title, shape, values, gradient."""
        if self.is_number:
            return [summary(self.value)]
        title = " = ".join(filter(None, [self.name, self.op])) or self.kind
        shape = [str(self.value.shape)] if self.value.shape else []
        lines = [title, *shape, *summary(self.value).split("\n")]
        if self.gradient is not None:
            indented = summary(self.gradient).replace("\n", "\n" + " " * len("gradient "))
            lines += f"gradient {indented}".split("\n")
        return lines


COLOURS = {"op": "#dbe9f6", "backward op": "#d9f0dc", "leaf": "#fde3c0", "constant": "#eeeeee"}


@dataclasses.dataclass
class Graph:
    """The computation of a Tensor: `nodes` in the order of computation, the Tensor itself last.

    str(graph) lists the computation line by line; graph.dot() returns it in Graphviz's language;
    tinygan.autograd.drawing.draw_graph draws it.
    """

    nodes: list[GraphNode]

    @property
    def edges(self) -> list[tuple[int, int, bool]]:
        """(from, to, whether a gradient flows back) for each argument, as indices into nodes."""
        return [
            (source, target, flows)
            for target, node in enumerate(self.nodes)
            for source, flows in node.inputs
        ]

    def __str__(self) -> str:
        # Two layers may both have a Linear.weight.
        count = collections.Counter(node.name for node in self.nodes)
        names = [
            f"v{i}" if not node.name else node.name if count[node.name] == 1 else f"{node.name}#{i}"
            for i, node in enumerate(self.nodes)
        ]
        rows = []
        for i, node in enumerate(self.nodes):
            if node.is_number:
                names[i] = summary(node.value)  # written where it is used
                continue
            arguments = ", ".join(names[source] for source, _ in node.inputs)
            formula = f"{node.op}({arguments})" if node.op else node.kind
            shape = str(node.value.shape) if node.value.shape else ""
            gradient = "" if node.gradient is None else f"gradient {summary(node.gradient)}"
            values = (" ".join(text.split()) for text in (summary(node.value), gradient))
            rows.append((f"{names[i]} = {formula}", shape, *values))
        widths = [max(map(len, column)) for column in zip(*rows)]
        return "\n".join(
            "  ".join(text.ljust(n) for text, n in zip(row, widths) if n).rstrip() for row in rows
        )

    def dot(self) -> str:
        """The graph in Graphviz's language. No gradient flows back along a dashed arrow."""
        lines = [
            "digraph {",
            '  node [shape=box, style="rounded,filled", fontname=monospace, fontsize=10];',
        ]
        for i, node in enumerate(self.nodes):
            label = "\\n".join(node.lines).replace('"', r"\"")
            lines.append(f'  n{i} [label="{label}", fillcolor="{COLOURS[node.kind]}"];')
        for source, target, flows in self.edges:
            lines.append(f"  n{source} -> n{target}{'' if flows else ' [style=dashed]'};")
        return "\n".join(lines) + "\n}\n"


def summary(array: np.ndarray) -> str:
    """Describe the values of an array: up to six, or their mean and standard deviation."""
    if array.size == 1:
        return f"{array.item():.4g}"
    if not array.size:
        return "empty"
    if array.size <= 6:
        # to align the columns
        width = max(len(f"{v:.4g}") for v in array.flat) if array.ndim > 1 else 0
        return np.array2string(
            array, separator=", ", formatter={"float_kind": lambda v: f"{v:.4g}".rjust(width)}
        )
    with np.errstate(all="ignore"):
        return f"mean {array.mean():.3g}, std {array.std():.3g}"
