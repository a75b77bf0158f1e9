"""`trace`: the graph of a computation, with its values, as text and for drawing."""

import collections
import dataclasses
import sys

import numpy as np

from tinygan.backend import to_numpy

from . import engine
from .inspect import Monitor
from .tensor import Parameter, Tensor


class trace(Monitor):
    """`with trace() as t:` remembers every op and its result: t.graph(y) shows how y was computed.

    A gradient taken inside the block is a result like any other: t.graph(g) is the graph of that
    gradient. All results stay alive as long as the trace does, so this is for small expressions.
    """

    def __init__(self):
        self._log = []  # every argument and result, in the order of their appearance
        self._values = {}  # the same, by key

    def run_op(self, op, args, settings, run):
        y = super().run_op(op, args, settings, run)
        xs = [x for x in args if isinstance(x, Tensor)]
        parents = () if y.node is None else y.node.parents
        self._add(
            y,
            op,
            [(self._find(x) or self._add(x), x.node is not None and x.node in parents) for x in xs],
        )
        return y

    def _find(self, x):
        value = self._values.get(_key(x))
        if value is not None and value.is_number and value.tensor is not x:
            return None  # on a GPU equal numbers share an array; in a graph each stands by itself
        return value

    def _add(self, x, op=None, inputs=()):
        data = x.data.copy() if isinstance(x, Parameter) else x.data
        value = self._values[_key(x)] = _Value(x, data, op, inputs, _in_backward())
        # for y.detach(): the same value, but no gradient flows to it
        self._values.setdefault(id(x.data), value)
        self._log.append(value)
        return value

    def graph(self, y, /, gradients=False, **names):
        """The Graph of all that Tensor `y` was computed from.

        gradients: compute, and show, the gradient of y with respect to every value; y then has one
        element, and its graph must not be used up. names: what to call which Tensor, as in
        t.graph(y, x=x, w=w). Raises ValueError for a y that was not computed inside the block.
        """
        if (end := self._find(y)) is None:
            raise ValueError("trace: this Tensor was not computed inside the block")
        needed = {end}
        for value in reversed(self._log):
            if value in needed:
                needed.update(x for x, _ in value.inputs)
        values = [value for value in self._log if value in needed]
        position = {value: i for i, value in enumerate(values)}
        names = {self._find(x): name for name, x in names.items()}
        reached = [value for value in values if gradients and value.tensor.requires_grad]
        tensors = [value.tensor for value in reached]
        slopes = engine.grad(y, tensors, retain_graph=True) if reached else []
        slopes = {value: to_numpy(g.data) for value, g in zip(reached, slopes) if g is not None}
        return Graph(
            [
                GraphNode(
                    name=names.get(value)
                    or (value.tensor.name if isinstance(value.tensor, Parameter) else None),
                    op=value.op and value.op.name,
                    value=to_numpy(value.data),
                    gradient=slopes.get(value),
                    requires_grad=value.tensor.requires_grad,
                    backward=value.backward,
                    inputs=[(position[x], flows) for x, flows in value.inputs],
                )
                for value in values
            ]
        )


@dataclasses.dataclass(eq=False)
class _Value:
    tensor: Tensor
    data: object
    op: object
    inputs: list  # of (value, does a gradient flow back to it?)
    backward: bool

    @property
    def is_number(self):
        return self.op is None and self.tensor.node is None and self.tensor.ndim == 0


def _key(x):
    """What the Tensors that stand for one value share. (While we keep x alive, ids are its own.)"""
    if isinstance(x, Parameter):
        return id(x), x.version.count  # changes in place, and then is another value
    return id(x.data) if x.node is None else x.node


def _in_backward():
    """Is a backward pass running? It adds gradients outside any derivative: ask the call stack."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code is not engine._backpropagate.__code__:
        frame = frame.f_back
    return frame is not None


@dataclasses.dataclass
class GraphNode:
    """A value in a Graph: given from outside (op is None), or the result of `op` on its `inputs`.

    inputs: (index into Graph.nodes, whether a gradient flows back there) per argument; value,
    gradient: arrays, gradient None where none was asked for or none flows; backward: made by a
    backward pass.
    """

    name: str | None
    op: str | None
    value: np.ndarray
    gradient: np.ndarray | None
    requires_grad: bool
    backward: bool
    inputs: list

    @property
    def kind(self):
        """ "op", "backward op", or for a value that was given, "leaf" (requires a gradient) or
        "constant"."""
        if self.op:
            return "backward op" if self.backward else "op"
        return "leaf" if self.requires_grad else "constant"

    @property
    def is_number(self):
        """A constant without a name, such as the 2 in 2 * x."""
        return self.kind == "constant" and self.value.size == 1 and not self.name

    @property
    def lines(self):
        """What to write into its box: title, shape, values, gradient."""
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
    """How a Tensor was computed: `nodes` in the order of computation, the Tensor itself last.

    str(graph) lists the computation line by line; graph.dot() is Graphviz text;
    tinygan.autograd.drawing.draw_graph draws it.
    """

    nodes: list

    @property
    def edges(self):
        """(from, to, whether a gradient flows back) per argument of each op; indices into nodes."""
        return [
            (source, target, flows)
            for target, node in enumerate(self.nodes)
            for source, flows in node.inputs
        ]

    def __str__(self):
        # two layers may both own a Linear.weight
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
            given = ", ".join(names[source] for source, _ in node.inputs)
            made = f"{node.op}({given})" if node.op else node.kind
            slope = "" if node.gradient is None else f"gradient {summary(node.gradient)}"
            rows.append(
                (
                    f"{names[i]} = {made}",
                    str(node.value.shape) if node.value.shape else "",
                    *(" ".join(text.split()) for text in (summary(node.value), slope)),
                )
            )
        widths = [max(map(len, column)) for column in zip(*rows)]
        return "\n".join(
            "  ".join(text.ljust(n) for text, n in zip(row, widths) if n).rstrip() for row in rows
        )

    def dot(self):
        """The graph in Graphviz's language. Dashed: an argument that no gradient flows back to."""
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


def summary(array):
    """The values of an array in a few characters: all of them up to six, else mean and standard
    deviation."""
    if array.size == 1:
        return f"{array.item():.4g}"
    if not array.size:
        return "empty"
    if array.size <= 6:
        # to line up the columns
        width = max(len(f"{v:.4g}") for v in array.flat) if array.ndim > 1 else 0
        return np.array2string(
            array, separator=", ", formatter={"float_kind": lambda v: f"{v:.4g}".rjust(width)}
        )
    with np.errstate(all="ignore"):
        return f"mean {array.mean():.3g}, std {array.std():.3g}"
