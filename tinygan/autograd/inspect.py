"""Looking inside: `anomaly` finds the first NaN, `profile` times every op, `trace` draws the graph.

All three are monitors: while one is active, the engine hands it every op and every derivative to run.
"""

import collections
import contextlib
import dataclasses
import functools
import inspect
import linecache
import os
import sys
import time

import numpy as np

from tinygan.backend import to_numpy, xp

from . import engine
from .tensor import Parameter, Tensor


class Monitor:
    """Stands around every op and derivative that runs inside its `with` block. This one only looks on.

    Monitors nest: each passes on to the one that was there before it, and puts that one back at the end.
    """

    _outer = None

    def __enter__(self):
        self._outer, engine.monitor = engine.monitor, self
        return self

    def __exit__(self, *exception):
        engine.monitor = self._outer

    def run_op(self, op, args, settings, run):
        """Run op(*args, **settings) by calling run(), and return its result, a Tensor."""
        return run() if self._outer is None else self._outer.run_op(op, args, settings, run)

    def run_derivative(self, node, run):
        """Run a derivative of node's op by calling run(). Returns a gradient; of a joint op, a sequence."""
        return run() if self._outer is None else self._outer.run_derivative(node, run)


def _name(op):
    return op.name.lstrip("_")  # _embedding is the op behind the function embedding


# ----------------------------------------------------------------------------------------- anomaly


class anomaly(Monitor):
    """`with anomaly():` stops at the first NaN or infinity, forward or backward, with FloatingPointError.

    The message names the op and the line of your source (the innermost outside tinygan) that called it. In
    a backward pass it names the op whose derivative went wrong, and the line that called that op in the
    forward pass: so run both passes inside the block. NumPy's own warnings are silent meanwhile.
    """

    def __init__(self):
        self._differentiating = []  # nodes whose derivatives are running: the user's op first

    def run_op(self, op, args, settings, run):
        with np.errstate(all="ignore"):
            y = super().run_op(op, args, settings, run)
        if y.node is not None:
            y.node.where = self._where()
        if trouble := _trouble(y):
            for i, x in enumerate(args):
                # Every op in this block has been checked, so what an argument holds came from elsewhere.
                if isinstance(x, Tensor) and (given := _trouble(x)):
                    raise self._error(_name(op), f"was given {given} from outside, as argument {i}")
            raise self._error(_name(op), f"made {trouble}")
        return y

    def run_derivative(self, node, run):
        self._differentiating.append(node)
        try:
            with np.errstate(all="ignore"):
                gradients = super().run_derivative(node, run)
            # The ops of the derivative were checked one by one; this is for kernels, which work on arrays.
            for g in [gradients] if isinstance(gradients, Tensor) else gradients or ():
                if isinstance(g, Tensor) and (trouble := _trouble(g)):
                    raise self._error(None, f"made {trouble}")
            return gradients
        finally:
            self._differentiating.pop()

    def _where(self):
        """The line behind the op that runs now. Inside a derivative: that of the op being differentiated."""
        if not self._differentiating:
            return user_line()
        node = self._differentiating[0]
        return node.where and f"{node.where} (differentiating {_name(node.op)})"

    def _error(self, op, did):
        if not self._differentiating:
            return FloatingPointError(f"{op} {did}; called at {user_line()}")
        node = self._differentiating[0]
        inside = f" (in its {op})" if op else ""
        where = f"at {node.where}" if node.where else "outside anomaly(), so its line is unknown"
        name = _name(node.op)
        return FloatingPointError(f"the derivative of {name} {did}{inside}; {name} was called {where}")


def _trouble(x):
    """What is wrong with the values of Tensor x ("NaN in 2 of 6 values"), or None."""
    finite = xp.isfinite(x.data)
    if finite.all():
        return None
    bad = x.size - int(finite.sum())
    return f"{'NaN' if xp.isnan(x.data).any() else 'inf'} in {bad} of {x.size} values"


_NOT_THE_USERS = (os.path.dirname(os.path.dirname(__file__)) + os.sep, contextlib.__file__)


