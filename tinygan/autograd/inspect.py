"""Looking inside: `anomaly` finds the first NaN, `profile` times every op.

They are monitors: while one is active, the engine hands it every op and every derivative to run.
"""

import contextlib
import dataclasses
import functools
import inspect
import linecache
import os
import sys
import time

import numpy as np

from tinygan.backend import xp

from . import engine
from .tensor import Tensor


class Monitor:
    """Stands around every op and derivative that runs inside its `with` block, and only looks on.

    Monitors nest: each calls the one that was there before it, and puts that one back at the end.
    """

    def __enter__(self):
        if hasattr(self, "_outer"):
            raise RuntimeError(f"this {type(self).__name__} is already watching: make another one")
        self._outer, engine.monitor = engine.monitor, self
        return self

    def __exit__(self, *exception):
        engine.monitor = self._outer
        del self._outer

    def run_op(self, op, args, settings, run):
        """Run op(*args, **settings) by calling run(), and return its result, a Tensor."""
        return run() if self._outer is None else self._outer.run_op(op, args, settings, run)

    def run_derivative(self, node, run):
        """Run a derivative of node's op by calling run(). Returns a gradient; a sequence of them
        where the op is joint."""
        return run() if self._outer is None else self._outer.run_derivative(node, run)

    def count(self, op, multiply_adds):
        """Note what the derivative of `op` cost: a kernel calls no ops whose cost is known."""
        if self._outer is not None:
            self._outer.count(op, multiply_adds)

    def run_work(self, name, run):
        """Run other work on arrays, such as an optimiser's update, by calling run()."""
        return run() if self._outer is None else self._outer.run_work(name, run)


def report_cost(op, multiply_adds):
    """Tell the monitor, if there is one, what the derivative of `op` cost: multiply_adds()."""
    if engine.monitor is not None:
        engine.monitor.count(op, multiply_adds())


def profiled(name, run):
    """run(), which works on arrays; a profile has it in a row of this name."""
    return run() if engine.monitor is None else engine.monitor.run_work(name, run)


# ----------------------------------------------------------------------------------------- anomaly


class anomaly(Monitor):
    """`with anomaly():` stops at the first NaN or infinity, forward or backward, with
    FloatingPointError.

    The message names the op and the line of your source (the innermost outside tinygan) that called
    it. In a backward pass it names the op whose derivative went wrong, and the line that called
    that op in the forward pass: so run both passes inside the block. NumPy's own warnings are
    silent meanwhile. line: a function that names the place in another way.
    """

    def __init__(self, line=None):
        self._line = line or user_line
        self._differentiating = []  # nodes whose derivatives are running: the user's op first

    def run_op(self, op, args, settings, run):
        with np.errstate(all="ignore"):
            y = super().run_op(op, args, settings, run)
        if y.node is not None:
            y.node.where = self._where()
        if trouble := _trouble(y):
            for i, x in enumerate(args):
                # Every op in this block has been checked: this came from elsewhere.
                if isinstance(x, Tensor) and (given := _trouble(x)):
                    raise self._error(op.name, f"was given {given} from outside, as argument {i}")
            raise self._error(op.name, f"made {trouble}")
        return y

    def run_derivative(self, node, run):
        self._differentiating.append(node)
        try:
            with np.errstate(all="ignore"):
                gradients = super().run_derivative(node, run)
            # The derivative's ops were checked one by one; this is for kernels, which call none.
            for g in [gradients] if isinstance(gradients, Tensor) else gradients or ():
                if isinstance(g, Tensor) and (trouble := _trouble(g)):
                    raise self._error(None, f"made {trouble}")
            return gradients
        finally:
            self._differentiating.pop()

    def _where(self):
        """The line that called the op that runs now; in a derivative, the op differentiated."""
        if not self._differentiating:
            return self._line()
        node = self._differentiating[0]
        return node.where and f"{node.where} (differentiating {node.op.name})"

    def _error(self, op, did):
        if not self._differentiating:
            return FloatingPointError(f"{op} {did}; called at {self._line()}")
        node = self._differentiating[0]
        inside = f" (in its {op})" if op else ""
        where = f"at {node.where}" if node.where else "outside anomaly(), so its line is unknown"
        name = node.op.name
        return FloatingPointError(
            f"the derivative of {name} {did}{inside}; {name} was called {where}"
        )


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
    """A line of a profile. seconds: without the ops called inside; flop: 0 where unknown."""

    name: str
    calls: int = 0
    seconds: float = 0.0
    flop: int = 0

    @property
    def gflops(self):
        """Speed in GFLOP/s (10^9 floating-point operations a second), or None."""
        return self.flop / self.seconds / 1e9 if self.flop and self.seconds else None


