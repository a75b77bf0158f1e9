"""Tools to inspect a computation: `anomaly` finds the first NaN, `profile` times every op.

They are monitors: while one is active, the engine passes every op and derivative to it to run.
"""

import contextlib
import dataclasses
import functools
import inspect
import linecache
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from tinygan.backend import xp

from . import engine
from .tensor import Node, Tensor
from .types import Op

M = TypeVar("M", bound="Monitor")


class Monitor:
    """A context manager that observes every op and derivative that runs until its `with` block
    ends, in all threads.

    Monitors nest: each calls the monitor outside it, and restores that one at the end. This base
    class changes nothing; subclasses override its methods.
    """

    def __enter__(self: M) -> M:
        if hasattr(self, "_outer"):
            raise RuntimeError(f"this {type(self).__name__} is already active: create another one")
        self._outer, engine.monitor = engine.monitor, self
        return self

    def __exit__(self, *exception: Any) -> None:
        if engine.monitor is self:
            engine.monitor = self._outer
        else:  # one that began inside this block is still active: generators end in any order
            inner = engine.monitor
            while inner._outer is not self:
                inner = inner._outer
            inner._outer = self._outer
        del self._outer

    def run_op(
        self,
        op: Op[...],
        args: tuple[Any, ...],
        settings: dict[str, Any],
        run: Callable[[], Tensor],
    ) -> Tensor:
        """Run op(*args, **settings) by calling run(), and return its result, a Tensor."""
        return run() if self._outer is None else self._outer.run_op(op, args, settings, run)

    def run_derivative(self, node: Node, run: Callable[[], Any]) -> Any:
        """Run a derivative of node's op by calling run(), and return its gradient.

        If the op is joint, return a sequence of gradients.
        """
        return run() if self._outer is None else self._outer.run_derivative(node, run)

    def add_derivative_cost(self, op: Op[...], multiply_adds: int) -> None:
        """Add to the cost of the derivative of `op`; for kernels, which call no ops."""
        if self._outer is not None:
            self._outer.add_derivative_cost(op, multiply_adds)

    def add_copy(self, original: Any, copy: Tensor) -> None:
        """Take note that `copy`, a gradient that `grad` returns, has the values of the array
        `original`, the result of an op."""
        if self._outer is not None:
            self._outer.add_copy(original, copy)

    def run_work(self, name: str, run: Callable[[], Any]) -> Any:
        """Run other work on arrays, such as an update of an optimiser, by calling run()."""
        return run() if self._outer is None else self._outer.run_work(name, run)


def report_cost(op: Op[...], multiply_adds: Callable[[], int]) -> None:
    """Report multiply_adds(), the cost of a derivative of `op`, to the active monitor, if any."""
    if engine.monitor is not None:
        engine.monitor.add_derivative_cost(op, multiply_adds())


def profiled(name: str, run: Callable[[], Any]) -> Any:
    """Return run(), work on arrays; a profile times it in a row called `name`."""
    return run() if engine.monitor is None else engine.monitor.run_work(name, run)


# ---- anomaly ----


class anomaly(Monitor):
    """`with anomaly():` raises FloatingPointError at the first NaN or infinity, in either pass.

    The message names the op, and the line of your source (the innermost outside tinygan) that
    called it. In a backward pass, it names the op whose derivative failed, and the line that called
    this op in the forward pass: so run both passes inside the block. NumPy's own warnings are
    silenced inside the block.

    line: a function that returns a description of the current line, in place of `user_line`.
    """

    def __init__(self, line: Callable[[], str] | None = None) -> None:
        self._line = line or user_line
        self._differentiating = []  # the nodes whose derivatives are running, the outermost first

    def run_op(self, op, args, settings, run):
        with np.errstate(all="ignore"):
            y = super().run_op(op, args, settings, run)
        if y.node is not None:
            y.node.where = self._where()
        if bad := _non_finite(y):
            for i, x in enumerate(args):
                # All ops in this block were checked, so a bad argument comes from outside.
                if isinstance(x, Tensor) and (bad_x := _non_finite(x)):
                    raise self._error(op.name, f"received {bad_x} from outside, as argument {i}")
            raise self._error(op.name, f"produced {bad}")
        return y

    def run_derivative(self, node, run):
        self._differentiating.append(node)
        try:
            with np.errstate(all="ignore"):
                gradients = super().run_derivative(node, run)
            # This is for kernels. They call no ops, which are checked one by one.
            for g in [gradients] if isinstance(gradients, Tensor) else gradients or ():
                if isinstance(g, Tensor) and (bad := _non_finite(g)):
                    raise self._error(None, f"produced {bad}")
            return gradients
        finally:
            self._differentiating.pop()

    def _where(self):
        """The line that called the running op; in a derivative, the op that it differentiates."""
        if not self._differentiating:
            return self._line()
        node = self._differentiating[0]
        return node.where and f"{node.where} (differentiating {node.op.name})"

    def _error(self, op_name, problem):
        if not self._differentiating:
            return FloatingPointError(f"{op_name} {problem}; called at {self._line()}")
        node = self._differentiating[0]
        inside = f" (in its {op_name})" if op_name else ""
        where = f"at {node.where}" if node.where else "outside anomaly(), so its line is unknown"
        name = node.op.name
        return FloatingPointError(
            f"the derivative of {name} {problem}{inside}; {name} was called {where}"
        )