def user_line():
    """The innermost line now running outside tinygan, as "file:line: source text"."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_NOT_THE_USERS):
        frame = frame.f_back
    file, line = frame.f_code.co_filename, frame.f_lineno
    source = linecache.getline(file, line, frame.f_globals).strip()
    return f"{file}:{line}" + (f": {source}" if source else "")


# ----------------------------------------------------------------------------------------- profile


@dataclasses.dataclass
class Row:
    """A line of a profile. seconds: self time, without the ops called inside; flop: 0 where unknown."""

    name: str
    calls: int = 0
    seconds: float = 0.0
    flop: int = 0

    @property
    def gflops(self):
        """Speed in GFLOP/s (10^9 floating-point operations a second), or None."""
        return self.flop / self.seconds / 1e9 if self.flop and self.seconds else None


class profile(Monitor):
    """`with profile() as p:` prints where the time of the block went, op by op; str(p) is that table.

    An op's row is its forward computation. `name'` is the derivative of op `name` by itself: what a fused
    kernel computed, or the Python between the ops that the derivative called, which have rows of their own.
    So nothing counts twice, and the rows and "python and the rest" add up to the wall time. A multiply-add
    counts as two operations. (On a GPU, this is the time to launch the work rather than to do it.)

    rows: Row objects, the slowest first; wall: seconds from start to end of the block.
    """

    def __init__(self):
        self._rows = {}
        self._inside = [0.0]  # for the block, and each op or derivative now running: seconds in what it called
        self.wall = 0.0

    def __enter__(self):
        self._start = time.perf_counter()
        return super().__enter__()

    def __exit__(self, *exception):
        super().__exit__(*exception)
        self.wall += time.perf_counter() - self._start
        print(self)

    def run_op(self, op, args, settings, run):
        y = self._timed(_name(op), lambda: super(profile, self).run_op(op, args, settings, run))
        if op.cost is not None:
            start = time.perf_counter()
            self._rows[_name(op)].flop += 2 * multiply_adds(op, y, args, settings)
            self._inside[-1] += time.perf_counter() - start  # our own work: not the caller's
        return y

    def run_derivative(self, node, run):
        return self._timed(_name(node.op) + "'", lambda: super(profile, self).run_derivative(node, run))

    def _timed(self, name, run):
        row = self._rows.setdefault(name, Row(name))
        row.calls += 1
        self._inside.append(0.0)
        start = time.perf_counter()
        try:
            return run()
        finally:
            seconds = time.perf_counter() - start
            row.seconds += seconds - self._inside.pop()
            self._inside[-1] += seconds

    @property
    def rows(self):
        return sorted(self._rows.values(), key=lambda row: -row.seconds)

    def __str__(self):
        shown = [row for row in self.rows if row.seconds >= 0.005 * self.wall]
        others = self.rows[len(shown):]
        if others:
            shown.append(Row(f"{len(others)} more below 0.5%", sum(row.calls for row in others),
                             sum(row.seconds for row in others)))
        inside = sum(row.seconds for row in self.rows)
        total = [Row("python and the rest", seconds=self.wall - inside), Row("wall time", seconds=self.wall)]
        lines = [f"{'op':<28}{'calls':>7}{'ms':>11}{'share':>8}{'GFLOP/s':>9}"]
        for row in shown + total:
            speed = f"{row.gflops:.1f}" if row.gflops else ""
            lines.append(f"{row.name:<28}{row.calls or '':>7}{1e3 * row.seconds:>11.2f}"
                         f"{row.seconds / (self.wall or 1):>8.1%}{speed:>9}")
        lines.insert(-len(total), "-" * len(lines[0]))
        return "\n".join(lines)


_signature = functools.cache(inspect.signature)


def multiply_adds(op, y, args, settings):
    """What the call y = op(*args, **settings) cost, by the op's `cost` function."""
    call = _signature(op).bind(*args, **settings)
    call.apply_defaults()
    named = {name: value for name, value in call.arguments.items()
             if name in _signature(op.cost).parameters and not isinstance(value, Tensor)}
    return op.cost(y.data, *(x.data for x in args if isinstance(x, Tensor)), **named)


# ------------------------------------------------------------------------------------------- trace


class trace(Monitor):
    """`with trace() as t:` remembers every op and its result; then t.graph(y) shows how y was computed.

    A gradient taken inside the block is a result like any other: t.graph(g) is the graph of that gradient.
    All results stay alive as long as the trace does, so this is for small expressions.
    """

    def __init__(self):
        self._log = []  # every argument and result, in the order of their appearance
        self._values = {}  # the same, by key

    def run_op(self, op, args, settings, run):
        y = super().run_op(op, args, settings, run)
        xs = [x for x in args if isinstance(x, Tensor)]
        parents = () if y.node is None else y.node.parents
        self._add(y, op, [(self._find(x) or self._add(x), x.node is not None and x.node in parents) for x in xs])
        return y

    def _find(self, x):
        return self._values.get(_key(x))

    def _add(self, x, op=None, inputs=()):
        data = x.data.copy() if isinstance(x, Parameter) else x.data
        value = self._values[_key(x)] = _Value(x, data, op, inputs, _in_backward())
        self._values.setdefault(id(x.data), value)  # for y.detach(): the same value, but no gradient flows to it
        self._log.append(value)
        return value

    def graph(self, y, /, gradients=False, **names):
        """The Graph of all that Tensor `y` was computed from.

        gradients: compute, and show, the gradient of y with respect to every value; y then has one element,
        and its graph must not be used up. names: what to call which Tensor, as in t.graph(y, x=x, w=w).
        Raises ValueError for a y that was not computed inside the block.
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
        slopes = engine.grad(y, [value.tensor for value in reached], retain_graph=True) if reached else []
        slopes = {value: to_numpy(g.data) for value, g in zip(reached, slopes) if g is not None}
        return Graph([GraphNode(
            name=names.get(value) or (value.tensor.name if isinstance(value.tensor, Parameter) else None),
            op=value.op and _name(value.op),
            value=to_numpy(value.data),
            gradient=slopes.get(value),
            requires_grad=value.tensor.requires_grad,
            backward=value.backward,
            inputs=[(position[x], flows) for x, flows in value.inputs],
        ) for value in values])


@dataclasses.dataclass(eq=False)
class _Value:
    tensor: Tensor
    data: object
    op: object
    inputs: list  # of (value, does a gradient flow back to it?)
    backward: bool


def _key(x):
    """What the Tensors that stand for one value have in common. (While we keep x alive, ids are its own.)"""
    if isinstance(x, Parameter):
        return id(x), x.version.count  # changes in place, and then is another value
    return id(x.data) if x.node is None else x.node


def _in_backward():
    """Is a backward pass running? It adds gradients up outside any derivative, so ask the call stack."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code is not engine._backpropagate.__code__:
        frame = frame.f_back
    return frame is not None


@dataclasses.dataclass
class GraphNode:
    """A value in a Graph: given from outside (op is None), or the result of `op` on its `inputs`.

    inputs: (index into Graph.nodes, whether a gradient flows back there) per argument; value, gradient:
    arrays, gradient None where none was asked for or none flows; backward: made by a backward pass.
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
        """"op", "backward op", or for a value that was given, "leaf" (requires a gradient) or "constant"."""
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
        lines = [title] + [str(self.value.shape)] * bool(self.value.shape) + summary(self.value).split("\n")
        if self.gradient is not None:
            lines += ("gradient " + summary(self.gradient).replace("\n", "\n" + " " * 9)).split("\n")
        return lines


COLOURS = {"op": "#dbe9f6", "backward op": "#d9f0dc", "leaf": "#fde3c0", "constant": "#eeeeee"}


@dataclasses.dataclass
class Graph:
    """How a Tensor was computed: `nodes` in the order of computation, the Tensor itself last.

    str(graph) lists the computation line by line; graph.dot() is Graphviz text; tinygan.drawing.draw_graph
    draws it.
    """

    nodes: list

    @property
    def edges(self):
        """(from, to, whether a gradient flows back) for every argument of every op; indices into nodes."""
        return [(source, target, flows) for target, node in enumerate(self.nodes) for source, flows in node.inputs]

    def __str__(self):
        given = collections.Counter(node.name for node in self.nodes)  # two layers may both own a Linear.weight
        names = [f"v{i}" if not node.name else node.name if given[node.name] == 1 else f"{node.name}#{i}"
                 for i, node in enumerate(self.nodes)]
        rows = []
        for i, node in enumerate(self.nodes):
            if node.is_number:
                names[i] = summary(node.value)  # written where it is used
                continue
            made = f"{node.op}({', '.join(names[source] for source, _ in node.inputs)})" if node.op else node.kind
            shape = str(node.value.shape) if node.value.shape else ""
            values = " ".join(summary(node.value).split())
            slope = "" if node.gradient is None else "gradient " + " ".join(summary(node.gradient).split())
            rows.append((f"{names[i]} = {made}", shape, values, slope))
        widths = [max(map(len, column)) for column in zip(*rows)]
        return "\n".join("  ".join(text.ljust(n) for text, n in zip(row, widths) if n).rstrip() for row in rows)

    def dot(self):
        """The graph in Graphviz's language. Dashed: an argument that no gradient flows back to."""
        lines = ["digraph {", '  node [shape=box, style="rounded,filled", fontname=monospace, fontsize=10];']
        for i, node in enumerate(self.nodes):
            label = "\\n".join(node.lines).replace('"', r'\"')
            lines.append(f'  n{i} [label="{label}", fillcolor="{COLOURS[node.kind]}"];')
        for source, target, flows in self.edges:
            lines.append(f"  n{source} -> n{target}{'' if flows else ' [style=dashed]'};")
        return "\n".join(lines) + "\n}\n"


def summary(array):
    """The values of an array in a few characters: all of them up to six, else mean and standard deviation."""
    if array.size == 1:
        return f"{array.item():.4g}"
    if not array.size:
        return "empty"
    if array.size <= 6:
        width = max(len(f"{v:.4g}") for v in array.flat) if array.ndim > 1 else 0  # to line up the columns
        return np.array2string(array, separator=", ", formatter={"float_kind": lambda v: f"{v:.4g}".rjust(width)})
    with np.errstate(all="ignore"):
        return f"mean {array.mean():.3g}, std {array.std():.3g}"