class profile(Monitor):
    """`with profile() as p:` prints a table of where the block's time went, op by op: str(p).

    An op's row is its forward computation; optimisers have rows too. `name'` is the derivative of
    op `name` by itself: what a fused kernel computed, or the Python between the ops that it called,
    which have rows of their own. So nothing counts twice, and the rows and "python and the rest"
    add up to the wall time. A multiply-add counts as two operations. (On a GPU, this is the time to
    launch the work rather than to do it.)

    rows: Row objects, the slowest first; wall: seconds from start to end of the block. show: print
    at the end.
    """

    def __init__(self, show=True):
        self._rows, self._show = {}, show
        # for the block, and each op or derivative now running: seconds in what it called
        self._inside = [0.0]
        self.wall = 0.0

    def __enter__(self):
        self._start = time.perf_counter()
        return super().__enter__()

    def __exit__(self, *exception):
        super().__exit__(*exception)
        self.wall += time.perf_counter() - self._start
        if self._show:
            print(self)

    def run_op(self, op, args, settings, run):
        y = self._timed(op.name, lambda: super(profile, self).run_op(op, args, settings, run))
        if op.cost is not None:
            start = time.perf_counter()
            self._rows[op.name].flop += 2 * multiply_adds(op, y, args, settings)
            self._inside[-1] += time.perf_counter() - start  # our own work: not the caller's
        return y

    def run_derivative(self, node, run):
        return self._timed(
            node.op.name + "'", lambda: super(profile, self).run_derivative(node, run)
        )

    def count(self, op, multiply_adds):
        super().count(op, multiply_adds)
        self._rows[op.name + "'"].flop += 2 * multiply_adds

    def run_work(self, name, run):
        return self._timed(name, lambda: super(profile, self).run_work(name, run))

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
        others = self.rows[len(shown) :]
        if others:
            shown.append(
                Row(
                    f"{len(others)} more below 0.5%",
                    sum(row.calls for row in others),
                    sum(row.seconds for row in others),
                )
            )
        inside = sum(row.seconds for row in self.rows)
        total = [
            Row("python and the rest", seconds=self.wall - inside),
            Row("wall time", seconds=self.wall),
        ]
        lines = [f"{'op':<28}{'calls':>7}{'ms':>11}{'share':>8}{'GFLOP/s':>9}"]
        for row in shown + total:
            speed = f"{row.gflops:.1f}" if row.gflops else ""
            lines.append(
                f"{row.name:<28}{row.calls or '':>7}{1e3 * row.seconds:>11.2f}"
                f"{row.seconds / (self.wall or 1):>8.1%}{speed:>9}"
            )
        lines.insert(-len(total), "-" * len(lines[0]))
        return "\n".join(lines)


_signature = functools.cache(inspect.signature)


def multiply_adds(op, y, args, settings):
    """What the call y = op(*args, **settings) cost, by the op's `cost` function."""
    call = _signature(op).bind(*args, **settings)
    call.apply_defaults()
    named = {
        name: value
        for name, value in call.arguments.items()
        if name in _signature(op.cost).parameters and not isinstance(value, Tensor)
    }
    return op.cost(y.data, *(x.data for x in args if isinstance(x, Tensor)), **named)