def _non_finite(x):
    """Describe the values of Tensor x that are not finite ("NaN in 2 of 6 values"), or None."""
    finite = xp.isfinite(x.data)
    if finite.all():
        return None
    count = x.size - int(finite.sum())
    return f"{'NaN' if xp.isnan(x.data).any() else 'inf'} in {count} of {x.size} values"


_LIBRARY_FILES = (os.path.dirname(os.path.dirname(__file__)) + os.sep, contextlib.__file__)


def user_line() -> str:
    """Return the innermost running line outside tinygan, as "file:line: source text"."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_LIBRARY_FILES):
        frame = frame.f_back
    file, line = frame.f_code.co_filename, frame.f_lineno
    source = linecache.getline(file, line, frame.f_globals).strip()
    return f"{file}:{line}" + (f": {source}" if source else "")


# ---- profile ----


@dataclasses.dataclass
class Row:
    """A row of a profile.

    seconds: without the ops called inside.
    flop: floating-point operations; 0 if unknown.
    """

    name: str
    calls: int = 0
    seconds: float = 0.0
    flop: int = 0

    @property
    def gflops(self) -> float | None:
        """The speed in GFLOP/s (10^9 floating-point operations per second), or None."""
        return self.flop / self.seconds / 1e9 if self.flop and self.seconds else None


class profile(Monitor):
    """`with profile() as p:` prints the time of the block, op by op: the table str(p).

    The row of an op is its forward computation; optimisers have rows too. Row `name'` is the
    derivative of op `name` itself: a fused kernel, or the Python between the ops that it calls,
    which have their own rows. So nothing counts twice: the rows and "python and the rest" add up to
    the wall time. A multiply-add counts as two operations. On a GPU, the times are those of
    launching the work, not of doing it.

    show: whether to print the table at the end.
    rows: the Row objects, the slowest first.
    wall: the seconds from start to end of the block.
    """

    def __init__(self, show: bool = True) -> None:
        self._rows, self._show = {}, show
        # for the block and each running op or derivative: the seconds in what it called
        self._inner_seconds = [0.0]
        self.wall = 0.0

    def __enter__(self) -> "profile":
        self._start = time.perf_counter()
        return super().__enter__()

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)
        self.wall += time.perf_counter() - self._start
        if self._show:
            print(self)

    def run_op(self, op, args, settings, run):
        y = self._timed(op.name, lambda: super(profile, self).run_op(op, args, settings, run))
        if op.cost is not None:
            start = time.perf_counter()
            self._rows[op.name].flop += 2 * multiply_adds(op, y, args, settings)
            self._inner_seconds[-1] += time.perf_counter() - start  # not the caller's time
        return y

    def run_derivative(self, node, run):
        return self._timed(
            node.op.name + "'", lambda: super(profile, self).run_derivative(node, run)
        )

    def add_derivative_cost(self, op, multiply_adds):
        super().add_derivative_cost(op, multiply_adds)
        self._rows[op.name + "'"].flop += 2 * multiply_adds

    def run_work(self, name, run):
        return self._timed(name, lambda: super(profile, self).run_work(name, run))

    def _timed(self, name, run):
        row = self._rows.setdefault(name, Row(name))
        row.calls += 1
        self._inner_seconds.append(0.0)
        start = time.perf_counter()
        try:
            return run()
        finally:
            seconds = time.perf_counter() - start
            row.seconds += seconds - self._inner_seconds.pop()
            self._inner_seconds[-1] += seconds

    @property
    def rows(self) -> list[Row]:
        return sorted(self._rows.values(), key=lambda row: -row.seconds)

    def __str__(self) -> str:
        rows = [row for row in self.rows if row.seconds >= 0.005 * self.wall]
        small = self.rows[len(rows) :]
        if small:
            calls, seconds = sum(row.calls for row in small), sum(row.seconds for row in small)
            rows.append(Row(f"{len(small)} more below 0.5%", calls, seconds))
        rest = self.wall - sum(row.seconds for row in self.rows)
        totals = [Row("python and the rest", seconds=rest), Row("wall time", seconds=self.wall)]
        lines = [f"{'op':<28}{'calls':>7}{'ms':>11}{'share':>8}{'GFLOP/s':>9}"]
        for row in rows + totals:
            speed = f"{row.gflops:.1f}" if row.gflops else ""
            lines.append(
                f"{row.name:<28}{row.calls or '':>7}{1e3 * row.seconds:>11.2f}"
                f"{row.seconds / (self.wall or 1):>8.1%}{speed:>9}"
            )
        lines.insert(-len(totals), "-" * len(lines[0]))
        return "\n".join(lines)


_signature = functools.cache(inspect.signature)


def multiply_adds(op: Op[...], y: Tensor, args: Sequence[Any], settings: dict[str, Any]) -> int:
    """Return the cost of the call y = op(*args, **settings), by the op's `cost` function."""
    call = _signature(op).bind(*args, **settings)
    call.apply_defaults()
    cost_settings = {
        name: value
        for name, value in call.arguments.items()
        if name in _signature(op.cost).parameters and not isinstance(value, Tensor)
    }
    return op.cost(y.data, *(x.data for x in args if isinstance(x, Tensor)), **cost_settings)
